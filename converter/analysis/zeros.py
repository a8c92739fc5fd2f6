"""Find values that are known to be zero, however they are computed."""

from __future__ import annotations

import numpy as np

from converter.ir import Producers, Trait, Value, has, made_by

_OF_ZEROS = frozenset({"ADD", "CONCATENATION"})
"""Ops whose result is zero if all their operands are, apart from a fused activation, which keeps zeros."""


def is_zero(value: Value, producers: Producers) -> bool:
    """True if every element of ``value`` is known to be zero."""
    if value.data is not None:
        return value.type.dtype.numpy is not None and not np.any(value.data)
    producer = made_by(value, producers)
    if producer is None or producer.builtin == "ZEROS_LIKE":
        return producer is not None
    if producer.builtin == "FILL":
        return is_zero(producer.operand(1), producers)
    if producer.builtin in _OF_ZEROS:
        return all(value is not None and is_zero(value, producers) for value in producer.operands)
    keeps_elements = producer.builtin == "TRANSPOSE" or has(producer, Trait.RESHAPES | Trait.REPEATS)
    return keeps_elements and is_zero(producer.operand(0), producers)
