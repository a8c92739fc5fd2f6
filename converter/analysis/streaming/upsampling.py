"""Streaming rules of layers that raise the rate of time: transposed convolutions and resized images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from converter.analysis.streaming.facts import Action, Other, Plan, Rows, needs_the_whole, not_supported
from converter.analysis.streaming.view import Outcome, View, settled
from converter.analysis.streaming.windows import Window, through
from converter.ir import DType, TfliteOp, attributes
from converter.ir.attributes import Windows
from converter.ir.dimensions import Dimension, divide, multiply
from converter.ir.operands import TransposeConvOperand


@dataclass(frozen=True, slots=True)
class Phases:
    """A transposed convolution along one axis, as a convolution that makes blocks of ``stride`` rows.

    With L rows x[i], a kernel w and the stride u, row p of the result is the sum of ``x[i] w[p + cut - i u]`` over
    all i. Before the first ``cut`` rows are cut off, block b of u rows needs the ``reach`` rows of x up to x[b].
    The result has ``u L + more`` rows.
    """

    stride: int
    reach: int
    cut: int
    more: int

    @property
    def behind(self) -> int:
        """How many blocks begin behind the last row of x."""
        return max(0, -(-(self.cut + self.more) // self.stride))


def phases(
    op: TfliteOp,
    axis: int,
    sizes: tuple[Dimension | None, Dimension | None],
    sum_of: Callable[[Dimension], tuple[Dimension, int]],
) -> Phases | None:
    """Return the phases of a TRANSPOSE_CONV along an axis of these ``sizes`` in x and in the result.

    None if the size of the result is not a multiple of that of x and a number. The kernel of TFLite finds the cut:
    SAME cuts the smaller half of what the result lacks off the front, VALID nothing (``ComputePadding`` in
    ``kernels/padding.h`` of TensorFlow Lite).
    """
    windows, filters = Windows.of(op), op.operand(TransposeConvOperand.FILTERS).type.shape
    stride, kernel = windows.strides[axis - 1], None if filters is None else filters[axis]
    before, made = sizes
    wanted = multiply([stride, before])
    if kernel is None or stride < 1 or wanted is None or made is None:
        return None
    if isinstance(wanted, int) and isinstance(made, int):
        more = made - wanted
    else:
        (base, rest), (other, less) = sum_of(made), sum_of(wanted)
        if base != other:
            return None
        more = rest - less
    lacking = kernel - more + (-(-more // stride) - 1) * stride
    return Phases(stride, -(-kernel // stride), max(0, lacking) // 2 if windows.is_padded else 0, more)


def transposed_convolution(view: View) -> Outcome:
    """TRANSPOSE_CONV: rows in blocks, each of which needs rows of x before it."""
    rows = _input(view)
    if rows.axis == 3:
        raise needs_the_whole("TRANSPOSE_CONV has the sequence as its channels")
    along = {axis: _phases(view, axis, is_time=axis == rows.axis) for axis in (1, 2)}
    if rows.axis == 0:
        ready, feed = settled(rows, ends=view.ends)
        return [ready], Plan(Action.TRANSPOSED, {TransposeConvOperand.INPUT: feed})
    rows, time = view.alone(rows), along[rows.axis]
    window = Window(time.reach, 1, time.reach - 1 + rows.left, time.behind + rows.right)
    blocks, feed = through(rows, window, ends=view.ends)
    rest = time.behind * time.stride - time.cut - time.more
    made, _ = through(blocks.refined(time.stride), Window(left=-time.cut, right=-rest), ends=view.ends)
    return [made], Plan(Action.TRANSPOSED, {TransposeConvOperand.INPUT: feed})


def _input(view: View) -> Rows:
    """Return the rows of x, if nothing else depends on the content of the sequence, and weights are known."""
    weights = [view.op.operand(TransposeConvOperand.FILTERS), *view.op.operands[TransposeConvOperand.BIAS :]]
    if any(
        value is not None and (value.data is None or value.type.dtype is not DType.FLOAT32) for value in weights
    ):
        raise not_supported("TRANSPOSE_CONV with weights that are no constants of float32")
    rows = view.rows(TransposeConvOperand.INPUT)
    if rows is None or view.facts[TransposeConvOperand.SHAPE] not in {None, Other.SIZES}:
        raise not_supported("TRANSPOSE_CONV gives sizes that are computed from the sequence")
    return rows


def _phases(view: View, axis: int, *, is_time: bool) -> Phases:
    sizes = view.shape(TransposeConvOperand.INPUT)[axis], view.result_shape()[axis]
    found = phases(view.op, axis, sizes, view.sum_of)
    if found is None or not (is_time or all(isinstance(size, int) for size in sizes)):
        what = "rows" if is_time else f"elements along axis {axis}"
        raise not_supported(
            f"TRANSPOSE_CONV gives a number of {what} that does not follow from that of its operand"
        )
    return found


def nearest(view: View) -> Outcome:
    """RESIZE_NEAREST_NEIGHBOR: each row and column is repeated."""
    rows = view.only(1)
    if rows.axis == 3:
        raise needs_the_whole(f"{view.op.kind} has the sequence as its channels")
    counts = repeats(view.shape(0), view.result_shape())
    if counts is None or attributes.aligns_corners(view.op):
        raise not_supported(f"{view.op.kind} that does not repeat each row equally often")
    ready, feed = settled(rows if rows.axis == 0 else view.alone(rows), ends=view.ends)
    made = ready if rows.axis == 0 else ready.refined(counts[rows.axis - 1])
    return [made], Plan(Action.REPEAT, {0: feed})


def repeats(shape: tuple[Dimension | None, ...], made: tuple[Dimension | None, ...]) -> tuple[int, int] | None:
    """Return how often each row and column of an image is repeated, None if a size is not a multiple."""
    height, width = (divide(made[axis], shape[axis]) for axis in (1, 2))
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        return None
    return height, width
