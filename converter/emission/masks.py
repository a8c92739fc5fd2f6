"""Emit masks of the steps of a padded sequence that are within its rows, with static shapes."""

from __future__ import annotations

from dataclasses import dataclass

from converter.emission.emitter import Emitter
from converter.ir import DType, Value


@dataclass(frozen=True, slots=True, eq=False)
class StepMask:
    """``alive`` (bool) holds for the steps within the lengths; ``zeros`` and ``ones`` have its shape."""

    alive: Value
    zeros: Value
    ones: Value


def steps_within(sequence: Value, lengths: Value, *, time_major: bool, emitter: Emitter) -> StepMask:
    """Emit the mask of the steps of ``sequence`` that are within ``lengths`` [B], int32.

    ``sequence`` is [T, B, n] if ``time_major``, else [B, T, n]; the results are [T, B, 1] or [B, T, 1]. Steps are
    counted by a CUMSUM over ones: a RANGE would be sized while the model runs.
    """
    zeros = emitter.zeros_like(emitter.columns(sequence, 0, 1, "column"))
    ones = emitter.add(zeros, emitter.number(1.0), "ones")
    step = emitter.cumulated(ones, 0 if time_major else 1, "step")
    limit = emitter.expand_dims(emitter.cast(lengths, DType.FLOAT32, "limit"), 1, "limits")
    if not time_major:
        limit = emitter.expand_dims(limit, 1, "limits_of_rows")
    return StepMask(emitter.less(step, limit, "alive"), zeros, ones)


def zero_padding(sequence: Value, lengths: Value, result: Value, *, time_major: bool, emitter: Emitter) -> None:
    """Emit ``result``: ``sequence`` with zeros where rows have ended, NaN or not; arguments as `steps_within`."""
    steps = steps_within(sequence, lengths, time_major=time_major, emitter=emitter)
    emitter.select(steps.alive, sequence, emitter.zeros_like(sequence, "blank"), result)
