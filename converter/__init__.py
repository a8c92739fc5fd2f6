"""The compiler of tflite-rnn: importers, typed IR, passes, lowering and flatbuffer.

Users import `tflite_rnn`, whose façade re-exports what they need from here.
"""

__version__ = "0.1.0"

DISTRIBUTION = "tflite-rnn"
"""Tells this package from any other top-level module that happens to be called ``converter``."""
