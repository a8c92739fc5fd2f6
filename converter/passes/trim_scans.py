"""Scans without what nobody reads."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from converter.ir import Graph, Program, Scan, Value
from converter.passes.dead_code import dead_code


def trim_scans(program: Program) -> Program:
    """Drop outputs and states of scans that nobody reads, and what only they needed."""
    while True:
        trimmed = program.map_graphs(_trim)
        if all(new is old for new, old in zip(trimmed.ops(), program.ops(), strict=True)):
            return program
        program = dead_code(trimmed)


def _trim(graph: Graph) -> Graph:
    read = {value for op in graph.ops for value in op.operands if value is not None} | set(graph.outputs)
    ops = tuple(_trimmed(op, read) if isinstance(op, Scan) else op for op in graph.ops)
    return replace(graph, ops=ops)


def _trimmed(op: Scan, read: Set[Value]) -> Scan:
    count = len(op.initial_state)
    time, *rest = op.body.inputs
    states, slices = rest[:count], rest[count : count + len(op.sequences)]
    news, elements = op.body.outputs[:count], op.body.outputs[count:]
    outputs = [index for index, value in enumerate(op.outputs) if value in read]
    kept = {index for index, value in enumerate(op.final_state) if value in read}
    while True:
        body_outputs = [*(news[index] for index in sorted(kept)), *(elements[index] for index in outputs)]
        body = dead_code(Program((replace(op.body, outputs=tuple(body_outputs)),), ())).main
        used = {value for step in body.ops for value in step.operands if value is not None} | set(body.outputs)
        needed = kept | {index for index, value in enumerate(states) if value in used}
        if needed == kept:
            break
        kept = needed
    order = sorted(kept)
    sequences = [index for index, value in enumerate(slices) if value in used or _gives_length(op, index)]
    invariants = [index for index, value in enumerate(rest[count + len(op.sequences) :]) if value in used]
    if len(order) == count and len(outputs) == len(op.outputs) and len(sequences) == len(slices):
        return op
    inputs = (
        time,
        *_at(states, order),
        *_at(slices, sequences),
        *_at(rest[count + len(op.sequences) :], invariants),
    )
    return replace(
        op,
        body=replace(body, inputs=inputs),
        sequences=_at(op.sequences, sequences),
        initial_state=_at(op.initial_state, order),
        invariants=_at(op.invariants, invariants),
        outputs=_at(op.outputs, outputs),
        final_state=_at(op.final_state, order),
    )


def _gives_length(op: Scan, index: int) -> bool:
    return index == 0 and op.length is None


def _at(values: Sequence[Value], places: Sequence[int]) -> tuple[Value, ...]:
    return tuple(values[place] for place in places)
