"""Recurrences to TFLite ops, each in the form that was chosen for it."""

from __future__ import annotations

from dataclasses import replace

from converter.errors import InvalidProgramError
from converter.ir import Bidirectional, Graph, Lowering, Op, Program, Scan, TfliteOp, Value
from converter.lowering.bidirectional import lower_bidirectional
from converter.lowering.fused import lower_fused
from converter.lowering.loop import AddGraph, lower_loop


def lower(program: Program) -> Program:
    """Return ``program`` with every recurrence as TFLite ops; the graphs of loops come after the others.

    Raises InvalidProgramError if no lowering has been chosen for a recurrence.
    """
    added: list[Graph] = []

    def add_graph(graph: Graph) -> int:
        added.append(graph)
        return len(program.graphs) + len(added) - 1

    graphs = [_lower_graph(graph, add_graph) for graph in program.graphs]
    return replace(program, graphs=(*graphs, *added))


def _lower_graph(graph: Graph, add_graph: AddGraph) -> Graph:
    taken = {value.name for value in graph.values()}
    read = _read_values(graph)
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, TfliteOp):
            ops.append(op)
        elif isinstance(op, Bidirectional):
            ops += lower_bidirectional(op, taken)
        elif isinstance(op, Scan):
            raise InvalidProgramError(f"{op.name} has no lowering")
        elif op.lowering is Lowering.FUSED:
            ops += lower_fused(op, taken)
        elif op.lowering is Lowering.WHILE:
            ops += lower_loop(op, taken, add_graph, output_read=op.output in read)
        else:
            raise InvalidProgramError(f"{op.name} has no lowering")
    return replace(graph, ops=tuple(ops))


def _read_values(graph: Graph) -> set[Value]:
    operands = {value for op in graph.ops for value in op.operands if value is not None}
    return operands | set(graph.outputs)
