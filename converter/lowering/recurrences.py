"""A recurrence as steps: what depends on x alone is one FULLY_CONNECTED for all steps, before them."""

from __future__ import annotations

from collections.abc import Sequence

from converter.emit import Emitter, dims
from converter.ir import DType, MaskedOutput, Recurrence, TensorType, Value
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
    given = zip(op.initial_state, op.cell.state_sizes, strict=True)
    states = [_initial_state(emitter, state, batch, (rows, depth)) for state, depth in given]
    finals = [*op.final_state]
    if op.mask is not None:
        by_time = op.mask if op.time_major else emitter.transpose(op.mask, "mask_by_time")
        kept["mask"] = emitter.expand_dims(by_time, 2, "mask_rows")
    if _holds_outputs(op):
        states.append(_initial_state(emitter, None, batch, (rows, size)))
        finals.append(Value(emitter.name("held"), part))

    def step(
        inner: Emitter, t: Value, at: Carried, states: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        of_cell = states[: len(op.final_state)]
        made, new = emit_step(inner, op.cell, inner.gather(at["xs"], t, "x"), of_cell)
        if "lengths" in at:
            alive = inner.expand_dims(inner.less(t, at["lengths"], "alive"), 1, "alive_rows")
            new = [inner.select(alive, fresh, kept) for fresh, kept in zip(new, of_cell, strict=True)]
            made = inner.select(alive, made, inner.zeros_like(made))
        if "mask" in at:
            alive = inner.gather(at["mask"], t, "alive")
            made, new = _masked(inner, op, alive, made, new, states)
        return [] if output is None else [made], new

    return Loop(
        op.name,
        time,
        end,
        kept,
        tuple(states),
        tuple(finals),
        () if output is None else (Collected(part, (batch, emitter.integer(size)), output),),
        step,
        ends_itself=True,
    )


def _holds_outputs(op: Recurrence) -> bool:
    """Whether steps need the output of the step before.

    A row that started from zero does not: until its first step, its state is the same.
    """
    return op.mask is not None and op.masked_output is MaskedOutput.HELD and op.initial_state[-1] is not None


def _masked(
    emitter: Emitter, op: Recurrence, alive: Value, output: Value, new: Sequence[Value], old: Sequence[Value]
) -> tuple[Value, list[Value]]:
    """Emit output and states of a step that only the rows ``alive`` [B, 1] take."""
    states = [emitter.select(alive, fresh, kept) for fresh, kept in zip(new, old, strict=False)]
    if op.masked_output is MaskedOutput.ZERO:
        return emitter.select(alive, output, emitter.zeros_like(output)), states
    if not _holds_outputs(op):
        # The last array of every cell's state is its output.
        return states[-1], states
    held = emitter.select(alive, output, old[-1])
    return held, [*states, held]


def _initial_state(emitter: Emitter, given: Value | None, batch: Value, shape: tuple[int | None, int]) -> Value:
    if given is not None and not given.is_constant:
        return given
    zeros = emitter.zeros([batch, emitter.integer(shape[1])], shape, "zero_state")
    # A constant may have one row for every row of the batch.
    return zeros if given is None else emitter.add(zeros, given, "initial_state")
