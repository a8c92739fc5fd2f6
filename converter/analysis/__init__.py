"""Questions to a graph, answered without changing it."""
