"""resolve-state: find the initial states that are constants, however they are computed; zero becomes None.

``cell.zero_state(...)`` with an unknown batch arrives as SHAPE, STRIDED_SLICE, PACK, FILL; with a known one as a
constant. Both would cost an op per state, and a FILL of computed shape is a dynamic tensor, which a state tensor
must not depend on. Files of this compiler add a constant to zeros that depend on x, and select what was learned
by a flag that is a constant once no variable holds it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.uses import backward_slice
from converter.analysis.zeros import is_zero
from converter.errors import InvalidProgramError
from converter.ir import (
    DType,
    Graph,
    Op,
    Producers,
    Program,
    Recurrence,
    TfliteOp,
    Value,
    attributes,
    constant,
    is_pure,
    made_by,
)
from converter.ir.evaluate import evaluate_graph


def resolve_state(program: Program) -> Program:
    """Replace each initial state that is known to be zero by None, and each that is known by a constant."""
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
    producers, names = graph.producers(), graph.names()

    def resolved(state: Value | None) -> Value | None:
        if state is None or is_zero(state, producers):
            return None
        found = _row(state, producers) or _computed(state, graph)
        if found is None or found.data is None:
            return state
        return constant(names.fresh(f"{state.name}_start"), found.data) if np.any(found.data) else None

    def resolve(op: Op) -> Op:
        if not isinstance(op, Recurrence):
            return op
        states = tuple(resolved(state) for state in op.initial_state)
        changed = any(new is not old for new, old in zip(states, op.initial_state, strict=True))
        return replace(op, initial_state=states) if changed else op

    return replace(graph, ops=tuple(resolve(op) for op in graph.ops))


def _row(state: Value, producers: Producers) -> Value | None:
    """Return the constant of one row that a state is in each of its rows."""
    total = made_by(state, producers, "ADD")
    if total is None or attributes.fused_activation(total) != "NONE":
        return None
    for zeros, row in ((total.operand(0), total.operand(1)), (total.operand(1), total.operand(0))):
        if row.is_constant and row.type.shape == (1, *(state.type.shape or ())[1:]) and is_zero(zeros, producers):
            return row
    return None


def _computed(state: Value, graph: Graph) -> Value | None:
    """Return a state that is computed of constants alone, as a constant."""
    if state.is_constant or state.type.dtype is not DType.FLOAT32:
        return None
    part = backward_slice(graph.ops, [state])
    made = {result for op in part.ops for result in op.results}
    is_closed = all(value.is_constant or value in made for value in part.values)
    if not part.ops or not is_closed or not all(isinstance(op, TfliteOp) and is_pure(op) for op in part.ops):
        return None
    try:
        (array,) = evaluate_graph(Graph("state", (), (state,), part.ops), [])
    except (InvalidProgramError, ValueError, LookupError):  # an op that the evaluator does not know, or not so
        return None
    return constant(state.name, np.asarray(array, np.float32))
