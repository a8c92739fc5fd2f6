"""trim-scans: dead-code elimination inside scans.

A loop has all outputs of its source: one per layer, and the final state of every cell. A state that is not read
after the loop stays if another state or an output depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from converter.analysis.uses import Uses, backward_slice
from converter.ir import Graph, Op, Program, Scan, ScanStep, Value, has_effects


def trim_scans(program: Program) -> Program:
    """Drop the unused outputs, states, sequences and invariants of scans."""
    return program.map_graphs(lambda graph: _trimmed_in(graph) if _scans(graph) else graph)


def scans_trimmed(program: Program) -> bool:
    """True if everything that scans read and compute is used, after the loop or by a step."""
    return all(_is_trimmed(scan, Uses.of(graph)) for graph in program.graphs for scan in _scans(graph))


def _scans(graph: Graph) -> list[Scan]:
    return [op for op in graph.ops if isinstance(op, Scan)]


def _is_trimmed(op: Scan, uses: Uses) -> bool:
    step = op.step
    read_by_step = {value for part in op.body.ops for value in part.operands} | set(op.body.outputs)

    def is_needed(index: int) -> bool:
        others = [*step.new_states[:index], *step.new_states[index + 1 :], *step.elements]
        if uses.is_read(op.final_state[index]):
            return True
        return step.states[index] in backward_slice(op.body.ops, others).values

    return (
        all(uses.is_read(output) for output in op.outputs)
        and all(is_needed(index) for index in range(len(step.states)))
        and all(value in read_by_step or _gives_length(op, index) for index, value in enumerate(step.slices))
        and read_by_step.issuperset(step.invariants)
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
    """Return ``op`` with only what is needed to compute the results in ``read``."""
    step = op.step
    outputs = [index for index, value in enumerate(op.outputs) if value in read]
    kept = {index for index, value in enumerate(op.final_state) if value in read}
    while True:
        order = sorted(kept)
        wanted = [*_at(step.new_states, order), *_at(step.elements, outputs)]
        needed = backward_slice(op.body.ops, wanted, keeps=has_effects)
        read_too = {index for index, value in enumerate(step.states) if value in needed.values}
        if read_too <= kept:
            break
        kept |= read_too
    slices = [i for i, value in enumerate(step.slices) if value in needed.values or _gives_length(op, i)]
    invariants = [i for i, value in enumerate(step.invariants) if value in needed.values]
    trimmed = ScanStep(
        step.t,
        _at(step.states, order),
        _at(step.slices, slices),
        _at(step.invariants, invariants),
        _at(step.new_states, order),
        _at(step.elements, outputs),
    )
    return replace(
        op,
        body=trimmed.body(op.body.name, needed.ops),
        sequences=_at(op.sequences, slices),
        initial_state=_at(op.initial_state, order),
        invariants=_at(op.invariants, invariants),
        outputs=_at(op.outputs, outputs),
        final_state=_at(op.final_state, order),
    )


def _gives_length(op: Scan, index: int) -> bool:
    return index == 0 and op.length is None


def _at(values: Sequence[Value], places: Sequence[int]) -> tuple[Value, ...]:
    return tuple(values[place] for place in places)
