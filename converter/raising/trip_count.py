"""Emit the trip count of a loop: the length of its sequences, and how many of their steps it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.analysis.trip_count import TripCount, trip_count
from converter.emission.emitter import Emitter
from converter.emission.sizes import emit_size
from converter.ir import DType, Value, constant
from converter.ir.dimensions import Dimension


@dataclass(frozen=True, slots=True, eq=False)
class EmittedTripCount:
    """The time ``size`` of a loop's outputs, and the ``length``, ``steps`` and ``sequences`` of its scan.

    ``sequences`` are in the order that the scan needs.
    """

    size: Dimension | None
    length: Value | None
    steps: Value | None
    sequences: tuple[Value, ...]

    def count(self, emitter: Emitter) -> Value:
        """Return how many steps are run, an int32 scalar outside of the loop."""
        if self.steps is not None:
            return emitter.maximum(self.steps, emitter.integer(0), "steps")
        return emitter.dimension(self.sequences[0], 0) if self.length is None else self.length

    def surely_runs(self) -> bool:
        """True if at least one step is known to run."""
        steps_known = self.steps is None or (self.steps.data is not None and int(self.steps.data) > 0)
        return isinstance(self.size, int) and self.size > 0 and steps_known

    @property
    def known(self) -> int | None:
        """The time of the outputs if it is known statically."""
        return self.size if isinstance(self.size, int) else None


def emit_trip_count(
    limits: Sequence[Value],
    counts: Sequence[Value],
    sequences: Sequence[Value],
    around: Dimensions,
    emitter: Emitter,
    *,
    grows: bool,
) -> EmittedTripCount | None:
    """Emit the trip count of a loop below ``limits``; return None if its outputs have different lengths.

    ``counts`` and ``grows`` are as for `trip_count`.
    """
    count = trip_count(limits, counts, sequences, around, grows=grows)
    if count is None:
        return None
    size, steps = count.size, _smallest(count.limits, emitter)
    timed = [sequence for sequence in sequences if around.dimension(sequence, 0) == size]
    length: Value | None = None
    if not timed or (steps is not None and not count.is_bounded):
        length = _length(count, emitter)
    if steps is not None and length is not None and not count.is_bounded:
        steps = emitter.minimum(steps, length)
    ordered = (*timed, *(sequence for sequence in sequences if sequence not in timed))
    return EmittedTripCount(size, None if timed else length, steps, ordered)


def _length(count: TripCount, emitter: Emitter) -> Value:
    """Emit the number of steps of the outputs, an int32 scalar."""
    held = None if isinstance(count.size, int) else _smallest(count.holders, emitter)
    if held is not None:
        return held
    if count.size is None:
        raise ValueError("expected a loop with at least one limit")
    return emit_size(count.size, emitter)


def _smallest(limits: Iterable[Value], emitter: Emitter) -> Value | None:
    smallest: Value | None = None
    for limit in limits:
        number = _int32(limit, emitter)
        smallest = number if smallest is None else emitter.minimum(smallest, number)
    return smallest


def _int32(number: Value, emitter: Emitter) -> Value:
    if number.data is not None:
        return constant(emitter.name("limit"), number.data.astype(np.int32).reshape(()))
    return number if number.type.dtype is DType.INT32 else emitter.cast(number, DType.INT32, "limit")
