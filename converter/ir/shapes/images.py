"""Shape rules of ops over the axes of images and volumes: [batch, height, width, channels] and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from converter.ir.attributes import Windows, block_size
from converter.ir.dimensions import Dimension, SymbolicShape, divide, multiply
from converter.ir.program import TfliteOp
from converter.ir.shapes.known import Known, Rule, UnknownShapeError, integers_of, numbers_of, shape_of


def window_count(
    size: Dimension | None, window: int, stride: int, dilation: int, *, is_padded: bool
) -> Dimension | None:
    """Return how many results a window of ``window`` elements gives over an axis of ``size``, None if unknown."""
    if stride <= 0:
        raise UnknownShapeError
    reach = (window - 1) * dilation + 1
    if not isinstance(size, int):
        return size if stride == 1 and (is_padded or reach == 1) else None
    return (size + stride - 1) // stride if is_padded else max((size + stride - reach) // stride, 0)


def _counts(
    windows: Windows, sizes: SymbolicShape, spans: Sequence[Dimension | None]
) -> tuple[Dimension | None, ...]:
    """Return how many results there are along each axis, for windows that span ``spans`` elements of it."""
    return tuple(
        window_count(size, span, stride, dilation, is_padded=windows.is_padded) if isinstance(span, int) else None
        for size, span, stride, dilation in zip(sizes, spans, windows.strides, windows.dilations, strict=True)
    )


def _conv_2d(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Filters are [channels, height, width, input channels]."""
    batch, height, width, _ = _of_rank(4, given[0])
    channels, *window, _ = _of_rank(4, given[1])
    return [(batch, *_counts(Windows.of(op), (height, width), window), channels)]


def _depthwise_conv_2d(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Filters are [1, height, width, channels]."""
    batch, height, width, _ = _of_rank(4, given[0])
    _, *window, channels = _of_rank(4, given[1])
    return [(batch, *_counts(Windows.of(op), (height, width), window), channels)]


def _conv_3d(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Filters are [depth, height, width, input channels, channels]."""
    batch, depth, height, width, _ = _of_rank(5, given[0])
    *window, _, channels = _of_rank(5, given[1])
    return [(batch, *_counts(Windows.of(op, axes="DHW"), (depth, height, width), window), channels)]


def _pool_2d(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    batch, height, width, channels = _of_rank(4, given[0])
    windows = Windows.of(op)
    return [(batch, *_counts(windows, (height, width), windows.sizes), channels)]


def _resize(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    image = _of_rank(4, given[0])
    height, width = numbers_of(given[1])
    return [(image[0], height, width, image[3])]


def _space_to_depth(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    batch, height, width, channels = _of_rank(4, given[0])
    block = block_size(op)
    return [(batch, divide(height, block), divide(width, block), multiply([channels, block, block]))]


def _depth_to_space(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    batch, height, width, channels = _of_rank(4, given[0])
    block = block_size(op)
    return [(batch, multiply([height, block]), multiply([width, block]), divide(channels, block * block))]


def _space_to_batch(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """The block of each axis after the first moves into the batch; paddings are [axes, 2]."""
    batch, *sizes = shape_of(given[0])
    blocks, paddings = integers_of(given[1]), integers_of(given[2])
    inner = [
        divide(_grown(size, paddings[2 * place] + paddings[2 * place + 1]), block)
        for place, (size, block) in enumerate(zip(sizes, blocks, strict=False))
    ]
    return [(multiply([batch, *blocks]), *inner, *sizes[len(blocks) :])]


def _batch_to_space(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """The reverse of SPACE_TO_BATCH_ND; crops are [axes, 2]."""
    batch, *sizes = shape_of(given[0])
    blocks, crops = integers_of(given[1]), integers_of(given[2])
    inner = [
        _grown(multiply([size, block]), -crops[2 * place] - crops[2 * place + 1])
        for place, (size, block) in enumerate(zip(sizes, blocks, strict=False))
    ]
    return [(divide(batch, multiply(blocks)), *inner, *sizes[len(blocks) :])]


def _grown(size: Dimension | None, by: int) -> Dimension | None:
    return size + by if isinstance(size, int) else (size if by == 0 else None)


def _of_rank(rank: int, operand: Known) -> SymbolicShape:
    shape = shape_of(operand)
    if len(shape) != rank:
        raise UnknownShapeError
    return shape


IMAGE_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "AVERAGE_POOL_2D": _pool_2d,
        "BATCH_TO_SPACE_ND": _batch_to_space,
        "CONV_2D": _conv_2d,
        "CONV_3D": _conv_3d,
        "CONV_3D_TRANSPOSE": lambda _, given: [numbers_of(given[0])],
        "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
        "DEPTH_TO_SPACE": _depth_to_space,
        "L2_POOL_2D": _pool_2d,
        "MAX_POOL_2D": _pool_2d,
        "RESIZE_BILINEAR": _resize,
        "RESIZE_NEAREST_NEIGHBOR": _resize,
        "SPACE_TO_BATCH_ND": _space_to_batch,
        "SPACE_TO_DEPTH": _space_to_depth,
        "TRANSPOSE_CONV": lambda _, given: [numbers_of(given[0])],
    }
)
