"""The compiler alone: what `tflite_rnn.convert` does before it runs what it made."""

from __future__ import annotations

from typing import Any

from converter.convert import Converted, compile_source
from converter.options import ConvertOptions
from converter.sources import TfliteModel


def compiled(data: bytes, **options: Any) -> Converted:
    """Compile the ``.tflite`` with these bytes; ``options`` are those of `tflite_rnn.convert`."""
    return compile_source(TfliteModel(data), ConvertOptions.parse(**options))
