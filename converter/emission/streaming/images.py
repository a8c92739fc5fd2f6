"""Convolutions and pools on chunks: what SAME would put before the sequence is in the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.streaming.facts import Feed, Plan
from converter.emission.streaming.past import along
from converter.emission.streaming.rewriter import Rewriter, layer_of
from converter.errors import InvalidProgramError
from converter.ir import TfliteOp, Value, attributes, dims
from converter.ir.attributes import Windows


def valid(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """The op without padding along time, over rows of the past and the chunk."""
    rows, x = rewriter.rows(op.operand(0)), rewriter.x(op, plan)
    if Windows.of(op).is_padded:
        x = _padded(rewriter, x, op, 3 - rows.axis)
    rewriter.emit(replace(attributes.without_padding(op), operands=(x, *op.operands[1:])))


def _padded(rewriter: Rewriter, x: Value, op: TfliteOp, axis: int) -> Value:
    """Return ``x`` with the zeros that SAME puts along another axis than time."""
    windows, place, shape = Windows.of(op), axis - 1, dims(x)
    span = dims(op.operand(1))[axis] if len(op.operands) > 1 else windows.sizes[place]
    size = shape[axis]
    if size is None or span is None:
        raise InvalidProgramError(f"{op.name}: expected a known size along axis {axis}, got {shape}")
    stride, reach = windows.strides[place], (span - 1) * windows.dilations[place] + 1
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    pairs = np.zeros((4, 2), np.int32)
    pairs[axis] = total // 2, total - total // 2
    return rewriter.emitter.pad(x, pairs)


def average(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """The average with zeros outside of the sequence, divided by the share of the window that is inside."""
    rows, feed = rewriter.rows(op.operand(0)), plan.feeds.get(0, Feed())
    emitter, past = rewriter.emitter, rewriter.past
    x = rewriter.read(op.operand(0), replace(feed, cut=0), layer_of(op.name))
    inside = past.is_inside(x, rows, first=-feed.past)
    ones = past.ones(x, rows.axis)
    share = emitter.select(inside, ones, emitter.number(0.0), "inside")
    if feed.cut:
        x, share = (past.part(value, rows.axis, None, -feed.cut) for value in (x, share))
    result = rewriter.result(op.results[0])
    mean = emitter.value("mean", result, dims(result))
    emitter.ops.append(replace(attributes.without_padding(op), operands=(x,), results=(mean,)))
    shares = _shares(rewriter, op, share, rows.axis, dims(result)[rows.axis])
    # Not by a MAXIMUM: XNNPACK in tf.lite 2.19 cannot resize one of these shapes.
    some = emitter.less(emitter.number(0.0), shares, "has_rows")
    divisor = emitter.select(some, shares, emitter.number(1.0), emitter.value("divisor", shares, dims(shares)))
    emitter.binary("DIV", mean, divisor, result)


def _shares(rewriter: Rewriter, op: TfliteOp, inside: Value, axis: int, count: int | None) -> Value:
    """Return the share of each window that is ``inside``."""
    emitter, windows, place = rewriter.emitter, Windows.of(op), axis - 1
    span = windows.sizes[place]
    kernel = emitter.weights("kernel", np.full(along(4, axis, span, 1), 1 / span, np.float32))
    shape = tuple(count if at == axis else 1 for at in range(4))
    strides = {f"stride{side}": windows.strides[at] if at == place else 1 for at, side in enumerate("HW")}
    options = {"padding": 1, **strides, "dilationHFactor": 1, "dilationWFactor": 1}
    return emitter.op(
        "CONV_2D",
        [inside, kernel, emitter.weights("none", np.zeros(1, np.float32))],
        emitter.value("share", inside, shape),
        options,
    )
