"""A stand-in for tflite-runtime: put its folder on PYTHONPATH and worker processes import it instead."""
