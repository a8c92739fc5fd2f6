"""Replace the operands of ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from converter.ir.program import Bidirectional, Graph, Op, Recurrence, Scan
from converter.ir.types import Value

_Operand = TypeVar("_Operand", Value, Value | None)


def rewire(op: Op, other: Mapping[Value, Value]) -> Op:
    """Return ``op`` with each operand that is a key of ``other`` replaced; itself if it reads none of them."""
    if not any(value in other for value in op.operands if value is not None):
        return op

    def new(values: tuple[_Operand, ...]) -> tuple[_Operand, ...]:
        return tuple(value if value is None else other.get(value, value) for value in values)

    if isinstance(op, Recurrence):
        x, length, mask = new((op.x, op.sequence_length, op.mask))
        if x is None:
            raise TypeError(f"{op.name}: expected an input sequence, got none")
        return replace(op, x=x, sequence_length=length, mask=mask, initial_state=new(op.initial_state))
    if isinstance(op, Bidirectional):
        forward, backward = rewire(op.forward, other), rewire(op.backward, other)
        if not (isinstance(forward, Recurrence) and isinstance(backward, Recurrence)):
            raise TypeError(f"{op.name}: expected a Recurrence in each direction")
        return replace(op, forward=forward, backward=backward)
    if isinstance(op, Scan):
        length, steps = new((op.length, op.steps))
        return replace(
            op,
            sequences=new(op.sequences),
            initial_state=new(op.initial_state),
            invariants=new(op.invariants),
            length=length,
            steps=steps,
        )
    return replace(op, operands=new(op.operands))


def with_results(op: Op, other: Mapping[Value, Value]) -> Op:
    """Return ``op`` with each result that is a key of ``other`` replaced."""

    def new(values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(other.get(value, value) for value in values)

    if isinstance(op, Recurrence):
        return replace(op, output=other.get(op.output, op.output), final_state=new(op.final_state))
    if isinstance(op, Scan):
        return replace(op, outputs=new(op.outputs), final_state=new(op.final_state))
    if isinstance(op, Bidirectional):
        forward, backward = with_results(op.forward, other), with_results(op.backward, other)
        if not (isinstance(forward, Recurrence) and isinstance(backward, Recurrence)):
            raise TypeError(f"{op.name}: expected a Recurrence in each direction")
        return replace(op, forward=forward, backward=backward)
    return replace(op, results=new(op.results))


def copied(graph: Graph, name: str) -> Graph:
    """Return ``graph`` over values of its own, equal but for its name; constants stay."""
    values = {value: replace(value) for value in graph.values() if not value.is_constant}
    ops = tuple(with_results(rewire(op, values), values) for op in graph.ops)
    inputs, outputs = (tuple(values.get(value, value) for value in side) for side in (graph.inputs, graph.outputs))
    return Graph(name, inputs, outputs, ops)


def rewire_graph(graph: Graph, other: Mapping[Value, Value]) -> Graph:
    """Return ``graph`` with the operands of its ops and its outputs replaced."""
    outputs = tuple(other.get(value, value) for value in graph.outputs)
    return replace(graph, ops=tuple(rewire(op, other) for op in graph.ops), outputs=outputs)
