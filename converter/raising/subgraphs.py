"""Graphs that ops refer to by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from converter.ir import Graph, Op, Program, Scan, TfliteOp, Value, as_tflite, attributes


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


def passed_on(op: Op, program: Program) -> Iterator[tuple[Value, Value]]:
    """Yield pairs of values that are one value, as far as no op changes it: what WHILE and IF pass on."""
    tflite = as_tflite(op)
    if tflite is None:
        return
    if tflite.builtin == "WHILE":
        condition, body = (program.graphs[number] for number in attributes.loop_graphs(tflite))
        for place, value in enumerate(tflite.operands):
            if value is not None:
                for other in (
                    condition.inputs[place],
                    body.inputs[place],
                    body.outputs[place],
                    tflite.results[place],
                ):
                    yield value, other
    elif tflite.builtin == "IF":
        for number in attributes.graphs(tflite):
            branch = program.graphs[number]
            yield from zip((v for v in tflite.operands[1:] if v is not None), branch.inputs, strict=False)
            yield from zip(tflite.results, branch.outputs, strict=False)
