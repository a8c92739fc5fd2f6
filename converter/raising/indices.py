"""Indices that a step computes from its counter, to read from and to write to."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from converter.ir import Array, Producers, Trait, Value, has, made_by


@dataclass(frozen=True, slots=True)
class Index:
    """``scale * t + offset``, where t is the number of the step."""

    scale: int
    offset: int


NOW = Index(1, 0)
NEXT = Index(1, 1)
FIRST = Index(0, 0)


def index_of(value: Value, counters: Set[Value], producers: Producers) -> Index | None:
    """Return the integer ``value`` (of one element) as a function of t, None if it has another form."""
    if value in counters or value.data is not None:
        return NOW if value.data is None else _constant(value.data)
    op = made_by(value, producers)
    if op is not None and (op.builtin == "CAST" or has(op, Trait.RESHAPES)):
        return index_of(op.operand(0), counters, producers)
    if op is None or op.builtin not in {"ADD", "SUB"}:
        return None
    left, right = (index_of(op.operand(place), counters, producers) for place in range(2))
    if left is None or right is None:
        return None
    sign = 1 if op.builtin == "ADD" else -1
    return Index(left.scale + sign * right.scale, left.offset + sign * right.offset)


def _constant(data: Array) -> Index | None:
    return Index(0, int(data.reshape(-1)[0])) if data.size == 1 else None


def indices_of(value: Value, counters: Set[Value], producers: Producers) -> tuple[Index | None, ...] | None:
    """Return each element of the integer vector ``value``, None if the vector itself is unknown."""
    if value.data is not None:
        return tuple(Index(0, int(number)) for number in value.data.reshape(-1))
    op = made_by(value, producers)
    if op is None:
        return None
    if op.builtin == "PACK":
        return tuple(None if x is None else index_of(x, counters, producers) for x in op.operands)
    if op.builtin == "CONCATENATION":
        parts = [None if x is None else indices_of(x, counters, producers) for x in op.operands]
        known = [part for part in parts if part is not None]
        return tuple(index for part in known for index in part) if len(known) == len(parts) else None
    return (index_of(value, counters, producers),) if value.type.shape == (1,) else None
