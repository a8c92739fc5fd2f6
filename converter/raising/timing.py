"""How long a loop's sequences are, and how many of their steps it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from converter.analysis.sizes import Producers, Size, is_at_most, size_of, time_of
from converter.emission.emitter import Emitter
from converter.ir import DType, Value, constant


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """``size`` is the time of the outputs; ``length`` and ``steps`` are a scan's.

    ``sequences`` are in the order in which the scan must have them.
    """

    size: Size
    length: Value | None
    steps: Value | None
    sequences: tuple[Value, ...]

    def count(self, emitter: Emitter) -> Value:
        """Return how many steps are run, an int32 scalar around the loop."""
        if self.steps is not None:
            return emitter.maximum(self.steps, emitter.integer(0), "steps")
        return emitter.dimension(self.sequences[0], 0) if self.length is None else self.length

    def surely_runs(self) -> bool:
        """True if at least one step is run."""
        steps_known = self.steps is None or (self.steps.data is not None and int(self.steps.data) > 0)
        return isinstance(self.size, int) and self.size > 0 and steps_known

    @property
    def known(self) -> int | None:
        """The time of the outputs if it is known before the run."""
        return self.size if isinstance(self.size, int) else None


def timing_of(
    limits: Sequence[Value],
    counts: Sequence[Value],
    sequences: Sequence[Value],
    around: Producers,
    emitter: Emitter,
    *,
    grows: bool,
) -> Timing | None:
    """Return the timing of a loop that stays below ``limits``; None if its outputs are of several lengths.

    ``counts`` are the lengths of its outputs; with ``grows``, it has outputs that are as long as it runs.
    """
    if len({size_of(count, around) for count in counts}) > 1 or (grows and counts):
        return None
    size, holder = _length(limits, counts, sequences, around, emitter, grows=grows)
    rest = [limit for limit in limits if not _is_no_limit(limit, size, around)]
    steps = _smallest(rest, emitter)
    if steps is not None and not any(is_at_most(limit, size, around) for limit in rest):
        steps = emitter.minimum(
            steps, _int32(holder, emitter) if holder is not None else _dimension(size, emitter)
        )
    ordered = sorted(sequences, key=lambda sequence: time_of(sequence, around) != size)
    if ordered and time_of(ordered[0], around) == size:
        return Timing(size, None, steps, tuple(ordered))
    if isinstance(size, int):
        return Timing(size, emitter.integer(size), steps, tuple(ordered))
    length = _int32(holder, emitter) if holder is not None else _dimension(size, emitter)
    return Timing(size, length, steps, tuple(ordered))


def _length(
    limits: Sequence[Value],
    counts: Sequence[Value],
    sequences: Sequence[Value],
    around: Producers,
    emitter: Emitter,
    *,
    grows: bool,
) -> tuple[Size, Value | None]:
    """Return the time of the outputs, and the scalar that holds it if there is one already."""
    if counts:
        return size_of(counts[0], around), counts[0]
    if not grows:
        for time in (time_of(sequence, around) for sequence in sequences):
            if any(is_at_most(limit, time, around) for limit in limits):
                return time, None
    limit = _smallest(limits, emitter)
    if limit is None:
        raise ValueError("a loop without limits")
    return size_of(limit, around), limit


def _is_no_limit(limit: Value, size: Size, around: Producers) -> bool:
    found = size_of(limit, around)
    return found == size or (isinstance(found, int) and isinstance(size, int) and found >= size)


def _smallest(limits: Iterable[Value], emitter: Emitter) -> Value | None:
    smallest: Value | None = None
    for limit in limits:
        number = _int32(limit, emitter)
        smallest = number if smallest is None else emitter.minimum(smallest, number)
    return smallest


def _dimension(size: Size, emitter: Emitter) -> Value:
    if isinstance(size, int):
        return emitter.integer(size)
    return emitter.dimension(*size) if isinstance(size, tuple) else size


def _int32(number: Value, emitter: Emitter) -> Value:
    if number.data is not None:
        return constant(emitter.name("limit"), number.data.astype(np.int32).reshape(()))
    return number if number.type.dtype is DType.INT32 else emitter.cast(number, DType.INT32, "limit")
