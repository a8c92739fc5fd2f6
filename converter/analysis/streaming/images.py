"""Streaming rules of convolutions and pools, with time on the axis of height or width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.analysis.streaming.facts import KEEP, Action, Fill, Plan, Rows, needs_the_whole, not_supported
from converter.analysis.streaming.view import Outcome, View, settled
from converter.analysis.streaming.windows import Window, same_padding, through
from converter.ir import TfliteOp
from converter.ir.attributes import Windows


def convolution(view: View) -> Outcome:
    """CONV_2D: filters are [channels, height, width, input channels]."""
    return _over_windows(view, view.shape(1)[1:3], Fill.ZERO)


def depthwise_convolution(view: View) -> Outcome:
    """DEPTHWISE_CONV_2D: filters are [1, height, width, channels]."""
    return _over_windows(view, view.shape(1)[1:3], Fill.ZERO)


def max_pool(view: View) -> Outcome:
    """MAX_POOL_2D: padding is never the maximum."""
    return _over_windows(view, Windows.of(view.op).sizes, Fill.LOWEST)


def average_pool(view: View) -> Outcome:
    """AVERAGE_POOL_2D: padding does not count."""
    return _over_windows(view, Windows.of(view.op).sizes, Fill.NOTHING)


def _over_windows(view: View, spans: Sequence[object], fill: Fill) -> Outcome:
    rows = view.only()
    if rows.axis == 0:
        ready, feed = settled(rows, ends=view.ends)
        return [ready], Plan(Action.KEEP, {0: feed})
    if rows.axis == 3:
        raise needs_the_whole(f"{view.op.kind} has the sequence as its channels")
    rows, window = _window(view, view.alone(rows), spans)
    if window == Window():
        return [rows], KEEP
    pools = fill is not Fill.ZERO
    if pools and _pads_other(view, rows, spans):
        raise not_supported(f"{view.op.kind} with padding 'same' along another axis than the sequence")
    if pools and (rows.left or rows.right):
        raise not_supported(f"{view.op.kind} over a sequence that was padded before")
    averages = fill is Fill.NOTHING and (window.left > 0 or (view.ends and window.right > 0))
    made, feed = through(rows, window, Fill.LOWEST if averages else fill, ends=view.ends)
    if not Windows.of(view.op).is_padded and feed.is_plain:
        return [made], KEEP
    if averages:
        feed = replace(feed, fill=Fill.ZERO)
    return [made], Plan(Action.AVERAGE if averages else Action.VALID, {0: feed})


def _window(view: View, rows: Rows, spans: Sequence[object]) -> tuple[Rows, Window]:
    """Return the window along time, and the rows that it reads."""
    windows, place = Windows.of(view.op), rows.axis - 1
    span = spans[place]
    if not isinstance(span, int):
        raise not_supported(f"{view.op.kind} with a window of unknown size")
    reach, stride = (span - 1) * windows.dilations[place] + 1, windows.strides[place]
    if not windows.is_padded:
        return rows, Window(reach, stride, rows.left, rows.right)
    if rows.left or rows.right:
        raise not_supported(f"{view.op.kind} pads a sequence that was padded before")
    return same_padding(rows, reach, stride)


def _pads_other(view: View, rows: Rows, spans: Sequence[object]) -> bool:
    """Return whether SAME puts something around the other axis, or may do so."""
    windows, place = Windows.of(view.op), 2 - rows.axis
    size, span, stride = view.shape(0)[place + 1], spans[place], windows.strides[place]
    if not windows.is_padded or span == 1:
        return False
    if not isinstance(size, int) or not isinstance(span, int):
        return True
    return (-(-size // stride) - 1) * stride + span > size


def has_windows(op: TfliteOp) -> bool:
    """Return whether an op is a convolution or pool whose windows are of more than one element."""
    if op.builtin in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        shape = op.operand(1).type.shape
        return shape is None or set(shape[1:3]) != {1}
    return op.builtin in {"AVERAGE_POOL_2D", "MAX_POOL_2D"} and set(Windows.of(op).sizes) != {1}
