"""Find how many steps a loop runs, and whether they cover its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converter.analysis.dimensions import Dimensions
from converter.ir import Producers, Scan, Value, made_by
from converter.ir.dimensions import Dimension


@dataclass(frozen=True, slots=True, eq=False)
class TripCount:
    """The steps of a loop: as many as its outputs have, or fewer if the least of ``limits`` is smaller.

    ``size`` is the number of steps of the outputs, None if it is the smallest of several limits. ``holders`` are
    the scalars whose smallest has that number, none if it is a size of a sequence. ``is_bounded`` is True if a
    limit is known not to exceed it.
    """

    size: Dimension | None
    holders: tuple[Value, ...]
    limits: tuple[Value, ...]
    is_bounded: bool


def trip_count(
    limits: Sequence[Value],
    counts: Sequence[Value],
    sequences: Sequence[Value],
    around: Dimensions,
    *,
    grows: bool,
) -> TripCount | None:
    """Return the trip count of a loop whose counter stays below ``limits``, of which there is at least one.

    ``counts`` are the numbers of elements of its outputs; with ``grows`` it has outputs with one element per step.
    Returns None if its outputs have different lengths.
    """
    if len({around.number(count) for count in counts}) > 1 or (grows and counts):
        return None
    size, holders = _length(limits, counts, sequences, around, grows=grows)
    rest = tuple(limit for limit in limits if not _reaches(limit, size, around)) if holders != limits else ()
    is_bounded = size is not None and any(around.is_at_most(limit, size) for limit in rest)
    return TripCount(size, tuple(holders), rest, is_bounded)


def _length(
    limits: Sequence[Value],
    counts: Sequence[Value],
    sequences: Sequence[Value],
    around: Dimensions,
    *,
    grows: bool,
) -> tuple[Dimension | None, Sequence[Value]]:
    """Return the number of steps of the outputs, and the scalars whose smallest has it, if there are any."""
    if counts:
        return around.number(counts[0]), counts[:1]
    if not grows:
        for time in (around.dimension(sequence, 0) for sequence in sequences):
            if any(around.is_at_most(limit, time) for limit in limits):
                return time, ()
    return (around.number(limits[0]) if len(limits) == 1 else None), limits


def _reaches(limit: Value, size: Dimension | None, around: Dimensions) -> bool:
    number = around.number(limit)
    return number == size or (isinstance(number, int) and isinstance(size, int) and number >= size)


def runs_all(scan: Scan, lengths: Value | None, around: Dimensions) -> bool:
    """Return whether ``scan`` is known to run all steps of its sequences up to the end of the longest row.

    ``lengths`` are those of the rows, None if all rows are as long as the sequences.
    """
    if scan.length is not None:
        return False
    times = {around.dimension(sequence, 0) for sequence in scan.sequences}
    return len(times) == 1 and covers(scan.steps, scan.sequences[0], lengths, around)


def covers(steps: Value | None, sequence: Value, lengths: Value | None, around: Dimensions) -> bool:
    """Return whether ``steps`` are known to reach the end of ``sequence``, or of its longest row.

    ``steps`` of None means all; ``lengths`` are as for `runs_all`.
    """
    if steps is None or _reaches(steps, around.dimension(sequence, 0), around):
        return True
    number, known = around.number(steps), None if lengths is None else lengths.data
    if known is not None and isinstance(number, int) and number >= int(known.max(initial=0)):
        return True
    op = made_by(steps, around.producers)
    if op is None:
        return False
    if op.builtin == "REDUCE_MAX":
        reduced = _uncast(op.operand(0), around.producers)
        return lengths is not None and reduced is _uncast(lengths, around.producers)
    decide = {"CAST": all, "RESHAPE": all, "SQUEEZE": all, "MINIMUM": all, "MAXIMUM": any}.get(op.builtin)
    count = 2 if op.builtin in {"MINIMUM", "MAXIMUM"} else 1
    operands = [op.operand(index) for index in range(count)] if decide is not None else []
    return decide is not None and decide(covers(operand, sequence, lengths, around) for operand in operands)


def _uncast(value: Value, producers: Producers) -> Value:
    cast = made_by(value, producers, "CAST")
    return value if cast is None else _uncast(cast.operand(0), producers)
