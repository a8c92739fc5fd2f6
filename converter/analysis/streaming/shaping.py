"""Streaming rules of ops that move axes or take parts of them."""

from __future__ import annotations

import math
from dataclasses import replace

from converter.analysis.streaming.facts import (
    KEEP,
    Action,
    Feed,
    Plan,
    Rows,
    Running,
    UnstreamableError,
    needs_the_whole,
    not_supported,
)
from converter.analysis.streaming.view import Outcome, View, complete, settled
from converter.analysis.streaming.windows import Window, through
from converter.ir import StridedSlice, attributes, integers
from converter.ir.dimensions import SymbolicShape
from converter.rules import Rule


def transpose(view: View) -> Outcome:
    """The axis of time moves."""
    rows = view.only()
    order = [axis % len(view.shape(0)) for axis in view.numbers(1)]
    return [replace(rows, axis=order.index(rows.axis))], KEEP


# --- reshapes ----------------------------------------------------------------------------------------------------


def reshape(view: View) -> Outcome:
    """RESHAPE, EXPAND_DIMS, SQUEEZE, BROADCAST_TO: find time again, alone or joined with other axes.

    BROADCAST_TO keeps its axes, and gets new ones in front.
    """
    rows = view.only(1)
    shape, made = view.shape(0), view.result_shape()
    if view.op.builtin == "BROADCAST_TO":
        axis = rows.axis + len(made) - len(shape)
        if shape[rows.axis] == 1:
            raise not_supported("BROADCAST_TO repeats a step")
        ready, feed = settled(rows, ends=view.ends)
        return [replace(ready, axis=axis)], Plan(Action.RESIZE, {0: feed})
    same = _moved(view, rows) if shape[rows.axis] == 1 else _same_place(rows, shape, made)
    if same is not None:
        return [replace(rows, axis=same)], Plan(Action.RESIZE)
    ready, feed = settled(rows, ends=view.ends)
    before = _known(shape[: rows.axis]) * ready.before
    after = _known(shape[rows.axis + 1 :]) * ready.after
    around = [(_maybe_known(made[:axis]), _maybe_known(made[axis + 1 :])) for axis in range(len(made))]
    for axis, (outer, inner) in enumerate(around):
        if outer and inner and before % outer == 0 and after % inner == 0:
            found = replace(ready, axis=axis, before=before // outer, after=after // inner)
            if _holds(made[axis], shape[rows.axis], ready, found):
                return [found], Plan(Action.RESIZE, {0: feed})
    ready = ready.separated()
    after = _known(shape[rows.axis + 1 :]) * ready.after
    for axis, (outer, inner) in enumerate(around):
        if before != outer or not inner or inner % after or not ready.is_alone:
            continue
        if _holds(made[axis], shape[rows.axis], ready, ready, count=inner // after):
            return _stacked(view, replace(ready, axis=axis), inner // after, feed)
    raise not_supported(f"{view.op.kind} from {_text(shape)} to {_text(made)} takes the sequence apart")


def _moved(view: View, rows: Rows) -> int:
    """Return where an axis of size one is, which only the op itself can tell from others."""
    rank, made = len(view.shape(0)), len(view.result_shape())
    if view.op.builtin == "EXPAND_DIMS":
        return rows.axis + (view.numbers(1)[0] % made <= rows.axis)
    dropped = attributes.squeezed_axes(view.op) if view.op.builtin == "SQUEEZE" else ()
    if not dropped or rows.axis in {axis % rank for axis in dropped}:
        raise not_supported(f"{view.op.kind} of a chunk of one step, which other axes of size one look like")
    return rows.axis - sum(axis % rank < rows.axis for axis in dropped)


def _stacked(view: View, rows: Rows, count: int, feed: Feed) -> Outcome:
    """``count`` consecutive rows become one."""
    if not feed.is_plain:
        raise not_supported(f"{view.op.kind} joins steps of a sequence that was padded before")
    if rows.surplus % count and not view.ends:
        raise UnstreamableError(
            Rule.STREAMING_LOOKAHEAD,
            f"it joins {count} rows, of which whole chunks leave some over",
            "add a way to end a sequence anywhere: lookahead='delay' (--lookahead delay)",
        )
    made, window = through(rows, Window(count, count))
    whole = Feed(window.past, window.past, window.fill)  # unlike a window, a RESHAPE leaves no row over
    return [made], Plan(Action.RESIZE, {0: whole})


def _same_place(rows: Rows, shape: SymbolicShape, made: SymbolicShape) -> int | None:
    """Return where the axis of time is if only axes of size one appear or disappear, None otherwise."""
    if [size for size in shape if size != 1] != [size for size in made if size != 1] or shape[rows.axis] == 1:
        return None
    place = sum(size != 1 for size in shape[: rows.axis])
    return [axis for axis, size in enumerate(made) if size != 1][place]


def _holds(size: object, time: object, rows: Rows, found: Rows, *, count: int = 1) -> bool:
    """Return whether an axis of ``size`` may be the rows of one of size ``time``, joined as in ``found``."""
    if isinstance(size, int) and isinstance(time, int):
        return size * count * rows.before * rows.after == found.before * time * found.after
    return isinstance(size, int) == isinstance(time, int)


def _known(sizes: SymbolicShape) -> int:
    product = _maybe_known(sizes)
    if product is None:
        raise not_supported("a RESHAPE of a value with two unknown sizes; fix the batch")
    return product


def _maybe_known(sizes: SymbolicShape) -> int | None:
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None


def _text(shape: SymbolicShape) -> str:
    return str([size if isinstance(size, int) else None for size in shape]).replace("None", "?")


# --- parts -------------------------------------------------------------------------------------------------------


def strided_slice(view: View) -> Outcome:
    """x[:, a:-b:q] moves and thins out rows; x[:, -1] is the last row so far."""
    rows = view.only(1, 2)
    part = StridedSlice.of(view.op)
    entries = integers(part.strides)
    if not part.is_plain or entries is None:
        raise not_supported("STRIDED_SLICE with new axes, an ellipsis or computed strides")
    gone = sum(part.drops(axis) for axis in range(rows.axis))
    moved = replace(rows, axis=rows.axis - gone)
    if rows.axis >= len(entries) or (part.is_whole(rows.axis) and entries[rows.axis] == 1):
        ready, feed = settled(moved, ends=view.ends)
        return [ready], Plan(Action.KEEP, {0: feed})
    length = view.shape(0)[rows.axis]
    begin, end = (
        0 if is_open else _bound(view, place, rows.axis)
        for place, is_open in (
            (1, part.has_open_begin(rows.axis)),
            (2, part.has_open_end(rows.axis) or part.drops(rows.axis)),
        )
    )
    if part.drops(rows.axis):
        return _last(view, rows, begin)
    return _part(view, moved, begin, 0 if end == length else end, entries[rows.axis], length)


def _bound(view: View, place: int, axis: int) -> int:
    bounds = view.numbers_of(view.op.operand(place))
    bound = None if bounds is None else bounds[axis]
    if bound == view.shape(0)[axis]:
        return 0
    if not isinstance(bound, int):
        raise not_supported(f"{view.op.kind} takes a part of the sequence that is computed while the model runs")
    return bound


def slice_(view: View) -> Outcome:
    """SLICE: begins and sizes, -1 for the rest."""
    rows = view.only(1, 2)
    begins, sizes = view.numbers_of(view.op.operand(1)), view.numbers_of(view.op.operand(2))
    length = view.shape(0)[rows.axis]
    begin = None if begins is None else begins[rows.axis]
    size = None if sizes is None else sizes[rows.axis]
    if begin == 0 and size in {-1, length}:
        ready, feed = settled(rows, ends=view.ends)
        return [ready], Plan(Action.RESIZE, {0: feed})
    if not isinstance(begin, int) or not isinstance(size, int):
        raise not_supported("SLICE takes a part of the sequence that is computed while the model runs")
    if size != -1 and not isinstance(length, int):
        raise needs_the_whole(f"SLICE takes {size} steps from step {begin} of the sequence")
    last = 0 if size == -1 or not isinstance(length, int) else begin + size - length
    return _part(view, rows, begin, last, 1, length)


def _last(view: View, rows: Rows, place: int) -> Outcome:
    length = view.shape(0)[rows.axis]
    if place != -1 and (not isinstance(length, int) or place != length - 1):
        raise needs_the_whole(f"STRIDED_SLICE takes step {place} of the sequence")
    ready, feed = complete(view.alone(rows), ends=view.ends)
    varies = ready.delay > 0 or view.ends
    return [Running.of([ready])], Plan(Action.LATEST if varies else Action.LAST, {0: feed}, ready)


def _part(view: View, rows: Rows, first: int, last: int, stride: int, length: object) -> Outcome:
    if isinstance(length, int) and last > 0:
        last -= length
    if first < 0 or last > 0:
        raise needs_the_whole("STRIDED_SLICE takes steps that are counted from the other end of the sequence")
    if stride < 1:
        raise needs_the_whole("STRIDED_SLICE reverses the sequence")
    rows = view.alone(rows)
    window = Window(1, stride, rows.left - first, rows.right + last)
    made, feed = through(rows, window, ends=view.ends)
    return [made], Plan(Action.PART, {0: feed})
