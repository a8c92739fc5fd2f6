"""The compiler of tflite-rnn: importers, typed IR, passes, lowering and flatbuffer.

Users import `tflite_rnn`, whose façade re-exports what they need from here.
"""

__version__ = "0.1.0"

DISTRIBUTION = "tflite-rnn"
"""Distinguishes this package from other top-level modules called ``converter``."""
