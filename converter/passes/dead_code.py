"""dead-code: ops whose results nobody reads are dropped."""

from __future__ import annotations

from dataclasses import replace

from converter.ir import DType, Graph, Op, Program, TfliteOp, Value
from converter.ir.traits import PURE_CUSTOM_OPS

_EFFECTS = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "CUSTOM", "HASHTABLE_IMPORT", "IF", "VAR_HANDLE", "WHILE"})


def dead_code(program: Program) -> Program:
    """Drop every op without side effects whose results are neither read nor outputs of the graph."""
    return program.map_graphs(_sweep)


def no_dead_code(program: Program) -> bool:
    """True if every op is needed."""
    return all(len(_sweep(graph).ops) == len(graph.ops) for graph in program.graphs)


def _sweep(graph: Graph) -> Graph:
    needed: set[Value] = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if not (_has_effects(op) or needed.intersection(op.results)):
            continue
        kept.append(op)
        needed.update(value for value in op.operands if value is not None)
    return replace(graph, ops=tuple(reversed(kept)))


def _has_effects(op: Op) -> bool:
    if not isinstance(op, TfliteOp) or op.custom_code in PURE_CUSTOM_OPS:
        return False
    return (
        op.builtin in _EFFECTS
        or not op.results
        or any(value is not None and value.type.dtype is DType.RESOURCE for value in op.operands)
    )
