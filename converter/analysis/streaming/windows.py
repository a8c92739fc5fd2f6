"""The arithmetic of windows over rows that arrive in chunks: delays, rows of the past, and what exists at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    delay = max(0, ahead // step * step)
    past = (delay - rows.delay) // rows.stride + window.left
    surplus = past - (window.reach - window.stride)
    first = rows.first + (window.reach - 1 - window.left - window.right) * rows.stride
    made = replace(rows, stride=step, delay=delay, first=first, left=0, right=0)
    cut = surplus if surplus >= window.stride else 0
    reads_before = window.left > 0 and (rows.delay > 0 or fill is Fill.LOWEST)
    reads_behind = window.right > 0 and ends
    return made, Feed(past + late, cut + late, fill if reads_before or reads_behind else Fill.NOTHING)


def padded(rows: Rows) -> Window:
    """Return the window of one row that puts the rows of zeros where ``rows`` says that they belong."""
    return Window(left=rows.left, right=rows.right)


def delayed(rows: Rows, delay: int, feed: Feed) -> tuple[Rows, Feed]:
    """Return ``rows``, fed by ``feed``, when they leave at ``delay``, which is not before their own."""
    late = (delay - rows.delay) // rows.stride
    return replace(rows, delay=delay), Feed(feed.past + late, feed.cut + late, feed.fill)


def left_padding(reach: int, stride: int) -> int | None:
    """Return how many rows SAME puts before the first, None if that depends on how many rows there are.

    Of ``n`` rows, the last stride holds r = 1, ..., stride; SAME adds max(0, reach - r), the smaller half before.
    """
    lefts = {max(0, reach - rest) // 2 for rest in range(1, stride + 1)}
    return lefts.pop() if len(lefts) == 1 else None
