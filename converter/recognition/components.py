"""Split the states of a step into components: the arrays of single cells, which may be concatenated in a state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converter.ir import DType, Graph, Producers, TfliteOp, Value, attributes, made_by


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """The part of a state that is one array of one cell: columns ``start`` to ``start + width`` of ``state``.

    ``value`` is its new value.
    """

    state: int
    start: int
    width: int
    value: Value


def components_of(body: Graph, states: Sequence[Value]) -> tuple[Component, ...] | str:
    """Return the components of the new ``states``, or the reason why they cannot be split.

    A state that holds several arrays, such as c and h side by side, is the result of a CONCATENATION.
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
    """Whether a CONCATENATION joins the columns of [batch, n]."""
    return op.results[0].type.rank == 2 and attributes.axis(op) in (1, -1)
