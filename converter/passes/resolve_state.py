"""resolve-state: replace an initial state that is zero, however it is computed, by None.

``cell.zero_state(...)`` with an unknown batch arrives as SHAPE, STRIDED_SLICE, PACK, FILL; with a known one as a
constant. Both would cost an op per state, and a FILL of computed shape is a dynamic tensor, which a state tensor
must not depend on.
"""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.zeros import is_zero
from converter.ir import Graph, Op, Program, Recurrence


def resolve_state(program: Program) -> Program:
    """Replace each initial state that is known to be zero by None."""
    return program.map_graphs(_resolve)


def zero_states_resolved(program: Program) -> bool:
    """True if no recurrence starts from a value that is known to be zero."""
    return not any(
        state is not None and is_zero(state, graph.producers())
        for graph in program.graphs
        for op in graph.ops
        if isinstance(op, Recurrence)
        for state in op.initial_state
    )


def _resolve(graph: Graph) -> Graph:
    producers = graph.producers()

    def resolve(op: Op) -> Op:
        if not isinstance(op, Recurrence):
            return op
        states = tuple(None if state is None or is_zero(state, producers) else state for state in op.initial_state)
        return replace(op, initial_state=states)

    return replace(graph, ops=tuple(resolve(op) for op in graph.ops))
