"""Which ops compute all steps at once as they compute one: a leading axis of time changes nothing else."""

from __future__ import annotations

from collections.abc import Container

from converter.ir import DType, TfliteOp, Trait, Value, has

_MOST_AXES = 4
"""Up to this rank all runtimes broadcast."""


def is_batchable(op: TfliteOp, sliced: Container[Value]) -> bool:
    """True if ``op`` computes all steps at once when its operands in ``sliced`` get a leading axis of time."""
    (result, *others) = op.results
    if others or result.type.rank is None or result.type.rank + 1 > _MOST_AXES:
        return False
    if has(op, Trait.ELEMENTWISE):
        return all(_keeps_its_axes(value, result.type.rank, sliced) for value in op.operands if value is not None)
    if op.builtin == "FULLY_CONNECTED":
        return is_dense(op) and all(value not in sliced for value in op.operands[1:])
    return op.builtin == "GATHER" and _is_look_up(op, sliced)


def is_dense(op: TfliteOp) -> bool:
    """True for a FULLY_CONNECTED of float32 over the last axis that keeps the others."""
    if op.builtin != "FULLY_CONNECTED":
        return False
    x, kernel = op.operands[:2]
    if x is None or kernel is None:
        return False
    return (
        x.type.dtype is DType.FLOAT32
        and kernel.type.dtype is DType.FLOAT32
        and op.options.get("weightsFormat", 0) == 0
        and x.type.rank == op.results[0].type.rank
        and (x.type.rank == 2 or bool(op.options.get("keepNumDims")))
        and _last(x) == _last(kernel) is not None
    )


def _last(value: Value) -> int | None:
    return value.type.shape[-1] if value.type.shape else None


def _keeps_its_axes(value: Value, rank: int, sliced: Container[Value]) -> bool:
    """Whether ``value`` broadcasts against a result of ``rank`` axes and of one more alike."""
    if value in sliced:
        return value.type.rank == rank
    return value.type.rank is not None and value.type.rank <= rank


def _is_look_up(op: TfliteOp, sliced: Container[Value]) -> bool:
    table, places = op.operands
    first_axis = op.options.get("axis", 0) == 0 and op.options.get("batchDims", 0) == 0
    return first_axis and table not in sliced and places in sliced
