"""Inline the ops of one graph in another, with new names for all values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import Op, TfliteOp, Value


def inline(ops: Iterable[Op], known: Mapping[Value, Value], emitter: Emitter) -> dict[Value, Value]:
    """Emit ``ops`` and return the replacement of each of their values.

    ``known`` has the replacements of values that are defined elsewhere. Constants are emitted once per emitter.
    Raises ValueError for an op that has not been lowered.
    """
    now = dict(known)
    for op in ops:
        if not isinstance(op, TfliteOp):
            raise ValueError(
                f"{op.name}: expected a TFLite op to inline, got a {type(op).__name__}; lower it first"
            )
        operands = tuple(None if value is None else resolve(value, now, emitter) for value in op.operands)
        for value in (*op.results, *op.intermediates):
            now[value] = replace(value, name=emitter.name(value.name))
        emitter.ops.append(
            replace(
                op,
                operands=operands,
                results=tuple(now[value] for value in op.results),
                intermediates=tuple(now[value] for value in op.intermediates),
            )
        )
    return now


def resolve(value: Value, known: Mapping[Value, Value], emitter: Emitter) -> Value:
    """Return the replacement of ``value``: a constant is renamed in the emitter's scope."""
    return emitter.adopt(value) if value.is_constant and value not in known else known[value]
