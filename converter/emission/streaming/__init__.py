"""Write a graph anew so that it runs on chunks, and what its layers keep of the past."""
