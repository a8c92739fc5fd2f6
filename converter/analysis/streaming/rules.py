"""The streaming rule of each builtin: what it makes of rows, and what it needs of the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from converter.analysis.streaming.facts import (
    MEASURE,
    Action,
    Fill,
    Other,
    Plan,
    Rows,
    Running,
    needs_the_whole,
    not_supported,
)
from converter.analysis.streaming.images import average_pool, convolution, depthwise_convolution, max_pool
from converter.analysis.streaming.shaping import reshape, slice_, strided_slice, transpose
from converter.analysis.streaming.upsampling import nearest, transposed_convolution
from converter.analysis.streaming.view import Outcome, View, complete, joined, settled
from converter.ir import DType, FullyConnected, Trait, attributes, has

Rule = Callable[[View], Outcome]


def outcome(view: View) -> Outcome:
    """Return what becomes of an op with rows among its operands. Raises UnstreamableError."""
    rule = RULES.get(view.op.builtin)
    if rule is None and has(view.op, Trait.ELEMENTWISE):
        rule = pointwise
    if rule is None and has(view.op, Trait.REDUCES):
        rule = reduction
    if rule is None:
        raise not_supported(f"{view.op.kind} along the sequence is not known")
    return rule(view)


def pointwise(view: View) -> Outcome:
    """Element by element, with broadcasting."""
    rank = len(view.result_shape())
    ranks = [0 if value is None else len(view.shape(place)) for place, value in enumerate(view.op.operands)]
    axes = [
        None if (rows := view.rows(place)) is None else rows.axis + rank - ranks[place]
        for place in range(len(view.facts))
    ]
    time = next(axis for axis in axes if axis is not None)

    def size_at(place: int) -> object:
        axis = time - rank + ranks[place]
        return 1 if axis < 0 else view.shape(place)[axis]

    return joined(view, axes, size_at)


def concatenation(view: View) -> Outcome:
    """Along any axis but time."""
    rank = len(view.result_shape())
    if any(rows.axis == attributes.axis(view.op) % rank for rows in _all_rows(view)):
        raise not_supported("CONCATENATION joins sequences one behind the other")
    axes = [None if (rows := view.rows(place)) is None else rows.axis for place in range(len(view.facts))]
    time = next(axis for axis in axes if axis is not None)
    return joined(view, axes, lambda place: view.shape(place)[time])


def pack(view: View) -> Outcome:
    """Along a new axis."""
    place_of = attributes.axis(view.op) % len(view.result_shape())

    def shifted(axis: int) -> int:
        return axis + (axis >= place_of)

    axes = [None if (rows := view.rows(place)) is None else shifted(rows.axis) for place in range(len(view.facts))]
    time = next(rows.axis for rows in _all_rows(view))
    return joined(view, axes, lambda place: view.shape(place)[time])


def _all_rows(view: View) -> list[Rows]:
    return [fact for fact in view.facts if isinstance(fact, Rows)]


# --- ops along axes ----------------------------------------------------------------------------------------------


def last_axis(view: View) -> Outcome:
    """Along the last axis, which the result has, too."""
    rows = view.only()
    if rows.axis == len(view.shape(0)) - 1:
        raise needs_the_whole(f"{view.op.kind} runs along the sequence")
    return _kept(view, rows)


def listed_axes(view: View) -> Outcome:
    """Along the axes that operand 1 lists, which the result has, too."""
    rows, rank = view.only(), len(view.shape(0))
    if any(axis % rank == rows.axis for axis in view.numbers(1)):
        raise needs_the_whole(f"{view.op.kind} runs along the sequence")
    return _kept(view, rows)


def selection(view: View) -> Outcome:
    """ARG_MAX and the like: operand 1 is the axis that the result lacks."""
    rows, rank = view.only(), len(view.shape(0))
    (axis,) = view.numbers(1)
    if axis % rank == rows.axis:
        raise needs_the_whole(f"{view.op.kind} compares all steps of the sequence")
    return _kept(view, rows, axis=rows.axis - (axis % rank < rows.axis))


def reduction(view: View) -> Outcome:
    """A reduction over other axes keeps the rows; one over time is of all steps so far."""
    rows, rank = view.only(), len(view.shape(0))
    axes = {axis % rank for axis in view.numbers(1)}
    if rows.axis not in axes:
        gone = 0 if attributes.keeps_dims(view.op) else sum(axis < rows.axis for axis in axes)
        return _kept(view, rows, axis=rows.axis - gone)
    rows = view.alone(rows)
    if view.op.builtin not in REDUCTIONS or view.op.results[0].type.dtype is not DType.FLOAT32:
        raise not_supported(f"{view.op.kind} over the sequence")
    ready, feed = complete(rows, ends=view.ends)
    fill = REDUCTIONS[view.op.builtin] if ready.delay or view.ends else feed.fill
    if fill not in {Fill.ZERO, Fill.NOTHING} and (rows.left or rows.right):
        raise not_supported(f"{view.op.kind} over a sequence that was padded before")
    return [Running.of([ready])], Plan(Action.REDUCE, {0: replace(feed, fill=fill)}, ready)


REDUCTIONS: Mapping[str, Fill] = MappingProxyType(
    {"MEAN": Fill.ZERO, "REDUCE_MAX": Fill.LOWEST, "REDUCE_MIN": Fill.HIGHEST, "SUM": Fill.ZERO}
)
"""The reductions over time that can go on, and what does not change their result."""


def cumulated(view: View) -> Outcome:
    """CUMSUM along the sequence goes on from the sum so far."""
    rows, rank = view.only(), len(view.shape(0))
    if view.numbers(1)[0] % rank != rows.axis:
        return _kept(view, rows)
    if attributes.is_reverse(view.op):
        raise needs_the_whole("CUMSUM runs from the end of the sequence")
    ready, feed = settled(view.alone(rows), ends=view.ends)
    fill = Fill.ZERO if ready.delay or view.ends else feed.fill
    return [ready], Plan(Action.CUMULATE, {0: replace(feed, fill=fill)})


def _kept(view: View, rows: Rows, *, axis: int | None = None) -> Outcome:
    ready, feed = settled(rows, ends=view.ends)
    moved = ready if axis is None else replace(ready, axis=axis)
    return view.every(moved, Plan(Action.KEEP, {0: feed}))


# --- matrices ----------------------------------------------------------------------------------------------------


def dense(view: View) -> Outcome:
    """FULLY_CONNECTED: rows of the last axis; without its axes, x is a matrix."""
    rows, shape = view.only(), view.shape(0)
    if rows.axis == len(shape) - 1:
        raise needs_the_whole("a dense layer reads all steps of the sequence at once")
    if FullyConnected.of(view.op).keeps_axes or len(shape) == 2:
        return _kept(view, rows)
    if shape[-1] != view.shape(1)[-1]:
        raise not_supported("FULLY_CONNECTED cuts its operand into rows of another size than its last axis")
    before, after = _product(shape[: rows.axis]), _product(shape[rows.axis + 1 : -1])
    return _kept(view, replace(rows, before=rows.before * before, after=rows.after * after), axis=0)


def _product(sizes: tuple[object, ...]) -> int:
    product = 1
    for size in sizes:
        if not isinstance(size, int):
            raise not_supported("the batch is unknown; fix it with input_shapes (--input-shapes)")
        product *= size
    return product


def batch_matmul(view: View) -> Outcome:
    """x y over the last two axes; time must be one of the others, or a row of x or column of y."""
    rank = len(view.result_shape())
    flips = attributes.adjoints(view.op)
    axes: list[int | None] = []
    for place, flipped in enumerate(flips):
        rows = view.rows(place)
        if rows is None:
            axes.append(None)
            continue
        own = len(view.shape(place))
        axis = rows.axis + rank - own
        if rows.axis >= own - 2:
            is_row = (rows.axis == own - 2) != flipped
            if is_row != (place == 0) or any(view.facts[1 - place : 2 - place]):
                raise needs_the_whole("BATCH_MATMUL combines steps of the sequence, as attention does")
            axis = rank - 2 if place == 0 else rank - 1
        axes.append(axis)
    time = next(axis for axis in axes if axis is not None)

    def size_at(place: int) -> object:
        axis = time - rank + len(view.shape(place))
        return 1 if axis < 0 or time >= rank - 2 else view.shape(place)[axis]

    return joined(view, axes, size_at)


# --- tables ------------------------------------------------------------------------------------------------------


def gather(view: View) -> Outcome:
    """Rows of a constant table, or constant places of another axis than time."""
    if attributes.has_batch_axes(view.op):
        raise not_supported("GATHER with separate indices for each entry of leading axes")
    rank = len(view.shape(0))
    axis = attributes.axis(view.op) % rank
    indices = view.rows(1)
    if indices is not None and view.facts[0] is None:
        ready, feed = settled(indices, ends=view.ends)
        return [replace(ready, axis=axis + ready.axis)], Plan(Action.KEEP, {1: feed})
    rows = view.only()
    if rows.axis == axis:
        raise not_supported("GATHER picks steps of the sequence")
    moved = rows.axis if rows.axis < axis else rows.axis + len(view.shape(1)) - 1
    return _kept(view, rows, axis=moved)


def lookup(view: View) -> Outcome:
    """EMBEDDING_LOOKUP of ids in a constant table."""
    rows = view.only()
    return _kept(view, rows)


def one_hot(view: View) -> Outcome:
    """A new axis for the classes."""
    rows, rank = view.only(), len(view.result_shape())
    place = attributes.axis(view.op) % rank
    return _kept(view, rows, axis=rows.axis + (place <= rows.axis))


def split(view: View) -> Outcome:
    """SPLIT: operand 0 is the axis, operand 1 is split."""
    rows = view.rows(1)
    if rows is None or view.facts[0] is not None:
        raise not_supported("SPLIT along a computed axis")
    if view.numbers(0)[0] % len(view.shape(1)) == rows.axis:
        raise not_supported("SPLIT cuts the sequence into parts")
    ready, feed = settled(rows, ends=view.ends)
    return view.every(ready, Plan(Action.KEEP, {1: feed}))


def split_v(view: View) -> Outcome:
    """SPLIT_V: operand 2 is the axis."""
    rows = view.only()
    if view.numbers(2)[0] % len(view.shape(0)) == rows.axis:
        raise not_supported("SPLIT_V cuts the sequence into parts")
    return _kept(view, rows)


def unpack(view: View) -> Outcome:
    """UNPACK along another axis."""
    rows = view.only()
    axis = attributes.axis(view.op) % len(view.shape(0))
    if axis == rows.axis:
        raise not_supported("UNPACK takes the sequence apart")
    return _kept(view, rows, axis=rows.axis - (axis < rows.axis))


def tile(view: View) -> Outcome:
    """Repeats of other axes."""
    rows = view.only(1)
    shape, made = view.shape(0), view.result_shape()
    numbers = view.numbers_of(view.op.operand(1))
    if numbers is None or len(numbers) <= rows.axis or numbers[rows.axis] != 1 or len(shape) != len(made):
        raise not_supported("TILE repeats the sequence")
    return _kept(view, rows)


def transform(view: View) -> Outcome:
    """RFFT2D over the last two axes."""
    rows = view.only()
    if rows.axis >= len(view.shape(0)) - 2:
        raise needs_the_whole("RFFT2D runs along the sequence")
    return _kept(view, rows)


def sizes(_: View) -> Outcome:
    """SHAPE and RANK: not content."""
    return [Other.SIZES], MEASURE


# --- padding -----------------------------------------------------------------------------------------------------


def pad(view: View) -> Outcome:
    """PAD: rows of zeros wait for the window that reads them."""
    rows, rank = view.only(), len(view.shape(0))
    numbers = view.numbers(1)
    pairs = [(numbers[2 * axis], numbers[2 * axis + 1]) for axis in range(rank)]
    before, behind = pairs[rows.axis]
    if not (before or behind):
        return _kept(view, rows)
    if view.op.builtin != "PAD":
        raise not_supported(f"{view.op.kind} pads the sequence with something else than zeros")
    rows = view.alone(rows)
    others = any(pair != (0, 0) for axis, pair in enumerate(pairs) if axis != rows.axis)
    wider = replace(rows, left=rows.left + before, right=rows.right + behind)
    return [wider], Plan(Action.PAD if others else Action.ALIAS)


def upstream_only(view: View) -> Outcome:
    """Ops that run over the whole sequence by their nature."""
    raise needs_the_whole(f"{view.op.kind} runs over the whole sequence")


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "ADD_N": pointwise,
        "ARG_MAX": selection,
        "ARG_MIN": selection,
        "ATAN2": pointwise,
        "AVERAGE_POOL_2D": average_pool,
        "BATCH_MATMUL": batch_matmul,
        "BITWISE_XOR": pointwise,
        "BROADCAST_TO": reshape,
        "BUCKETIZE": pointwise,
        "COMPLEX_ABS": pointwise,
        "CONCATENATION": concatenation,
        "CONV_2D": convolution,
        "CUMSUM": cumulated,
        "DEPTHWISE_CONV_2D": depthwise_convolution,
        "DEQUANTIZE": pointwise,
        "EMBEDDING_LOOKUP": lookup,
        "EXPAND_DIMS": reshape,
        "FAKE_QUANT": pointwise,
        "FULLY_CONNECTED": dense,
        "GATHER": gather,
        "IMAG": pointwise,
        "L2_NORMALIZATION": last_axis,
        "LOCAL_RESPONSE_NORMALIZATION": last_axis,
        "LOG_SOFTMAX": last_axis,
        "MAX_POOL_2D": max_pool,
        "MIRROR_PAD": pad,
        "ONE_HOT": one_hot,
        "PACK": pack,
        "PAD": pad,
        "PADV2": pad,
        "PRELU": pointwise,
        "QUANTIZE": pointwise,
        "RANK": sizes,
        "REAL": pointwise,
        "RESHAPE": reshape,
        "RESIZE_NEAREST_NEIGHBOR": nearest,
        "REVERSE_SEQUENCE": upstream_only,
        "REVERSE_V2": listed_axes,
        "RFFT2D": transform,
        "RIGHT_SHIFT": pointwise,
        "SHAPE": sizes,
        "SLICE": slice_,
        "SOFTMAX": last_axis,
        "SPLIT": split,
        "SPLIT_V": split_v,
        "SQUEEZE": reshape,
        "STRIDED_SLICE": strided_slice,
        "TILE": tile,
        "TOPK_V2": last_axis,
        "TRANSPOSE": transpose,
        "TRANSPOSE_CONV": transposed_convolution,
        "UNPACK": unpack,
    }
)
"""The rule of each builtin but the elementwise ones and the reductions."""
