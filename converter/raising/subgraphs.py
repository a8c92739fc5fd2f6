"""Graphs that ops refer to by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from converter.ir import Graph, Op, Program, Scan, TfliteOp


def drop_unused_graphs(program: Program) -> Program:
    """Drop the graphs that neither a signature nor an op of a used graph refers to, and renumber the others."""
    used: dict[int, None] = {}
    pending = [0, *(signature.graph for signature in program.signatures)]
    while pending:
        index = pending.pop()
        if index not in used:
            used[index] = None
            pending += [number for op in _ops(program.graphs[index]) for _, number in _references(op)]
    numbers = {old: new for new, old in enumerate(sorted(used))}
    if len(numbers) == len(program.graphs):
        return program
    graphs = tuple(_renumbered(program.graphs[old], numbers) for old in numbers)
    signatures = tuple(replace(one, graph=numbers[one.graph]) for one in program.signatures)
    return replace(program, graphs=graphs, signatures=signatures)


def _ops(graph: Graph) -> Iterator[Op]:
    for op in graph.ops:
        yield op
        if isinstance(op, Scan):
            yield from _ops(op.body)


def _references(op: Op) -> Iterator[tuple[str, int]]:
    """Yield the options of ``op`` that are numbers of graphs."""
    if not isinstance(op, TfliteOp):
        return
    for name, setting in op.options.items():
        if (name == "subgraph" or name.endswith("SubgraphIndex")) and isinstance(setting, int) and setting >= 0:
            yield name, setting


def _renumbered(graph: Graph, numbers: Mapping[int, int]) -> Graph:
    def renumber(op: Op) -> Op:
        if isinstance(op, Scan):
            return replace(op, body=_renumbered(op.body, numbers))
        changed = {name: numbers[number] for name, number in _references(op)}
        return replace(op, options={**op.options, **changed}) if isinstance(op, TfliteOp) and changed else op

    return replace(graph, ops=tuple(renumber(op) for op in graph.ops))
