"""The ops of a graph written again into another: every value under a name of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.ir import Op, TfliteOp, Value


def inline(ops: Iterable[Op], known: Mapping[Value, Value], emitter: Emitter) -> dict[Value, Value]:
    """Emit ``ops`` and return what stands for each of their values.

    ``known`` says what stands for those that are defined elsewhere. Constants appear once however often ops are
    inlined by one emitter. Raises ValueError for an op that has not been lowered.
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
    """Return what stands for ``value``: for a constant, itself under a name of the emitter's scope."""
    return emitter.adopt(value) if value.is_constant and value not in known else known[value]
