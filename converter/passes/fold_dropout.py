"""fold-dropout: remove dropout that keeps everything.

A graph made for training and run with ``keep_prob`` 1 (or rate 0) still draws random numbers, and multiplies by
``floor(1 + uniform)`` or selects where ``uniform >= 0``. Both are known: a uniform number is in [0, 1).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.uses import without_dead_ops
from converter.ir import Graph, Op, Producers, Program, Scan, Value, as_tflite, fused_activation, made_by, rewire


def fold_dropout(program: Program) -> Program:
    """Replace each product and selection that does not depend on its random numbers by its constant result."""
    return program.map_graphs(_fold).map_graphs(without_dead_ops)


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


def _kept(op: Op, producers: Producers) -> Value | None:
    """Return the operand that ``op`` always returns, whatever the random numbers in another operand."""
    chooses, multiplies = as_tflite(op, "SELECT", "SELECT_V2"), as_tflite(op, "MUL")
    kept: Value | None = None
    if chooses is not None:
        condition, x, y = chooses.operands
        chosen = _drawn(condition, producers)
        kept = None if chosen is None else (x if chosen else y)
    elif multiplies is not None and fused_activation(multiplies) == "NONE":
        factors = (op.operands, op.operands[::-1])
        kept = next((x for x, factor in factors if _drawn(factor, producers) == 1.0), None)
        if kept is None:
            kept = next((x for x, factor in factors if _is_ones_like(factor, x, producers)), None)
    return kept if kept is not None and kept.type == op.results[0].type else None


def _is_ones_like(value: Value | None, x: Value | None, producers: Producers) -> bool:
    """Return whether ``value`` is one everywhere, in the shape of ``x``: a mask that keeps everything."""
    op = made_by(value, producers, "BROADCAST_TO", "FILL")
    if op is None:
        return False
    number, shape = op.operands if op.builtin == "BROADCAST_TO" else op.operands[::-1]
    measured = made_by(shape, producers, "SHAPE")
    is_one = number is not None and number.data is not None and bool(np.all(number.data == 1))
    return is_one and measured is not None and measured.operand(0) is x


def _drawn(value: Value | None, producers: Producers) -> float | None:
    """Return the constant that ``value``, computed from random numbers, always is; None if there is none."""
    op = made_by(value, producers)
    if op is None:
        return None
    first, *rest = op.operands
    if op.builtin in {"CAST", "RESHAPE"}:
        return _drawn(first, producers)
    if op.builtin == "FLOOR":
        return _floor(first, producers)
    bound = _number(rest[0]) if rest and made_by(first, producers, "RANDOM_UNIFORM") else None
    if bound is None:
        return None
    is_true = (op.builtin == "GREATER_EQUAL" and bound <= 0.0) or (op.builtin == "LESS" and bound >= 1.0)
    return 1.0 if is_true else None


def _floor(value: Value | None, producers: Producers) -> float | None:
    """Return the floor of a uniform number to which a whole number was added."""
    op = made_by(value, producers, "ADD")
    for x, y in () if op is None else (op.operands, op.operands[::-1]):
        added = _number(y)
        if made_by(x, producers, "RANDOM_UNIFORM") and added is not None and added == np.floor(added):
            return added
    return None


def _number(value: Value | None) -> float | None:
    return (
        None if value is None or value.data is None or value.data.size != 1 else float(value.data.reshape(-1)[0])
    )
