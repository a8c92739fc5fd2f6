"""fold-dropout: dropout that keeps everything is dropped.

A graph made for training and run with ``keep_prob`` 1 (or rate 0) still draws random numbers, and multiplies by
``floor(1 + uniform)`` or selects where ``uniform >= 0``. Both are known: a uniform number is in [0, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from converter.analysis.uses import without_dead_ops
from converter.ir import Graph, Op, Program, Scan, TfliteOp, Value, rewire


def fold_dropout(program: Program) -> Program:
    """Replace each product and each choice that a random number cannot change by the value that it always has."""
    return program.map_graphs(_fold).map_graphs(without_dead_ops)


def dropout_folded(program: Program) -> bool:
    """True if no op is left whose random operand changes nothing."""
    return all(_kept(op, graph.producers()) is None for graph in _graphs(program.graphs) for op in graph.ops)


def _graphs(graphs: tuple[Graph, ...]) -> list[Graph]:
    bodies = tuple(op.body for graph in graphs for op in graph.ops if isinstance(op, Scan))
    return [*graphs, *(_graphs(bodies) if bodies else ())]


def _fold(graph: Graph) -> Graph:
    producers = graph.producers()
    other: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in graph.ops:
        kept = _kept(op, producers)
        if kept is not None:
            other[op.results[0]] = other.get(kept, kept)
        elif isinstance(op, Scan):
            body = without_dead_ops(_fold(op.body))
            ops.append(rewire(replace(op, body=body), other))
        else:
            ops.append(rewire(op, other))
    return replace(graph, ops=tuple(ops), outputs=tuple(other.get(value, value) for value in graph.outputs))


def _kept(op: Op, producers: Mapping[Value, Op]) -> Value | None:
    """Return the operand that ``op`` always gives, whatever random number another operand is made of."""
    if not isinstance(op, TfliteOp) or op.builtin not in {"MUL", "SELECT", "SELECT_V2"}:
        return None
    if op.builtin in {"SELECT", "SELECT_V2"}:
        condition, x, y = op.operands
        chosen = None if condition is None else _drawn(condition, producers)
        kept = None if chosen is None else (x if chosen else y)
        return kept if kept is not None and kept.type == op.results[0].type else None
    for x, factor in (op.operands, op.operands[::-1]):
        if factor is not None and x is not None and _drawn(factor, producers) == 1.0:
            return x if x.type == op.results[0].type and not op.options.get("fusedActivationFunction") else None
    return None


def _drawn(value: Value, producers: Mapping[Value, Op]) -> float | None:
    """Return the number that every element of ``value``, made from random ones, is; None if there is no such."""
    op = producers.get(value)
    if not isinstance(op, TfliteOp):
        return None
    first, *rest = op.operands
    if op.builtin in {"CAST", "RESHAPE"} and first is not None:
        return _drawn(first, producers)
    if op.builtin == "FLOOR" and first is not None:
        return _floor(first, producers)
    if op.builtin == "GREATER_EQUAL" and _is_uniform(first, producers):
        bound = _number(rest[0])
        return 1.0 if bound is not None and bound <= 0.0 else None
    if op.builtin == "LESS" and _is_uniform(first, producers):
        bound = _number(rest[0])
        return 1.0 if bound is not None and bound >= 1.0 else None
    return None


def _floor(value: Value, producers: Mapping[Value, Op]) -> float | None:
    """Return the floor of a uniform number to which a whole number was added."""
    op = producers.get(value)
    if not isinstance(op, TfliteOp) or op.builtin != "ADD":
        return None
    for x, y in (op.operands, op.operands[::-1]):
        added = _number(y)
        if _is_uniform(x, producers) and added is not None and added == np.floor(added):
            return added
    return None


def _is_uniform(value: Value | None, producers: Mapping[Value, Op]) -> bool:
    op = producers.get(value) if value is not None else None
    return isinstance(op, TfliteOp) and op.builtin == "RANDOM_UNIFORM"


def _number(value: Value | None) -> float | None:
    return (
        None if value is None or value.data is None or value.data.size != 1 else float(value.data.reshape(-1)[0])
    )
