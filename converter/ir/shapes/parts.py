"""Shape rules of ops that join, split and select parts of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from converter.ir import attributes
from converter.ir.attributes import StridedSlice
from converter.ir.dimensions import Dimension, SymbolicShape, divide
from converter.ir.program import TfliteOp
from converter.ir.shapes.known import (
    Known,
    Rule,
    UnknownShapeError,
    as_integer,
    axis_of,
    equal_shapes,
    integers_of,
    shape_of,
)


def _concatenated(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shapes = [shape_of(operand) for operand in given]
    joined = axis_of(attributes.axis(op), len(shapes[0]))
    others = equal_shapes([(*shape[:joined], *shape[joined + 1 :]) for shape in shapes])
    sizes = [shape[joined] for shape in shapes]
    numbers = [size for size in sizes if isinstance(size, int)]
    total = sum(numbers) if len(numbers) == len(sizes) else (sizes[0] if len(sizes) == 1 else None)
    return [(*others[:joined], total, *others[joined:])]


def _packed(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape = equal_shapes([shape_of(operand) for operand in given])
    place = axis_of(attributes.axis(op), len(shape) + 1)
    return [(*shape[:place], len(given), *shape[place:])]


def _unpacked(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape = shape_of(given[0])
    place = axis_of(attributes.axis(op), len(shape))
    return [(*shape[:place], *shape[place + 1 :])] * len(op.results)


def _split(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    (axis,), shape = integers_of(given[0]), shape_of(given[1])
    place = axis_of(axis, len(shape))
    part = divide(shape[place], len(op.results))
    return [(*shape[:place], part, *shape[place + 1 :])] * len(op.results)


def _split_v(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """One size of the parts may be -1, for the remaining elements."""
    shape, parts, (axis,) = shape_of(given[0]), integers_of(given[1]), integers_of(given[2])
    place = axis_of(axis, len(shape))
    whole, listed = shape[place], sum(part for part in parts if part >= 0)
    rest = whole - listed if isinstance(whole, int) else None
    return [(*shape[:place], rest if part < 0 else part, *shape[place + 1 :]) for part in parts]


def _sliced(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """A size of -1 reaches to the end."""
    shape = shape_of(given[0])
    begins = given[1].numbers or (None,) * len(shape)
    sizes = given[2].numbers or (None,) * len(shape)
    return [tuple(_slice_size(*axis) for axis in zip(shape, begins, sizes, strict=True))]


def _slice_size(whole: Dimension | None, begin: Dimension | None, size: Dimension | None) -> Dimension | None:
    if size != -1:
        return size
    if begin == 0:
        return whole
    return whole - begin if isinstance(whole, int) and isinstance(begin, int) else None


def _strided_slice(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Begin, end and stride are given per axis of x or new axis, and once for all that an ellipsis spans."""
    left, count = list(shape_of(given[0])), as_integer(shape_of(given[1])[0])
    if attributes.counts_from_begin(op):
        raise UnknownShapeError
    adds = [attributes.adds_axis(op, place) for place in range(count)]
    entries = StridedSlice.of(op)
    bounds = [operand.numbers or (None,) * count for operand in given[1:4]]
    result: list[Dimension | None] = []
    for place, (begin, end, stride) in enumerate(zip(*bounds, strict=True)):
        if attributes.spans_axes(op, place):
            later = sum(not adds[other] for other in range(place + 1, count))
            result += left[: len(left) - later]
            del left[: len(left) - later]
        elif adds[place]:
            result.append(1)
        else:
            size = left.pop(0)
            is_open = (entries.has_open_begin(place), entries.has_open_end(place))
            if not entries.drops(place):
                result.append(_strided_size(size, (begin, end), stride, is_open))
    return [(*result, *left)]


def _strided_size(
    size: Dimension | None,
    bounds: tuple[Dimension | None, Dimension | None],
    stride: Dimension | None,
    is_open: tuple[bool, bool],
) -> Dimension | None:
    if stride == 1 and all(is_open):
        return size
    try:
        first, last = (None if free else as_integer(bound) for bound, free in zip(bounds, is_open, strict=True))
        return len(range(*slice(first, last, as_integer(stride)).indices(as_integer(size))))
    except UnknownShapeError:
        return None


def _gathered(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, indices = shape_of(given[0]), shape_of(given[1])
    place, batch = axis_of(attributes.axis(op), len(shape)), attributes.batch_axes(op)
    shared = batch + len(indices) if batch < 0 else batch
    return [(*shape[:place], *indices[shared:], *shape[place + 1 :])]


def _gathered_at_places(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """GATHER_ND: the last axis of the indices addresses the first axes of x."""
    shape, (*places, depth) = shape_of(given[0]), shape_of(given[1])
    return [(*places, *shape[as_integer(depth) :])]


def _looked_up(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    return [(*shape_of(given[0]), *shape_of(given[1])[1:])]


PART_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "CONCATENATION": _concatenated,
        "EMBEDDING_LOOKUP": _looked_up,
        "GATHER": _gathered,
        "GATHER_ND": _gathered_at_places,
        "PACK": _packed,
        "SLICE": _sliced,
        "SPLIT": _split,
        "SPLIT_V": _split_v,
        "STRIDED_SLICE": _strided_slice,
        "UNPACK": _unpacked,
    }
)
