"""Residual connections of a marked op, as TFLite ops beside its recurrences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from converter.ir import DType, Shape, TensorType, TfliteOp, Value, constant

FreshName: TypeAlias = Callable[[str], str]

# Name and fields of each op's options table. Types are values of the schema's TensorType; bit k of a mask of
# STRIDED_SLICE takes axis k whole.
_OPTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = MappingProxyType(
    {
        "ADD": ("AddOptions", {}),
        "CAST": ("CastOptions", {"inDataType": 2, "outDataType": 0}),
        "CUMSUM": ("CumsumOptions", {"exclusive": True, "reverse": False}),
        "LESS": ("LessOptions", {}),
        "RESHAPE": ("ReshapeOptions", {}),
        "STRIDED_SLICE": ("StridedSliceOptions", {"beginMask": 3, "endMask": 3, "shrinkAxisMask": 0}),
        "ZEROS_LIKE": ("ZerosLikeOptions", {}),
    }
)


def add_inputs(x: Value, y: Value, total: Value) -> TfliteOp:
    """Return the op that adds two sequences of one shape into ``total``."""
    return TfliteOp("ADD", (x, y), (total,), "AddOptions")


def zero_padding(
    sequence: Value, lengths: Value, result: Value, *, time_major: bool, fresh: FreshName
) -> list[TfliteOp]:
    """Return the ops that make ``result``: ``sequence`` with zeros where its rows have ended, NaN or not.

    ``sequence`` is [T, B, n] if ``time_major``, else [B, T, n]; ``lengths`` is [B] int32. Time is counted by a
    CUMSUM over ones: unlike a RANGE, it has a size that is known before the run, whatever T and B are.
    """
    shape = sequence.type.shape or (None, None, None)
    batch = shape[1 if time_major else 0]
    column: Shape = (*shape[:2], 1)
    per_row: Shape = (1, batch, 1) if time_major else (batch, 1, 1)
    ops: list[TfliteOp] = []

    def emit(
        builtin: str, operands: Sequence[Value], name: str, shape: Shape, dtype: DType = DType.FLOAT32
    ) -> Value:
        made = Value(fresh(name), TensorType(dtype, shape))
        options_type, options = _OPTIONS[builtin]
        ops.append(TfliteOp(builtin, tuple(operands), (made,), options_type, options))
        return made

    def whole(name: str, numbers: Sequence[int] | int) -> Value:
        return constant(fresh(name), np.array(numbers, np.int32))

    def scalar(name: str, number: float) -> Value:
        return constant(fresh(name), np.full((1, 1, 1), number, np.float32))

    slices = [whole("begin", [0, 0, 0]), whole("end", [0, 0, 1]), whole("strides", [1, 1, 1])]
    zeros = emit("ZEROS_LIKE", [emit("STRIDED_SLICE", [sequence, *slices], "column", column)], "zeros", column)
    ones = emit("ADD", [zeros, scalar("one", 1.0)], "ones", column)
    time = emit("CUMSUM", [ones, whole("time_axis", 0 if time_major else 1)], "time", column)
    limits = emit("CAST", [lengths], "limits", (batch,))
    dims = whole("dims", [1, -1, 1] if time_major else [-1, 1, 1])
    limits = emit("RESHAPE", [limits, dims], "limits_of_rows", per_row)
    valid = emit("LESS", [time, limits], "valid", column, DType.BOOL)
    return [*ops, TfliteOp("SELECT_V2", (valid, sequence, scalar("zero", 0.0)), (result,), "SelectV2Options")]
