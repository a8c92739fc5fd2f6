"""Programs to and from ``.tflite`` bytes."""

from converter.flatbuffer.builder import build_model
from converter.flatbuffer.reader import read_file, read_model
from converter.flatbuffer.wellformed import check_wellformed

__all__ = ["build_model", "check_wellformed", "read_file", "read_model"]
