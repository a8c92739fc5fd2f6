"""What is known of a value in a program whose inputs arrive chunk by chunk, and what an op needs to run on chunks.

A program without a fact for a value computes the same number for it at every chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import TypeAlias

from converter.rules import Rule


@dataclass(frozen=True, slots=True)
class Rows:
    """A value with one row per ``stride`` input steps, along ``axis``; with several per step, that is a fraction.

    Row p of the whole sequence leaves at input step ``p * stride + delay``; the delay is a multiple of the stride.
    Rows come in blocks of ``block``, each of which covers a whole number of steps, the ``period``: of a layer that
    raises the rate, what it makes of one row. ``first`` is the least number of input steps for which there is a
    block, so that a sequence of T steps has ``(T - first) // period + 1`` blocks, at least none; the last block
    lacks its ``short`` last rows. Only sequences of a multiple of ``lengths`` steps are meant.

    Of an axis that joins time with others, each row is ``after`` elements, and all rows are repeated ``before``
    times: its size is before * rows * after.

    ``left`` and ``right`` rows of zeros belong before the first and behind the last row, but are not there yet: a
    window that follows takes them into account.
    """

    axis: int
    before: int = 1
    after: int = 1
    stride: Fraction = Fraction(1)
    delay: Fraction = Fraction(0)
    first: int = 1
    left: int = 0
    right: int = 0
    block: int = 1
    short: int = 0
    lengths: int = 1

    @property
    def is_alone(self) -> bool:
        """Whether the axis is time alone, not joined with others."""
        return self.before == self.after == 1

    @property
    def period(self) -> int:
        """How many input steps a block of rows covers."""
        return int(self.stride * self.block)

    @property
    def warm_up(self) -> int:
        """How many rows leave before the first one."""
        return int(self.delay / self.stride)

    @property
    def surplus(self) -> int:
        """How many rows the whole of T steps has more than T / stride, where T is a multiple of the period."""
        return self.block * (1 - -(-self.first // self.period)) - self.short

    @property
    def missing(self) -> int:
        """How many rows of the whole are still to come after its last step; negative if there are too many."""
        return self.warm_up + self.surplus

    @property
    def tail(self) -> Fraction:
        """How many steps behind the end of a sequence, at most, its last row leaves."""
        return max(Fraction(0), self.period - self.first - self.short * self.stride + self.delay)

    def refined(self, count: int) -> Rows:
        """Return rows of which ``count`` make one of these."""
        return replace(
            self,
            stride=self.stride / count,
            left=self.left * count,
            right=self.right * count,
            block=self.block * count,
            short=self.short * count,
        )

    def separated(self) -> Rows:
        """Return rows of one element each in place of rows of several, unless the rows are repeated."""
        return replace(self.refined(self.after), after=1) if self.before == 1 else self


@dataclass(frozen=True, slots=True)
class Running:
    """A value of all steps so far, without an axis of time: a final state, a mean.

    ``delay`` and ``tail`` are those of the rows that it is computed of.
    """

    delay: Fraction = Fraction(0)
    tail: Fraction = Fraction(0)

    @classmethod
    def of(cls, known: Iterable[object]) -> Running:
        """Return the fact of what is computed of values with these facts, as late as the latest."""
        facts = [fact for fact in known if isinstance(fact, Rows | Running)]
        return cls(
            max((fact.delay for fact in facts), default=Fraction(0)),
            max((fact.tail for fact in facts), default=Fraction(0)),
        )


class Other(Enum):
    """The facts without details."""

    SIZES = "sizes"
    """Depends on the length of the sequence, not on its content: shapes, and what is computed from them."""

    LOST = "lost"
    """The result of an op that cannot run on chunks."""


Fact: TypeAlias = Rows | Running | Other


class Fill(Enum):
    """What a window sees outside of the sequence."""

    NOTHING = "nothing"
    """The sequence is not padded, so no window reaches outside."""
    ZERO = "zero"
    LOWEST = "lowest"
    HIGHEST = "highest"


@dataclass(frozen=True, slots=True)
class Feed:
    """How an op reads an operand with rows: after ``past`` rows of earlier chunks, without the last ``cut`` rows.

    A negative ``past`` drops rows of the chunk itself. ``fill`` replaces rows that are not of the sequence.
    """

    past: int = 0
    cut: int = 0
    fill: Fill = Fill.NOTHING

    @property
    def is_plain(self) -> bool:
        """Whether the op reads the operand as it is."""
        return self == Feed()


class Action(Enum):
    """What becomes of an op."""

    KEEP = "keep"
    """It computes the same on chunks, once its operands are fed."""
    ALIAS = "alias"
    """Its result is its operand."""
    MEASURE = "measure"
    """It computes sizes, those of the chunk: constants take their place where those of the whole are needed."""
    RESIZE = "resize"
    """It is kept, but for the size of time that an option or constant of it names."""
    LAST = "last"
    """It takes the last row of the chunk."""
    LATEST = "latest"
    """It takes the last row so far, which may not be the last of the chunk."""
    PART = "part"
    """A STRIDED_SLICE or SLICE with new bounds along time."""
    PAD = "pad"
    """A PAD of the other axes only."""
    VALID = "valid"
    """A convolution or pool without padding along time: what it needs is before the chunk."""
    TRANSPOSED = "transposed"
    """A transposed convolution, as a convolution that makes the rows of a block at once."""
    REPEAT = "repeat"
    """A resized image whose rows and columns are repeated."""
    AVERAGE = "average"
    """An average pool that counts only what is inside of the sequence."""
    REDUCE = "reduce"
    """A reduction over time, of all steps so far."""
    CUMULATE = "cumulate"
    """A CUMSUM along time that begins with the sum so far."""
    RECUR = "recur"
    """A recurrence or scan, which holds its state before the first row."""


_UNCHANGED = frozenset({Action.KEEP, Action.MEASURE, Action.RESIZE, Action.LAST, Action.RECUR})


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of an op, and how its operands are fed, by their positions.

    ``reads`` are the rows of operand 0 as they are fed, where the op must know which of them are of the sequence.
    """

    action: Action
    feeds: Mapping[int, Feed] = field(default_factory=lambda: MappingProxyType({}))
    reads: Rows | None = None

    @property
    def changes(self) -> bool:
        """Whether the op on chunks differs from the op on the whole sequence."""
        return self.action not in _UNCHANGED or any(not feed.is_plain for feed in self.feeds.values())


KEEP = Plan(Action.KEEP)
MEASURE = Plan(Action.MEASURE)


class UnstreamableError(Exception):
    """An op cannot run on chunks: the rule it breaks, what was seen and what to do."""

    def __init__(self, rule: Rule, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.rule, self.detail, self.hint = rule, detail, hint


def needs_the_whole(what: str, hint: str = "use state='stateless' with whole sequences") -> UnstreamableError:
    """Return the error of an op whose result depends on the whole sequence."""
    return UnstreamableError(Rule.STREAMING_WHOLE_SEQUENCE, what, hint)


def not_supported(what: str) -> UnstreamableError:
    """Return the error of an op that could run on chunks, but for which there is no rule."""
    return UnstreamableError(
        Rule.STREAMING_OP, what, "leave the layer out of the streamed model, or use state='stateless'"
    )
