"""Match ops in rewrites."""

from __future__ import annotations

from converter.ir.program import Op, Producers, TfliteOp
from converter.ir.types import Value


def as_tflite(op: Op | None, *codes: str) -> TfliteOp | None:
    """Return ``op`` if it is a TFLite op, and its builtin or custom code is one of ``codes`` if there are any."""
    return op if isinstance(op, TfliteOp) and (not codes or op.code in codes) else None


def made_by(value: Value | None, producers: Producers, *codes: str) -> TfliteOp | None:
    """Return the TFLite op that defines ``value``, if it is of one of ``codes``; see `as_tflite`."""
    return None if value is None else as_tflite(producers.get(value), *codes)
