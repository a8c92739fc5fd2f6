"""An op as its streaming rule sees it: facts and sizes of its operands, and what most rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from converter.analysis.streaming.facts import (
    Action,
    Fact,
    Feed,
    Other,
    Plan,
    Rows,
    Running,
    UnstreamableError,
    needs_the_whole,
    not_supported,
)
from converter.analysis.streaming.windows import delayed, matched, padded, through
from converter.ir import TfliteOp, Value
from converter.ir.dimensions import Dimension, SymbolicShape
from converter.rules import Rule

Outcome = tuple[Sequence[Fact], Plan]
"""The facts of an op's results, and its plan."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An op, the fact of each operand, and functions for the symbolic shape of a value and the integers in it.

    ``sum_of`` takes a size apart, as `Dimensions.sum_of`. ``ends`` says whether a sequence may end within a
    chunk, so that layers may look ahead.
    """

    op: TfliteOp
    facts: Sequence[Fact | None]
    shape_of: Callable[[Value], SymbolicShape | None]
    numbers_of: Callable[[Value], SymbolicShape | None]
    sum_of: Callable[[Dimension], tuple[Dimension, int]]
    ends: bool

    def rows(self, place: int) -> Rows | None:
        """Return the rows of an operand, None if it has none."""
        fact = self.facts[place] if place < len(self.facts) else None
        return fact if isinstance(fact, Rows) else None

    def only(self, *places: int) -> Rows:
        """Return the rows of operand 0; only operands at ``places`` may vary, too. Raises UnstreamableError."""
        rows = self.rows(0)
        if rows is None or any(
            fact is not None for place, fact in enumerate(self.facts) if place and place not in places
        ):
            raise not_supported(f"{self.op.kind} has two operands that depend on the sequence")
        return rows

    def alone(self, rows: Rows) -> Rows:
        """Return ``rows`` as an axis of time alone. Raises UnstreamableError if it is joined with the batch."""
        separated = rows.separated()
        if not separated.is_alone:
            raise not_supported(f"{self.op.kind} over a sequence that is joined with another axis")
        return separated

    def shape(self, place: int) -> SymbolicShape:
        """Return the shape of an operand. Raises UnstreamableError if its rank is unknown."""
        shape = self.shape_of(self.op.operand(place))
        if shape is None:
            raise not_supported(f"{self.op.kind} over a value of unknown rank")
        return shape

    def result_shape(self, place: int = 0) -> SymbolicShape:
        """Return the shape of a result. Raises UnstreamableError if its rank is unknown."""
        shape = self.shape_of(self.op.results[place])
        if shape is None:
            raise not_supported(f"{self.op.kind} gives a value of unknown rank")
        return shape

    def numbers(self, place: int) -> tuple[int, ...]:
        """Return the integers of an operand that must be constant. Raises UnstreamableError."""
        numbers = self.numbers_of(self.op.operand(place))
        known = tuple(number for number in numbers or () if isinstance(number, int))
        if numbers is None or len(known) != len(numbers):
            raise not_supported(f"the operand {place} of {self.op.kind} is computed while the model runs")
        return known

    def every(self, rows: Rows, plan: Plan) -> Outcome:
        """Return the outcome of an op that gives ``rows`` as each result."""
        return [rows] * len(self.op.results), plan


def settled(rows: Rows, *, ends: bool) -> tuple[Rows, Feed]:
    """Return ``rows`` with the rows of zeros that belong around them, and how they are fed to be so."""
    return through(rows, padded(rows), ends=ends) if rows.left or rows.right else (rows, Feed())


def complete(rows: Rows, *, ends: bool) -> tuple[Rows, Feed]:
    """Return ``rows``, settled, so late that all that leave are of the whole sequence: what ends before it waits.

    Raises UnstreamableError if rows would be missing at the end of a sequence that does not end within a chunk.
    """
    rows, feed = settled(rows.separated(), ends=ends)
    if not rows.is_alone and rows.missing:
        raise not_supported("the sequence is joined with the batch, and does not begin with its first row")
    if rows.missing > 0:
        if ends:
            return rows, feed
        raise UnstreamableError(
            Rule.STREAMING_LOOKAHEAD,
            f"its last {rows.missing} rows depend on what comes later",
            "use causal padding, or let the outputs come later (lookahead='delay', --lookahead delay)",
        )
    return delayed(rows, rows.delay - rows.missing * rows.stride, feed) if rows.missing else (rows, feed)


def joined(view: View, axes: Sequence[int | None], size_at: Callable[[int], object]) -> Outcome:
    """Return the outcome of an op that joins rows with equal positions.

    ``axes`` says where in the result the time of each operand lies, None for an operand without rows, and
    ``size_at`` the size that an operand without rows has there. Earlier rows wait for later ones.
    """
    ready = {
        place: settled(rows, ends=view.ends)
        for place in range(len(axes))
        if (rows := view.rows(place)) is not None
    }
    moved = [replace(rows, axis=axes[place] or 0) for place, (rows, _) in ready.items()]
    latest = max(rows.delay for rows in moved)
    if len({(rows.delay, rows.before, rows.after) for rows in moved}) > 1:
        moved = [view.alone(rows) for rows in moved]
    one = moved[0]
    for other in moved[1:]:
        one = _alike(view, one, other)
    for place, fact in enumerate(view.facts):
        _check_other(view, fact, None if place in ready or view.op.operands[place] is None else size_at(place))
    feeds = {
        place: delayed(rows, latest, feed)[1]
        for rows, (place, (_, feed)) in zip(moved, ready.items(), strict=True)
    }
    return view.every(replace(one, delay=latest), Plan(Action.KEEP, feeds))


def _alike(view: View, one: Rows, other: Rows) -> Rows:
    """Return the rows that two sequences have in common, if they have equally many."""
    if (one.axis, one.before, one.after) != (other.axis, other.before, other.after):
        raise needs_the_whole(f"{view.op.kind} combines the steps of two sequences, each with each")
    if one.stride != other.stride:
        raise not_supported(
            f"{view.op.kind} combines sequences of {one.stride} and {other.stride} input steps per row"
        )
    found = matched(one, other)
    if found is None:
        shorter = abs(one.surplus - other.surplus) * one.stride
        raise not_supported(f"{view.op.kind} combines sequences of which one is {shorter} steps shorter")
    return found


def _check_other(view: View, fact: Fact | None, size: object) -> None:
    if isinstance(fact, Running):
        raise needs_the_whole(f"{view.op.kind} uses at each step what is computed over all steps")
    if fact is Other.SIZES:
        raise needs_the_whole(f"{view.op.kind} uses at each step the length of the sequence")
    if fact is None and size not in {None, 1}:
        raise needs_the_whole(f"{view.op.kind} has an operand of its own for each step of the sequence")
