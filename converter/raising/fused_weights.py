"""The weights of fused recurrent ops, whatever they are stored in, as float32.

Hybrid kernels take int8 weights beside float32 activations: one scale for the tensor, no zero point, and the bytes
of a uint8 tensor count as int8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.errors import ConversionError, Rejection
from converter.ir import Array, DType, Op, Producers, TfliteOp, Value, made_by
from converter.rules import Rule

_CONVERT_AGAIN = "convert the model that the file was made from"
_STORED = frozenset({DType.INT8, DType.UINT8, DType.FLOAT16})


@dataclass(frozen=True, slots=True, eq=False)
class FusedWeights:
    """The operands of a fused op that are its weights, among the ops of its graph."""

    op: TfliteOp
    producers: Producers

    def has(self, place: int) -> bool:
        """Return whether the operand is there."""
        return place < len(self.op.operands) and self.op.operands[place] is not None

    def array(self, place: int, name: str) -> Array:
        """Return the operand as float32. Raises ConversionError if it is left out, or cannot be read exactly."""
        if not self.has(place):
            raise refusal(self.op, Rule.FUSED_OP_FORM, f"it lacks operand {place}, {name}")
        return _floats(self.op, self.op.operand(place), name, self.producers)

    def optional(self, place: int, name: str) -> Array | None:
        """Return the operand as float32, None if it is left out. Errors as `array`."""
        return self.array(place, name) if self.has(place) else None


def refusal(op: Op, rule: Rule, detail: str, hint: str = _CONVERT_AGAIN) -> ConversionError:
    """Return the error that refuses a fused op of a file."""
    return ConversionError("the model cannot be read", [Rejection(rule, op.name, detail, hint)])


def stored_types(op: TfliteOp, producers: Producers) -> Iterator[DType]:
    """Yield the types, other than float32, in which the file holds weights of ``op``, each once."""
    found: dict[DType, None] = {}
    for value in op.operands[1:]:
        source = made_by(value, producers, "DEQUANTIZE")
        held = value if source is None else source.operand(0)
        if held is not None and held.data is not None and held.type.dtype in _STORED:
            found[held.type.dtype] = None
    yield from found


def _floats(op: TfliteOp, value: Value, name: str, producers: Producers) -> Array:
    if value.data is None:
        source = made_by(value, producers, "DEQUANTIZE")
        stored = None if source is None else source.operand(0)
        if stored is None or stored.data is None:
            raise refusal(
                op,
                Rule.CONSTANT_WEIGHTS,
                f"its {name} ({value.name}) is computed while the model runs",
                "make the .tflite of a model whose weights are constants",
            )
        return _dequantized(op, stored, stored.data, name)
    if value.type.dtype is DType.FLOAT32:
        return value.data
    if value.type.dtype in {DType.INT8, DType.UINT8}:
        scales, _ = _scales(op, value, name)
        if len(scales) != 1:
            raise refusal(
                op,
                Rule.FUSED_OP_PER_CHANNEL,
                f"its {name} ({value.name}) has {len(scales)} scales; the kernel reads the first one only",
                "quantize recurrent weights per tensor (disable per-channel quantization)",
            )
        return np.asarray(value.data.view(np.int8) * scales[0], np.float32)
    raise refusal(
        op,
        Rule.FUSED_OP_INTEGER,
        f"its {name} ({value.name}) is {value.type.dtype.value}; expected float32, dequantized float16, or int8",
        "make the .tflite without quantization",
    )


def _dequantized(op: TfliteOp, stored: Value, data: Array, name: str) -> Array:
    """Return what a DEQUANTIZE makes of a constant."""
    if stored.type.dtype is DType.FLOAT16:
        return data.astype(np.float32)
    scales, zero_points = _scales(op, stored, name)
    shape = [1] * data.ndim
    if len(scales) > 1:
        axis = int(_record(stored).quantizedDimension or 0)
        if not (0 <= axis < data.ndim and data.shape[axis] == len(scales)):
            raise refusal(op, Rule.FUSED_OP_FORM, f"its {name} ({stored.name}) has {len(scales)} scales")
        shape[axis] = len(scales)
    difference = data.astype(np.float64) - zero_points.reshape(-1 if zero_points.size == 1 else shape)
    return np.asarray(difference * scales.reshape(-1 if scales.size == 1 else shape), np.float32)


def _scales(op: TfliteOp, value: Value, name: str) -> tuple[Array, Array]:
    """Return the scales and zero points of a quantized constant."""
    record = _record(value)
    found = None if record is None else record.scale
    scales = np.asarray(() if found is None else found, np.float64)
    points = None if record is None else record.zeroPoint
    zero_points = np.asarray((0,) if points is None or len(points) == 0 else points, np.float64)
    if scales.size == 0 or zero_points.size not in {1, scales.size}:
        raise refusal(
            op, Rule.FUSED_OP_FORM, f"its {name} ({value.name}) is {value.type.dtype.value} without a scale"
        )
    return scales, zero_points


def _record(value: Value) -> Any:
    return value.quantization
