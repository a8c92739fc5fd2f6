"""The parts of a step's state: arrays that a cell has as a whole, alone in a state or side by side with others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converter.ir import DType, Graph, Producers, TfliteOp, Value, attributes, made_by


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """A part of a state array that a cell has as a whole: columns ``start`` to ``start + width`` of ``state``.

    ``value`` is what the step makes of it.
    """

    state: int
    start: int
    width: int
    value: Value


def components_of(body: Graph, states: Sequence[Value]) -> tuple[Component, ...] | str:
    """Return the components of ``states``, the values that the step gives them; the reason if there are none.

    A state that several cells or gates share, such as c and h side by side, is written as a CONCATENATION.
    """
    producers = body.producers()
    found: list[Component] = []
    for index, value in enumerate(states):
        if depth(value) is None:
            return f"its state {index}: expected a float32 vector per row, got {value.type}"
        start = 0
        for part in _concatenated(value, producers):
            width = depth(part)
            if width is None:
                return f"a part of its state {index}: expected a float32 vector per row, got {part.type}"
            found.append(Component(index, start, width, part))
            start += width
    return tuple(found)


def _concatenated(value: Value, producers: Producers) -> Iterable[Value]:
    producer = made_by(value, producers, "CONCATENATION")
    if producer is not None and joins_columns(producer):
        for operand in producer.operands:
            if operand is not None:
                yield from _concatenated(operand, producers)
    else:
        yield value


def depth(value: Value) -> int | None:
    """Return n for a float32 [batch, n], else None."""
    shape = value.type.shape
    is_row = shape is not None and len(shape) == 2 and value.type.dtype is DType.FLOAT32
    return shape[1] if is_row and shape is not None and shape[1] != 0 else None


def joins_columns(op: TfliteOp) -> bool:
    """Whether a CONCATENATION puts rows [batch, n] side by side."""
    return op.results[0].type.rank == 2 and attributes.axis(op) in (1, -1)
