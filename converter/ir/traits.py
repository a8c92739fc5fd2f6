"""Questions to an op about what it does, answered by the op table."""

from __future__ import annotations

from converter.ir.builtins import BUILTINS, LIST_OPS, UNKNOWN, Builtin, Trait
from converter.ir.program import Op, TfliteOp
from converter.ir.types import DType


def facts(op: TfliteOp) -> Builtin:
    """Return what the table says of ``op``."""
    known = LIST_OPS.get(op.custom_code) if op.custom_code is not None else None
    return known or BUILTINS.get(op.builtin, UNKNOWN)


def has(op: Op | None, traits: Trait) -> bool:
    """Whether there is an op, of TFLite, with one of ``traits``."""
    return isinstance(op, TfliteOp) and bool(facts(op).traits & traits)


def is_list_op(op: Op) -> bool:
    """Whether ``op`` is one of TensorFlow's ops on lists or arrays of tensors."""
    return isinstance(op, TfliteOp) and op.custom_code in LIST_OPS


def has_effects(op: Op) -> bool:
    """Whether ``op`` does more than compute its results, so that it runs even if nobody reads them."""
    if not isinstance(op, TfliteOp) or is_list_op(op):
        return False
    handles = any(value is not None and value.type.dtype is DType.RESOURCE for value in op.operands)
    return handles or not op.results or has(op, Trait.CONTROL | Trait.EFFECTS)


def is_pure(op: Op) -> bool:
    """Whether the results of ``op`` depend on its operands alone, and computing them is all that it does."""
    return not has_effects(op) and not has(op, Trait.RANDOM)
