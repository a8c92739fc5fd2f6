"""Move out of a step what depends on its slices alone, to compute it for all steps at once.

An op whose operands are slices, constants and invariants is moved out where a leading axis of time changes nothing
else (see `batching`); one that reads invariants only is moved out unchanged. A FULLY_CONNECTED over a
CONCATENATION of slices and states is split: [x, h] W^T + b is the x part, for all steps at once, plus the h part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.analysis.uses import backward_slice
from converter.emission.batching import dense_of, is_batchable
from converter.emission.emitter import Emitter
from converter.emission.inlining import inline, resolve
from converter.ir import (
    Array,
    FullyConnected,
    Graph,
    Op,
    TensorType,
    TfliteOp,
    Value,
    attributes,
    dims,
    fused_activation,
    is_pure,
    made_by,
)


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """A step without what was moved out of it.

    ``sequences`` and ``invariants`` map the values that ``ops`` and ``outputs`` still read to their counterparts
    outside of the loop.
    """

    ops: tuple[Op, ...]
    outputs: tuple[Value, ...]
    sequences: Mapping[Value, Value]
    invariants: Mapping[Value, Value]


def hoist(
    body: Graph, sequences: Mapping[Value, Value], invariants: Mapping[Value, Value], emitter: Emitter
) -> Remainder:
    """Emit what can be moved out of ``body`` and return the rest of it.

    ``sequences`` and ``invariants`` map the inputs of the body to their counterparts outside.
    """
    mover = _Mover(body, dict(sequences), dict(invariants), emitter)
    for op in body.ops:
        mover.move(op)
    rest = backward_slice(mover.left, body.outputs, keeps=lambda op: not is_pure(op))
    return Remainder(
        rest.ops,
        body.outputs,
        {value: whole for value, whole in mover.sequences.items() if value in rest.values},
        {value: whole for value, whole in mover.invariants.items() if value in rest.values},
    )


class _Mover:
    """Moves out, splits or keeps each op of a body, in order."""

    def __init__(
        self, body: Graph, sequences: dict[Value, Value], invariants: dict[Value, Value], emitter: Emitter
    ) -> None:
        self.left: list[Op] = []
        self.sequences = sequences
        self.invariants = invariants
        self._emitter = emitter
        self._producers = body.producers()
        self._inside = Emitter("rest", body.names())

    def move(self, op: Op) -> None:
        """Move ``op`` out if that is exact, else keep it or a part of it."""
        if not isinstance(op, TfliteOp) or not is_pure(op):
            self.left.append(op)
            return
        given = [value for value in op.operands if value is not None and not value.is_constant]
        outside = [value for value in given if value in self.invariants or value in self.sequences]
        # The runtimes fold ops over constants; a weight must remain a constant.
        if not given or len(outside) < len(given):
            self._split_or_leave(op)
        elif all(value in self.invariants for value in given):
            made = inline([op], self.invariants, self._emitter)
            self.invariants |= {result: made[result] for result in op.results}
        elif is_batchable(op, self.sequences):
            self._move_sequence(op)
        else:
            self.left.append(op)

    def _move_sequence(self, op: TfliteOp) -> None:
        (result,) = op.results
        known = {**self.invariants, **self.sequences}
        operands = tuple(None if value is None else resolve(value, known, self._emitter) for value in op.operands)
        time = next(dims(whole)[0] for value, whole in self.sequences.items() if value in op.operands)
        whole = replace(
            result,
            name=self._emitter.name(result.name),
            type=TensorType(result.type.dtype, (time, *dims(result))),
        )
        moved = replace(op, operands=operands, results=(whole,))
        self._emitter.ops.append(attributes.keeping_axes(moved) if op.builtin == "FULLY_CONNECTED" else moved)
        self.sequences[result] = whole

    def _split_or_leave(self, op: TfliteOp) -> None:
        dense = dense_of(op)
        parts = None if dense is None else self._parts(dense)
        if dense is None or dense.weights.data is None or parts is None:
            self.left.append(op)
            return
        kernel, columns = dense.weights.data, _columns(parts)
        of_slices = [(part, span) for part, span in columns if part in self.sequences]
        of_states = [(part, span) for part, span in columns if part not in self.sequences]
        wholes = [self.sequences[part] for part, _ in of_slices]
        x = _joined(wholes, self._emitter)
        added = None if dense.bias is None else dense.bias.data
        sums = self._emitter.fully_connected(x, _of_columns(kernel, of_slices), added, "projected_inputs")
        one = Value(self._inside.name("projected"), TensorType(x.type.dtype, dims(sums)[1:]))
        self.sequences[one] = sums
        h = _joined([part for part, _ in of_states], self._inside)
        recurrent = self._inside.fully_connected(h, _of_columns(kernel, of_states), None, "recurrent")
        self._inside.op("ADD", [one, recurrent], op.results[0], attributes.activation(dense.activation))
        self.left += self._inside.ops
        self._inside.ops.clear()

    def _parts(self, dense: FullyConnected) -> Sequence[Value] | None:
        """Return the parts of x if the op can be split, else None."""
        joined = made_by(dense.x, self._producers, "CONCATENATION")
        if joined is None or not (dense.bias is None or dense.bias.is_constant):
            return None
        parts = [value for value in joined.operands if value is not None]
        last = attributes.axis(joined) in (-1, len(dims(dense.x)) - 1)
        plain = fused_activation(joined) == "NONE"
        known = all(part.type.shape and part.type.shape[-1] is not None for part in parts)
        mixed = any(part in self.sequences for part in parts) and len(dims(dense.x)) == 2
        return parts if last and plain and known and mixed else None


def _columns(parts: Sequence[Value]) -> list[tuple[Value, slice]]:
    spans, start = [], 0
    for part in parts:
        stop = start + (dims(part)[-1] or 0)
        spans.append((part, slice(start, stop)))
        start = stop
    return spans


def _of_columns(kernel: Array, columns: Sequence[tuple[Value, slice]]) -> Array:
    return np.concatenate([kernel[:, span] for _, span in columns], axis=1)


def _joined(values: Sequence[Value], emitter: Emitter) -> Value:
    if len(values) == 1:
        return values[0]
    return emitter.concatenation(values, len(dims(values[0])) - 1, "joined")
