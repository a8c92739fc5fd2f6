"""Find ops that compute all steps at once if their operands get a leading axis of time."""

from __future__ import annotations

from collections.abc import Container

from converter.ir import DType, FullyConnected, TfliteOp, Trait, Value, attributes, has

_MOST_AXES = 4
"""All runtimes broadcast up to this rank."""


def is_batchable(op: TfliteOp, sliced: Container[Value]) -> bool:
    """True if ``op`` computes all steps at once when its operands in ``sliced`` get a leading axis of time."""
    (result, *others) = op.results
    if others or result.type.rank is None or result.type.rank + 1 > _MOST_AXES:
        return False
    if has(op, Trait.ELEMENTWISE):
        return all(_keeps_its_axes(value, result.type.rank, sliced) for value in op.operands if value is not None)
    if op.builtin == "GATHER":
        return _is_look_up(op, sliced)
    return dense_of(op) is not None and all(value not in sliced for value in op.operands[1:])


def dense_of(op: TfliteOp) -> FullyConnected | None:
    """Return ``op`` if it is a FULLY_CONNECTED of float32 over the last axis that keeps the others."""
    dense = FullyConnected.match(op)
    if dense is None or dense.shuffled:
        return None
    x, kernel = dense.x.type, dense.weights.type
    is_float = x.dtype is kernel.dtype is DType.FLOAT32
    keeps_axes = x.rank == op.results[0].type.rank and (x.rank == 2 or dense.keeps_axes)
    return dense if is_float and keeps_axes and _last(dense.x) == _last(dense.weights) is not None else None


def _last(value: Value) -> int | None:
    return value.type.shape[-1] if value.type.shape else None


def _keeps_its_axes(value: Value, rank: int, sliced: Container[Value]) -> bool:
    """Whether ``value`` broadcasts alike against results of ``rank`` and of ``rank`` + 1 axes."""
    if value in sliced:
        return value.type.rank == rank
    return value.type.rank is not None and value.type.rank <= rank


def _is_look_up(op: TfliteOp, sliced: Container[Value]) -> bool:
    table, places = op.operands
    first_axis = attributes.axis(op) == 0 and not attributes.has_batch_axes(op)
    return first_axis and table not in sliced and places in sliced
