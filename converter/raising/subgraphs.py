"""Graphs that ops refer to by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from converter.ir import Graph, Op, Program, Scan, TfliteOp, attributes


def drop_unused_graphs(program: Program) -> Program:
    """Drop the graphs that neither a signature nor an op of a used graph refers to, and renumber the others."""
    used: dict[int, None] = {}
    pending = [0, *(signature.graph for signature in program.signatures)]
    while pending:
        index = pending.pop()
        if index not in used:
            used[index] = None
            pending += [number for op in _ops(program.graphs[index]) for number in attributes.graphs(op)]
    numbers = {old: new for new, old in enumerate(sorted(used))}
    if len(numbers) == len(program.graphs):
        return program
    graphs = tuple(_renumbered(program.graphs[old], numbers) for old in numbers)
    signatures = tuple(replace(one, graph=numbers[one.graph]) for one in program.signatures)
    return replace(program, graphs=graphs, signatures=signatures)


def _ops(graph: Graph) -> Iterator[TfliteOp]:
    for op in graph.ops:
        if isinstance(op, Scan):
            yield from _ops(op.body)
        elif isinstance(op, TfliteOp):
            yield op


def _renumbered(graph: Graph, numbers: Mapping[int, int]) -> Graph:
    def renumber(op: Op) -> Op:
        if isinstance(op, Scan):
            return replace(op, body=_renumbered(op.body, numbers))
        return attributes.with_graphs(op, numbers) if isinstance(op, TfliteOp) else op

    return replace(graph, ops=tuple(renumber(op) for op in graph.ops))
