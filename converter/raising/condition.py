"""Find when a loop ends: the limits that its counters stay below."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

from converter.ir import Names, Producers, TfliteOp, Value, made_by
from converter.raising.loop import Loop

_SCALARS = ((), None)


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """The limits of a loop's counters: ``values``, scalars outside of the loop, computed by ``ops``."""

    values: tuple[Value, ...]
    ops: tuple[TfliteOp, ...]


def limits_of(
    loop: Loop, counters: Set[int], invariants: Set[int], names: Names, *, partial: bool = False
) -> Limits | None:
    """Return the limits of a loop that runs while each of its counters is below a limit.

    Returns None if the loop has any other condition, or if a limit changes from step to step. With ``partial``,
    other conditions may end the loop earlier.
    """
    producers = loop.condition.producers()
    compared = list(_comparisons(loop.condition.outputs[0], producers))
    place = {value: position for position, value in enumerate(loop.condition.inputs)}
    outside = _Outside(loop, invariants, place, producers, names)
    limits: list[Value] = []
    for pair in compared:
        limit = None if pair is None or place.get(pair[0]) not in counters else outside.value(pair[1])
        if limit is not None and limit.type.shape in _SCALARS:
            limits.append(limit)
        elif not partial:
            return None
    return Limits(tuple(dict.fromkeys(limits)), tuple(outside.ops))


def _comparisons(condition: Value, producers: Producers) -> Iterator[tuple[Value, Value] | None]:
    """Yield (smaller, larger) for each comparison of a conjunction, None for anything else."""
    op = made_by(condition, producers)
    if op is None:
        yield None
    elif op.builtin == "LOGICAL_AND":
        yield from _comparisons(op.operand(0), producers)
        yield from _comparisons(op.operand(1), producers)
    elif op.builtin == "LESS":
        yield op.operand(0), op.operand(1)
    elif op.builtin == "GREATER":
        yield op.operand(1), op.operand(0)
    elif op.builtin in {"RESHAPE", "REDUCE_ALL"} and op.operand(0).type.shape == ():
        yield from _comparisons(op.operand(0), producers)
    else:
        yield None


class _Outside:
    """Values of the condition's graph, computed outside of the loop by ``ops``."""

    def __init__(
        self, loop: Loop, invariants: Set[int], place: dict[Value, int], producers: Producers, names: Names
    ) -> None:
        self.ops: list[TfliteOp] = []
        self._loop, self._invariants, self._place = loop, invariants, place
        self._producers, self._names = producers, names
        self._known: dict[Value, Value] = {}

    def value(self, inside: Value) -> Value | None:
        """Return the value outside of the loop that equals ``inside`` in its condition, None if it changes."""
        if inside.data is not None:
            return inside
        if inside in self._known:
            return self._known[inside]
        if inside in self._place:
            position = self._place[inside]
            return self._loop.initial(position) if position in self._invariants else None
        op = made_by(inside, self._producers)
        if op is None:
            return None
        operands = [None if operand is None else self.value(operand) for operand in op.operands]
        if any(new is None and old is not None for new, old in zip(operands, op.operands, strict=True)):
            return None
        for result in op.results:
            self._known[result] = replace(result, name=self._names.fresh(result.name))
        results = tuple(self._known[result] for result in op.results)
        self.ops.append(replace(op, operands=tuple(operands), results=results))
        return self._known[inside]
