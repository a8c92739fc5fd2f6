"""Programs to and from ``.tflite`` bytes."""

from converter.flatbuffer.builder import build_model
from converter.flatbuffer.reader import read_file, read_model

__all__ = ["build_model", "read_file", "read_model"]
