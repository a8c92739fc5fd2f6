"""Layers that raise the rate of time, on chunks: no size of a result is computed while the model runs."""

from __future__ import annotations

import math

import numpy as np

from converter.analysis.streaming.facts import Feed, Plan
from converter.analysis.streaming.upsampling import Phases, phases, repeats
from converter.emission.streaming.rewriter import Rewriter, layer_of
from converter.errors import InvalidProgramError
from converter.ir import Array, Shape, TfliteOp, Value, attributes, dims
from converter.ir.operands import TransposeConvOperand


def transposed(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """A convolution whose channels are the rows and columns of a block, which then move to their places.

    W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
    """
    place, emitter = TransposeConvOperand.INPUT, rewriter.emitter
    time = rewriter.rows(op.operand(place)).axis
    x = rewriter.read(op.operand(place), plan.feeds.get(place, Feed()), layer_of(op.name))
    sides = {axis: _phases(rewriter, op, axis) for axis in (1, 2)}
    pairs = np.zeros((4, 2), np.int32)
    for axis, side in sides.items():
        if axis != time:
            pairs[axis] = side.reach - 1, side.behind
    made = _blocks(rewriter, op, emitter.pad(x, pairs), sides)
    made = _spread(rewriter, made, sides[1].stride, sides[2].stride)
    for axis, side in sides.items():
        size = (rewriter.sizes.shape(op.results[0]) or ())[axis]
        if axis != time and isinstance(size, int) and size != dims(made)[axis]:
            made = rewriter.past.part(made, axis, side.cut, side.cut + size)
    rewriter.alias(op.results[0], made)


def _phases(rewriter: Rewriter, op: TfliteOp, axis: int) -> Phases:
    x, result = (rewriter.sizes.shape(value) for value in (op.operand(TransposeConvOperand.INPUT), op.results[0]))
    found = None
    if x is not None and result is not None:
        found = phases(op, axis, (x[axis], result[axis]), rewriter.sizes.sum_of)
    if found is None:
        raise InvalidProgramError(f"{op.name}: expected a size along axis {axis} that follows from that of x")
    return found


def _blocks(rewriter: Rewriter, op: TfliteOp, x: Value, sides: dict[int, Phases]) -> Value:
    """Return a block for each window of ``x``: all its rows and columns are channels."""
    emitter, size = rewriter.emitter, math.prod(side.stride for side in sides.values())
    filters = _filters(_weights(op, TransposeConvOperand.FILTERS), sides[1], sides[2])
    bias = np.zeros(len(filters) // size, np.float32)
    if len(op.operands) > TransposeConvOperand.BIAS and op.operands[TransposeConvOperand.BIAS] is not None:
        bias = _weights(op, TransposeConvOperand.BIAS)
    shape = list(dims(x))
    for axis, side in sides.items():
        known = shape[axis]
        shape[axis] = None if known is None else known - side.reach + 1
    shape[3] = len(filters)
    operands = [x, emitter.weights("filters", filters), emitter.weights("bias", np.tile(bias, size))]
    plain = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    options = {**plain, **attributes.activation(attributes.fused_activation(op))}
    return emitter.op("CONV_2D", operands, emitter.value("blocks", x, tuple(shape)), options)


def _weights(op: TfliteOp, place: TransposeConvOperand) -> Array:
    data = op.operand(place).data
    if data is None:
        raise InvalidProgramError(f"{op.name}: expected constant weights")
    return data


def _filters(filters: Array, height: Phases, width: Phases) -> Array:
    """Return the filters [rows * columns * channels, height, width, input channels] that make blocks.

    Row j of block b is the sum over all r of ``x[b - r] w[u r + j]``.
    """
    channels, *spans, depth = filters.shape
    sizes = [(side.reach, side.stride) for side in (height, width)]
    missing = [reach * stride - span for (reach, stride), span in zip(sizes, spans, strict=True)]
    padded = np.pad(filters, [(0, 0), *((0, more) for more in missing), (0, 0)])
    parts = padded.reshape(channels, *sizes[0], *sizes[1], depth)[:, ::-1, :, ::-1]
    blocks: Array = parts.transpose(2, 4, 0, 1, 3, 5)
    return blocks.reshape(-1, height.reach, width.reach, depth)


def _spread(rewriter: Rewriter, blocks: Value, rows: int, columns: int) -> Value:
    """Return ``blocks`` [batch, height, width, channels] with the rows and columns among the channels in place."""
    emitter = rewriter.emitter
    batch, height, width, channels = dims(blocks)
    if channels is None:
        raise InvalidProgramError(f"{blocks.name}: expected a known number of channels, got {dims(blocks)}")
    depth = channels // (rows * columns)
    if rows == 1 or (columns == 1 and width == 1):
        return _reshaped(rewriter, blocks, (batch, _times(height, rows), _times(width, columns), depth))
    apart = _reshaped(rewriter, blocks, (batch, height, width, rows, columns * depth))
    moved = emitter.value("rows", apart, (batch, height, rows, width, columns * depth))
    emitter.op("TRANSPOSE", [apart, emitter.integers(0, 1, 3, 2, 4)], moved)
    return _reshaped(rewriter, moved, (batch, _times(height, rows), _times(width, columns), depth))


def repeat(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """Rows and columns beside each other along a new axis, which then joins that of the image."""
    emitter, x = rewriter.emitter, rewriter.x(op, plan)
    counts = repeats(rewriter.sizes.shape(op.operand(0)) or (), rewriter.sizes.shape(op.results[0]) or ())
    batch, height, width, channels = dims(x)
    if counts is None or channels is None:
        raise InvalidProgramError(f"{op.name}: expected sizes that are multiples of those of x")
    rows, columns = counts
    # Not by a CONCATENATION of x with itself: behind it, XNNPACK gives states of the invoke before in some runs.
    if columns > 1:
        x = emitter.pack([x] * columns, "columns", axis=3)
        width = _times(width, columns)
        x = _reshaped(rewriter, x, (batch, height, width, channels))
    if rows > 1:
        x = _reshaped(rewriter, x, (batch, height, _times(width, channels)))
        x = emitter.pack([x] * rows, "rows", axis=2)
        x = _reshaped(rewriter, x, (batch, _times(height, rows), width, channels))
    rewriter.alias(op.results[0], x)


def _times(size: int | None, count: int) -> int | None:
    return None if size is None else size * count


def _reshaped(rewriter: Rewriter, x: Value, shape: Shape) -> Value:
    emitter = rewriter.emitter
    if shape == dims(x):
        return x
    sizes = emitter.integers(*(-1 if size is None else size for size in shape))
    return emitter.op("RESHAPE", [x, sizes], emitter.value("spread", x, shape))
