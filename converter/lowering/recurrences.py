"""Lower a recurrence to steps: one FULLY_CONNECTED computes what depends on x alone for all steps."""

from __future__ import annotations

from collections.abc import Sequence

from converter.emission.emitter import Emitter
from converter.ir import DType, MaskedOutput, Recurrence, TensorType, Value, dims
from converter.lowering.loop import Collected, Loop
from converter.lowering.steps import emit_step, input_projection


def steps_of_recurrence(op: Recurrence, emitter: Emitter, *, output: Value | None) -> Loop:
    """Emit what all steps of ``op`` share, and return its steps.

    ``output`` [T, B, n] receives the outputs by time; None if they are not read.
    """
    projection = input_projection(op.cell)
    # Before the product: the inputs are smaller than all gates.
    x = op.x if op.time_major else emitter.transpose(op.x, "inputs_by_time")
    xs = emitter.fully_connected(x, projection.kernel, projection.bias, "projected_inputs")
    time, batch = emitter.dimension(xs, 0), emitter.dimension(xs, 1)
    kept, end = [xs], time
    if op.sequence_length is not None:
        longest = emitter.reduce_max(op.sequence_length, 0, "longest")
        kept, end = [xs, op.sequence_length], emitter.minimum(time, longest, "end")
    elif op.mask is not None:
        by_time = op.mask if op.time_major else emitter.transpose(op.mask, "mask_by_time")
        kept = [xs, emitter.expand_dims(by_time, 2, "mask_rows")]
    rows, size = dims(xs)[1], op.cell.output_size
    element = TensorType(DType.FLOAT32, (rows, size))
    starts = zip(op.initial_state, op.cell.state_sizes, strict=True)
    states = [_initial_state(emitter, given, batch, (rows, size)) for given, size in starts]
    finals = op.final_state
    # A row that started from zero needs no output to hold at first: until its first step its state is the same.
    holds = op.mask is not None and op.masked_output is MaskedOutput.HELD and op.initial_state[-1] is not None
    if holds and output is not None:
        held = _initial_state(emitter, None, batch, (rows, size))
        states.append(held)
        finals = (*finals, Value(emitter.name("last_output"), held.type))

    count = len(op.final_state)

    def step(
        inner: Emitter, t: Value, kept: Sequence[Value], states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        xs, *limits = kept
        own, last = states[:count], states[count:]
        made, new = emit_step(inner, op.cell, inner.gather(xs, t, "x"), own)
        if limits:
            alive = _alive(inner, op, t, limits[0])
            new = [inner.select(alive, fresh, old) for fresh, old in zip(new, own, strict=True)]
            is_held = op.mask is not None and op.masked_output is MaskedOutput.HELD
            skipped = (last[0] if last else new[-1]) if is_held else inner.zeros_like(made)
            made = inner.select(alive, made, skipped)
        if last:
            new = [*new, made]
        return [] if output is None else [made], new

    return Loop(
        op.name,
        time,
        end,
        tuple(kept),
        tuple(states),
        finals,
        () if output is None else (Collected(element, (batch, emitter.integer(size)), output),),
        step,
        ends_itself=True,
    )


def _alive(emitter: Emitter, op: Recurrence, t: Value, limit: Value) -> Value:
    """Emit which rows run the time step: bool [B, 1]. ``limit`` is the lengths [B], or the mask [T, B, 1]."""
    if op.mask is not None:
        return emitter.gather(limit, t, "alive")
    return emitter.expand_dims(emitter.less(t, limit, "alive"), 1, "alive_rows")


def _initial_state(emitter: Emitter, given: Value | None, batch: Value, shape: tuple[int | None, int]) -> Value:
    if given is not None and not given.is_constant:
        return given
    zeros = emitter.zeros([batch, emitter.integer(shape[1])], shape, "zero_state")
    # A constant may have a single row for the whole batch.
    return zeros if given is None else emitter.add(zeros, given, "initial_state")
