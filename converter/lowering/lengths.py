"""sequence_length for fused ops, which have no such operand: exact, with static shapes.

LSTM: one more input column, 1 where a row has ended and 0 before, with weights that shut the input and the output
gate and open the forget gate for good. Past its end a row's c does not change by a bit and its output is exactly
0; its final h is gathered from the outputs. Simple RNN: the outputs are selected, and the final h gathered.

Inputs past the end are replaced by zeros first: NaN there would survive a product with zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from converter.emission.emitter import Emitter
from converter.emission.masks import steps_within
from converter.ir import Array, DType, Gate, LstmCell, Recurrence, TensorType, Value, dims

SHUT = 1e30
"""A gate's input that outweighs all others: sigmoid is exactly 1 there, and exactly 0 at its negative."""

_COLUMN: Mapping[str, float] = {"input_gate": -SHUT, "forget_gate": SHUT, "cell_gate": 0.0, "output_gate": -SHUT}


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """The masks of a recurrence with lengths: ``alive`` (bool, [T, B, 1] or [B, T, 1]) and ``steps`` [B].

    ``ended`` is the mask column: 1.0 where a row has ended, else 0.0, of the shape of ``alive``.
    """

    op: Recurrence
    alive: Value
    steps: Value
    ended: Value


def measure(op: Recurrence, lengths: Value, emitter: Emitter) -> Lengths:
    """Emit the masks of ``lengths`` [B], int32."""
    within = steps_within(op.x, lengths, time_major=op.time_major, emitter=emitter)
    time = emitter.dimension(op.x, op.time_axis)
    steps = emitter.minimum(lengths, time, "steps")
    ended = emitter.select(within.alive, within.zeros, within.ones, "ended")
    return Lengths(op, within.alive, steps, ended)


def mask_inputs(lengths: Lengths, emitter: Emitter) -> Value:
    """Emit the inputs with the mask column appended, and zeros past the end of each row."""
    x = lengths.op.x
    clean = emitter.select(lengths.alive, x, emitter.zeros_like(x, "blank"), "clean_inputs")
    return emitter.concatenation([clean, lengths.ended], len(dims(clean)) - 1, "masked_inputs")


def mask_lstm(op: Recurrence, cell: LstmCell, masked: Value, emitter: Emitter) -> Recurrence:
    """Return an LSTM recurrence over `mask_inputs` without lengths that keeps its state where rows have ended.

    Its outputs are those of the original, and so is its final c for every row with a step; a given initial c of a
    row without steps may still be clipped.
    """
    return replace(
        op,
        cell=cell.map_gates(lambda name, gate: _with_column(gate, _COLUMN[name])),
        x=masked,
        sequence_length=None,
        final_state=tuple(_spare(value, emitter) for value in op.final_state),
    )


def unmasked(op: Recurrence, emitter: Emitter) -> Recurrence:
    """Return ``op`` without lengths and with new results, which still have values past the end of rows."""
    return replace(
        op,
        sequence_length=None,
        output=_spare(op.output, emitter),
        final_state=tuple(_spare(value, emitter) for value in op.final_state),
    )


def emit_masked_output(raw: Value, lengths: Lengths, emitter: Emitter) -> None:
    """Emit the outputs: ``raw`` where a row has not ended, else zero."""
    emitter.select(lengths.alive, raw, emitter.zeros_like(raw, "blank_outputs"), lengths.op.output)


def emit_final_state(masked: Recurrence, lengths: Lengths, emitter: Emitter) -> None:
    """Emit the final state: each row's last output, and c; the initial state for a row without steps."""
    op = lengths.op
    has_steps = emitter.less(emitter.integer(0), lengths.steps, "has_steps")
    stepped = emitter.expand_dims(has_steps, 1, "rows_with_steps")
    last = _last_output(lengths, emitter)
    for given, still, final in zip(op.initial_state, masked.final_state, op.final_state, strict=True):
        reached = last if final is op.final_state[-1] else still
        start = given if given is not None else emitter.zeros_like(reached, "no_state")
        emitter.select(stepped, reached, start, final)


def _last_output(lengths: Lengths, emitter: Emitter) -> Value:
    """Emit each row's output at its last step [B, output]; that of step 0 for a row without steps."""
    op = lengths.op
    before = emitter.subtract(lengths.steps, emitter.integer(1))
    last = emitter.maximum(before, emitter.integer(0), "last")
    counted = emitter.add(emitter.zeros_like(emitter.cast(last, DType.FLOAT32, "rows")), emitter.number(1.0))
    row = emitter.cast(emitter.cumulated(counted, 0, "row_number"), DType.INT32, "row")
    place = emitter.pack([last, row] if op.time_major else [row, last], "place", axis=1)
    return emitter.gather_nd(op.output, place, "last_output")


def _with_column(gate: Gate, weight: float) -> Gate:
    column: Array = np.full((gate.units, 1), weight, np.float32)
    return replace(gate, kernel=np.concatenate([gate.kernel, column], axis=1))


def _spare(value: Value, emitter: Emitter) -> Value:
    return Value(emitter.name("unmasked"), TensorType(value.type.dtype, value.type.shape))
