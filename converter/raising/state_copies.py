"""Copies of states, as the files of this compiler make them.

There a CONCATENATION of one operand writes each state tensor. A reader takes a part of a CONCATENATION of the
tensor and of something that depends on the outputs: the runtimes do not see that a fused op writes its state. Once
the op is a recurrence, it starts from what was copied, and the part is the final state itself.
"""

from __future__ import annotations

from dataclasses import replace

from converter.ir import (
    Graph,
    Producers,
    Recurrence,
    StridedSlice,
    Value,
    as_tflite,
    attributes,
    integers,
    made_by,
    rewire_graph,
)


def forward_states(graph: Graph) -> Graph:
    """Return ``graph`` with the states of its recurrences in place of copies of them."""
    producers = graph.producers()
    ops = tuple(_from_original(op, producers) if isinstance(op, Recurrence) else op for op in graph.ops)
    return _forward_final_states(replace(graph, ops=ops))


def _from_original(op: Recurrence, producers: Producers) -> Recurrence:
    """Return a recurrence that starts from what its initial states are copies of."""

    def original(state: Value | None) -> Value | None:
        copy = made_by(state, producers, "CONCATENATION")
        is_copy = copy is not None and len(copy.operands) == 1 and attributes.fused_activation(copy) == "NONE"
        return original(copy.operand(0)) if copy is not None and is_copy else state

    return replace(op, initial_state=tuple(original(state) for state in op.initial_state))


def _forward_final_states(graph: Graph) -> Graph:
    finals = {final for op in graph.ops if isinstance(op, Recurrence) for final in op.final_state}
    if not finals:
        return graph
    producers = graph.producers()
    other: dict[Value, Value] = {}
    for op in graph.ops:
        part = StridedSlice.match(op)
        joined = None if part is None else as_tflite(producers.get(part.x), "CONCATENATION")
        if part is None or joined is None or attributes.axis(joined) not in {1, -1}:
            continue
        if attributes.fused_activation(joined) != "NONE":
            continue
        columns = _columns(part)
        for value, start, stop in _places(joined.operands):
            if value in finals and columns == (start, stop):
                other[op.results[0]] = value
    return rewire_graph(graph, other) if other else graph


def _columns(part: StridedSlice) -> tuple[int, int] | None:
    """Return the columns that a slice takes of all rows of a matrix."""
    begin, end = integers(part.begin), integers(part.end)
    if begin is None or end is None or not len(begin) == len(end) == part.x.type.rank == 2:
        return None
    is_plain = part.is_plain and part.has_unit_strides and part.dropped_axis is None and part.is_whole(0)
    is_open = part.has_open_begin(1) or part.has_open_end(1)
    return (begin[1], end[1]) if is_plain and not is_open else None


def _places(parts: tuple[Value | None, ...]) -> list[tuple[Value, int, int]]:
    """Return the columns that each part of a CONCATENATION takes, as far as all sizes before it are known."""
    found, start = [], 0
    for part in parts:
        shape = None if part is None else part.type.shape
        if part is None or shape is None or len(shape) != 2 or shape[1] is None:
            break
        found.append((part, start, start + shape[1]))
        start += shape[1]
    return found
