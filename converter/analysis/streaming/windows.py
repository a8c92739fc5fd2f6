"""The arithmetic of windows over rows that arrive in chunks: delays, rows of the past, and what exists at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from converter.analysis.streaming.facts import Feed, Fill, Rows


@dataclass(frozen=True, slots=True)
class Window:
    """A window of ``reach`` rows that moves by ``stride`` rows, over rows padded by ``left`` and ``right``.

    A negative padding drops rows.
    """

    reach: int = 1
    stride: int = 1
    left: int = 0
    right: int = 0


def through(rows: Rows, window: Window, fill: Fill = Fill.ZERO, *, ends: bool = False) -> tuple[Rows, Feed]:
    """Return the rows that ``window`` makes of ``rows``, and how it is fed for one row per stride of a chunk.

    Rows outside of the sequence are filled where the window reads them: those before it, and those behind it if
    the sequence ``ends`` in some chunk. A window that reads behind the last row waits until a row is known not to
    lie there.

    With s input steps per row, the result has s' = s * stride. Its row q needs the rows up to
    ``q * stride + reach - 1 - left``, the last of which leaves ``(reach - 1 - left) * s`` steps after its own; the
    delay is rounded down to a multiple of s', because a chunk holds whole strides.
    """
    late = max(0, -rows.missing) if window.right > 0 else 0
    rows = replace(rows, delay=rows.delay + late * rows.stride)
    step = rows.stride * window.stride
    ahead = (window.reach - 1 - window.left) * rows.stride + rows.delay
    delay = max(Fraction(0), ahead // step * step)
    past = int((delay - rows.delay) / rows.stride) + window.left
    surplus = past - (window.reach - window.stride)
    made = replace(_thinned(rows, window), delay=delay, left=0, right=0)
    cut = surplus if surplus >= window.stride else 0
    reads_before = window.left > 0 and (rows.delay > 0 or fill is Fill.LOWEST)
    reads_behind = window.right > 0 and ends
    return made, Feed(past + late, cut + late, fill if reads_before or reads_behind else Fill.NOTHING)


def _thinned(rows: Rows, window: Window) -> Rows:
    """Return how many rows ``window`` makes of ``rows``, by `Rows.first`, `Rows.block` and `Rows.short`.

    Of L rows there are ``(L + spare) // stride``. N blocks of u rows are a whole number of strides if the stride
    divides u, or if u divides it: then a row is made of several blocks. Otherwise they are only in sequences that
    are a multiple of several blocks long.
    """
    stride, block, period = window.stride, rows.block, rows.period
    spare = stride - window.reach + window.left + window.right - rows.short
    step = rows.stride * stride
    if block % stride == 0:
        return _counted(replace(rows, stride=step), block // stride, period, rows.first, spare // stride)
    if stride % block == 0:
        blocks = stride // block
        first = rows.first + (blocks - 1 - spare // block) * period
        return replace(rows, stride=step, first=first, block=1, short=0)
    blocks = stride // math.gcd(block, stride)
    more = (block * (1 - -(-rows.first // period)) + spare) // stride
    period *= blocks
    rows = replace(rows, stride=step, lengths=math.lcm(rows.lengths, period))
    return _counted(rows, block * blocks // stride, period, period, more)


def _counted(rows: Rows, block: int, period: int, first: int, more: int) -> Rows:
    """Return ``rows`` in blocks that cover ``period`` steps each, from ``first`` on, and ``more`` rows besides."""
    blocks = -(-more // block)
    return replace(rows, first=first - blocks * period, block=block, short=blocks * block - more)


def padded(rows: Rows) -> Window:
    """Return the window of one row that puts the rows of zeros where ``rows`` says that they belong."""
    return Window(left=rows.left, right=rows.right)


def delayed(rows: Rows, delay: Fraction, feed: Feed) -> tuple[Rows, Feed]:
    """Return ``rows``, fed by ``feed``, when they leave at ``delay``, which is not before their own."""
    late = int((delay - rows.delay) / rows.stride)
    return replace(rows, delay=delay), Feed(feed.past + late, feed.cut + late, feed.fill)


def same_padding(rows: Rows, reach: int, stride: int) -> tuple[Rows, Window]:
    """Return the window of SAME over ``rows``, and ``rows`` with the lengths for which it is one window.

    Of ``n`` rows, the last stride holds r = 1, ..., stride; SAME adds max(0, reach - r), the smaller half before.
    Where that half depends on r, r must be the same for every length.
    """
    lefts = {max(0, reach - rest) // 2 for rest in range(1, stride + 1)}
    if len(lefts) == 1:
        left = lefts.pop()
        return rows, Window(reach, stride, left, reach - 1 - left)
    lengths = rows.period * (stride // math.gcd(rows.block, stride))
    total = max(0, reach - ((rows.surplus - 1) % stride + 1))
    window = Window(reach, stride, total // 2, total - total // 2)
    return replace(rows, lengths=math.lcm(rows.lengths, lengths)), window


def matched(rows: Rows, other: Rows) -> Rows | None:
    """Return rows of which there are as many as of both, None if one has more for every length.

    Both have the same stride. If they only agree where sequences are whole blocks of both, others are not meant.
    """
    one = min(rows, other, key=lambda found: (found.block, found.first))
    counts = [(found.block, found.first, found.short) for found in (rows, other)]
    lengths = math.lcm(rows.lengths, other.lengths)
    if counts[0] != counts[1]:
        if rows.surplus != other.surplus:
            return None
        lengths = math.lcm(lengths, rows.period, other.period)
    return replace(one, lengths=lengths)
