"""Recurrences to TFLite ops, each in the form that was chosen for it."""

from __future__ import annotations

from dataclasses import replace

from converter.errors import InvalidProgramError
from converter.ir import Graph, Lowering, Op, Program, Recurrence
from converter.lowering.fused import lower_fused


def lower(program: Program) -> Program:
    """Return ``program`` with every recurrence as TFLite ops.

    Raises InvalidProgramError if no lowering has been chosen for a recurrence.
    """
    return program.map_graphs(_lower_graph)


def _lower_graph(graph: Graph) -> Graph:
    taken = {value.name for value in graph.values()}
    ops: list[Op] = []
    for op in graph.ops:
        if not isinstance(op, Recurrence):
            ops.append(op)
        elif op.lowering is Lowering.FUSED:
            ops += lower_fused(op, taken)
        else:
            raise InvalidProgramError(f"{op.name} has no lowering")
    return replace(graph, ops=tuple(ops))
