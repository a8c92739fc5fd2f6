"""A recurrence as steps: what depends on x alone is one FULLY_CONNECTED for all steps, before them."""

from __future__ import annotations

from collections.abc import Sequence

from converter.emit import Emitter, dims
from converter.ir import DType, Recurrence, TensorType, Value
from converter.lowering.loop import Carried, Collected, Loop
from converter.lowering.steps import emit_step, input_projection


def steps_of_recurrence(op: Recurrence, emitter: Emitter, *, output: Value | None) -> Loop:
    """Emit what all steps of ``op`` share, and return its steps.

    ``output`` [T, B, n] receives the outputs by time; None if nobody reads them.
    """
    projection = input_projection(op.cell)
    projected = emitter.fully_connected(op.x, projection.kernel, projection.bias, "projected_inputs")
    xs = projected if op.time_major else emitter.transpose(projected, "projected_inputs_by_time")
    time, batch = emitter.dimension(xs, 0), emitter.dimension(xs, 1)
    kept, end = {"xs": xs}, time
    if op.sequence_length is not None:
        longest = emitter.reduce_max(op.sequence_length, 0, "longest")
        kept["lengths"], end = op.sequence_length, emitter.minimum(time, longest, "end")
    rows, size = dims(xs)[1], op.cell.output_size
    part = TensorType(DType.FLOAT32, (rows, size))
    states = zip(op.initial_state, op.cell.state_sizes, strict=True)

    def step(
        inner: Emitter, t: Value, at: Carried, states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        made, new = emit_step(inner, op.cell, inner.gather(at["xs"], t, "x"), states)
        if "lengths" in at:
            alive = inner.expand_dims(inner.less(t, at["lengths"], "alive"), 1, "alive_rows")
            new = [inner.select(alive, fresh, kept) for fresh, kept in zip(new, states, strict=True)]
            made = inner.select(alive, made, inner.zeros_like(made))
        return [] if output is None else [made], new

    return Loop(
        op.name,
        time,
        end,
        kept,
        tuple(_initial_state(emitter, given, batch, (rows, size)) for given, size in states),
        op.final_state,
        () if output is None else (Collected(part, (batch, emitter.integer(size)), output),),
        step,
        ends_itself=True,
    )


def _initial_state(emitter: Emitter, given: Value | None, batch: Value, shape: tuple[int | None, int]) -> Value:
    if given is not None and not given.is_constant:
        return given
    zeros = emitter.zeros([batch, emitter.integer(shape[1])], shape, "zero_state")
    # A constant may have one row for every row of the batch.
    return zeros if given is None else emitter.add(zeros, given, "initial_state")
