"""raise-loops: raise WHILE ops that run a step over sequences to scans.

TFLiteConverter makes a WHILE op of every loop, whatever it was: a frozen graph's Enter, Merge and Switch, a Keras
layer, a ``tf.while_loop``. Such a loop is a scan if it runs while counters from zero are below constant limits.
The values that it reads at the counter are its sequences; those that it writes at the counter, to TensorArrays,
TensorLists or tensors, are its outputs; those that it does not change are its invariants; the rest is its state.

Other loops do not change: those whose end depends on computed values, that contain a loop or branch, or that read
what they wrote.
"""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.uses import without_dead_ops
from converter.ir import Graph, Op, Program, TfliteOp, as_tflite, rewire_graph
from converter.raising.loop import loop_of
from converter.raising.scans import Raised, raise_loop
from converter.raising.state_shapes import with_state_shapes
from converter.raising.subgraphs import drop_unused_graphs


def raise_loops(program: Program) -> Program:
    """Raise every WHILE op that is a scan, and drop the graphs and lists that are no longer used."""
    if not any(as_tflite(op, "WHILE") for op in program.ops()):
        return program
    for index in range(len(program.graphs)):
        program = _raise_in(program, index)
    return drop_unused_graphs(program).map_graphs(without_dead_ops)


def _raise_in(program: Program, index: int) -> Program:
    """Raise the loops of one graph, in order."""
    refused: set[str] = set()
    while True:
        graph = program.graphs[index]
        loops = (as_tflite(op, "WHILE") for op in graph.ops)
        pending = [loop for loop in loops if loop is not None and loop.name not in refused]
        if not pending:
            return program
        raised = raise_loop(with_state_shapes(loop_of(pending[0], graph, program)), graph.names())
        if raised is None:
            refused.add(pending[0].name)
            continue
        graphs = list(program.graphs)
        graphs[index] = _replaced(graph, pending[0], raised)
        program = replace(program, graphs=tuple(graphs))


def _replaced(graph: Graph, loop: TfliteOp, raised: Raised) -> Graph:
    ops: list[Op] = []
    for op in graph.ops:
        if op is loop:
            ops += raised.ops
        else:
            ops += raised.readers.get(id(op), [op])
    return rewire_graph(replace(graph, ops=tuple(ops)), raised.other)
