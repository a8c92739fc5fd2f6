"""trim-scans: outputs and states of scans that nobody reads are dropped, with what only they needed.

A loop keeps what its source had: an output per layer, the final state of every cell. A state that nobody reads
after the loop stays as long as another state or an output is computed from it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from converter.analysis.uses import Uses, backward_slice
from converter.ir import Graph, Op, Program, Scan, Value, has_effects


def trim_scans(program: Program) -> Program:
    """Drop the outputs, states, sequences and invariants of scans that nothing needs."""
    return program.map_graphs(lambda graph: _trimmed_in(graph) if _scans(graph) else graph)


def scans_trimmed(program: Program) -> bool:
    """True if all that scans read and compute is read, after the loop or by a step."""
    return all(_is_trimmed(scan, Uses.of(graph)) for graph in program.graphs for scan in _scans(graph))


def _scans(graph: Graph) -> list[Scan]:
    return [op for op in graph.ops if isinstance(op, Scan)]


def _is_trimmed(op: Scan, uses: Uses) -> bool:
    count = len(op.initial_state)
    states, slices, invariants = _inputs(op)
    read_by_step = {value for step in op.body.ops for value in step.operands} | set(op.body.outputs)

    def is_needed(index: int) -> bool:
        others = [output for place, output in enumerate(op.body.outputs) if place != index]
        return uses.is_read(op.final_state[index]) or states[index] in backward_slice(op.body.ops, others).values

    return (
        all(uses.is_read(output) for output in op.outputs)
        and all(is_needed(index) for index in range(count))
        and all(value in read_by_step or _gives_length(op, index) for index, value in enumerate(slices))
        and read_by_step.issuperset(invariants)
    )


def _trimmed_in(graph: Graph) -> Graph:
    read = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if not has_effects(op) and read.isdisjoint(op.results):
            continue
        kept.append(_trimmed(op, read) if isinstance(op, Scan) else op)
        read.update(value for value in kept[-1].operands if value is not None)
    return replace(graph, ops=tuple(reversed(kept)))


def _trimmed(op: Scan, read: Set[Value]) -> Scan:
    """Return ``op`` without what nothing needs if only ``read`` is read of its results."""
    count = len(op.initial_state)
    states, slices, invariants = _inputs(op)
    outputs = [index for index, value in enumerate(op.outputs) if value in read]
    kept = {index for index, value in enumerate(op.final_state) if value in read}
    while True:
        wanted = [
            *(op.body.outputs[index] for index in sorted(kept)),
            *(op.body.outputs[count + index] for index in outputs),
        ]
        step = backward_slice(op.body.ops, wanted, keeps=has_effects)
        needed = kept | {index for index, value in enumerate(states) if value in step.values}
        if needed == kept:
            break
        kept = needed
    order = sorted(kept)
    read_slices = [index for index, value in enumerate(slices) if value in step.values or _gives_length(op, index)]
    read_invariants = [index for index, value in enumerate(invariants) if value in step.values]
    inputs = (
        op.body.inputs[0],
        *_at(states, order),
        *_at(slices, read_slices),
        *_at(invariants, read_invariants),
    )
    return replace(
        op,
        body=replace(op.body, inputs=inputs, outputs=tuple(wanted), ops=step.ops),
        sequences=_at(op.sequences, read_slices),
        initial_state=_at(op.initial_state, order),
        invariants=_at(op.invariants, read_invariants),
        outputs=_at(op.outputs, outputs),
        final_state=_at(op.final_state, order),
    )


def _inputs(op: Scan) -> tuple[tuple[Value, ...], tuple[Value, ...], tuple[Value, ...]]:
    """Return the states, the slices of sequences, and the invariants that a step of ``op`` reads."""
    first = 1 + len(op.initial_state)
    stop = first + len(op.sequences)
    return op.body.inputs[1:first], op.body.inputs[first:stop], op.body.inputs[stop:]


def _gives_length(op: Scan, index: int) -> bool:
    return index == 0 and op.length is None


def _at(values: Sequence[Value], places: Sequence[int]) -> tuple[Value, ...]:
    return tuple(values[place] for place in places)
