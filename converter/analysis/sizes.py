"""Sizes of sequences and of lists, so that two spellings of one size are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from converter.ir import Op, TfliteOp, Value

Producers: TypeAlias = Mapping[Value, Op]

Size: TypeAlias = "int | tuple[Value, int] | Value"
"""A number, the dimension of a value along an axis, or else the scalar that holds it."""


def size_of(scalar: Value, producers: Producers) -> Size:
    """Return what the integer ``scalar`` is."""
    if scalar.data is not None:
        return int(scalar.data.reshape(-1)[0]) if scalar.data.size == 1 else scalar
    op = producers.get(scalar)
    if not isinstance(op, TfliteOp):
        return scalar
    if op.builtin == "STRIDED_SLICE":
        return _sliced_shape(op, producers) or scalar
    if op.custom_code in {"TensorArraySizeV3", "TensorListLength"}:
        return _count(op, producers) or scalar
    if op.builtin in {"CAST", "RESHAPE"} and op.operands[0] is not None:
        inner = size_of(op.operands[0], producers)
        return scalar if inner is op.operands[0] else inner
    return scalar


def time_of(sequence: Value, producers: Producers) -> Size:
    """Return the size of the first axis of ``sequence``."""
    return dimension(sequence, 0, producers)


def dimension(value: Value, axis: int, producers: Producers) -> Size:
    """Return the size of one axis of ``value``, told by the value that it comes from if axes were only swapped."""
    shape = value.type.shape
    if shape is not None and axis < len(shape):
        known = shape[axis]
        if known is not None:
            return known
    op = producers.get(value)
    if isinstance(op, TfliteOp) and op.builtin in {"TRANSPOSE", "REVERSE_V2", "CAST", "ZEROS_LIKE"}:
        x, *others = op.operands
        if op.builtin != "TRANSPOSE" and x is not None:
            return dimension(x, axis, producers)
        order = others[0]
        if x is not None and order is not None and order.data is not None:
            return dimension(x, int(order.data[axis]), producers)
    return (value, axis)


def is_at_most(scalar: Value, bound: Size, producers: Producers) -> bool:
    """True if ``scalar`` is known not to exceed ``bound``."""
    size = size_of(scalar, producers)
    if size == bound or (isinstance(size, int) and isinstance(bound, int) and size <= bound):
        return True
    op = producers.get(scalar)
    if not isinstance(op, TfliteOp) or op.builtin != "MINIMUM":
        return False
    return any(operand is not None and is_at_most(operand, bound, producers) for operand in op.operands)


def _count(op: TfliteOp, producers: Producers) -> Size | None:
    """Return the size that a list or an array was made with."""
    source = producers.get(op.operands[0]) if op.operands[0] is not None else None
    if not isinstance(source, TfliteOp):
        return None
    if source.custom_code == "TensorListFromTensor" and source.operands[0] is not None:
        return time_of(source.operands[0], producers)
    place = {"TensorArrayV3": 0, "TensorListReserve": 1}.get(source.custom_code or "")
    count = None if place is None else source.operands[place]
    return None if count is None else size_of(count, producers)


def _sliced_shape(op: TfliteOp, producers: Producers) -> Size | None:
    """Return the dimension that a STRIDED_SLICE takes from a SHAPE."""
    shape, begin, *_ = op.operands
    source = producers.get(shape) if shape is not None else None
    if not isinstance(source, TfliteOp) or source.builtin != "SHAPE" or not op.options["shrinkAxisMask"]:
        return None
    x = source.operands[0]
    if x is None or begin is None or begin.data is None or x.type.shape is None:
        return None
    axis = int(begin.data[0])
    return dimension(x, axis % len(x.type.shape), producers)
