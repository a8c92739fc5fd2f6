"""Shape rules of ops over elements, matrices and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from converter.ir import attributes
from converter.ir.attributes import FullyConnected
from converter.ir.dimensions import SymbolicShape, divide, multiply
from converter.ir.program import TfliteOp
from converter.ir.shapes.known import (
    Known,
    Rule,
    as_integer,
    axis_of,
    broadcast,
    equal_shapes,
    integers_of,
    numbers_of,
    shape_of,
)


def elementwise(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """The rule of all elementwise ops: the broadcast shape of the operands."""
    return [broadcast([shape_of(operand) for operand in given])]


def _as_first(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    return [shape_of(given[0])]


def _select(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """SELECT: unlike that of SELECT_V2, its condition is not broadcast."""
    return [equal_shapes([shape_of(given[1]), shape_of(given[2])])]


def reduced(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """The rule of all reductions: the axes that operand 1 lists are dropped, or have size one with keepDims."""
    shape, keep = shape_of(given[0]), attributes.keeps_dims(op)
    axes = {axis_of(axis, len(shape)) for axis in integers_of(given[1])}
    return [tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)]


def _arg(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, (axis,) = shape_of(given[0]), integers_of(given[1])
    place = axis_of(axis, len(shape))
    return [(*shape[:place], *shape[place + 1 :])]


def _top_k(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, (count,) = shape_of(given[0]), numbers_of(given[1])
    return [(*shape[:-1], count)] * 2


# --- matrices ----------------------------------------------------------------------------------------------------


def _fully_connected(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Weights are [units, depth]; without keepNumDims, x counts as rows of depth."""
    shape, (units, depth) = shape_of(given[0]), shape_of(given[1])
    if FullyConnected.of(op).keeps_axes:
        return [(*shape[:-1], units)]
    return [(divide(multiply(shape), depth), units)]


def _batch_matmul(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    (*batch, rows, depth), (*other, height, columns) = (shape_of(operand) for operand in given)
    x_turned, y_turned = attributes.adjoints(op)
    leading = broadcast([tuple(batch), tuple(other)])
    return [(*leading, depth if x_turned else rows, height if y_turned else columns)]


def _matrix_diag(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape = shape_of(given[0])
    return [(*shape, shape[-1])]


# --- shapes ------------------------------------------------------------------------------------------------------


def _as_listed(operand: Known) -> SymbolicShape:
    """Return the shape that an operand lists; if it is computed, its rank."""
    return operand.numbers or (None,) * as_integer(shape_of(operand)[0])


def _shape_operand(position: int) -> Rule:
    """Return the rule of an op whose operand at ``position`` lists the shape of its result."""
    return lambda _, given: [_as_listed(given[position])]


def _reshaped(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """One size of the new shape may be -1, for the remaining elements."""
    wanted = attributes.new_shape(op) if len(given) == 1 else _as_listed(given[1])
    if -1 not in wanted:
        return [wanted]
    rest = multiply(size for size in wanted if size != -1)
    total = None if given[0].shape is None else multiply(given[0].shape)
    return [tuple(divide(total, rest) if size == -1 else size for size in wanted)]


def _squeezed(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape = shape_of(given[0])
    axes = {axis_of(axis, len(shape)) for axis in attributes.squeezed_axes(op)}
    if not axes:
        axes = {axis for axis, size in enumerate(shape) if as_integer(size) == 1}
    return [tuple(size for axis, size in enumerate(shape) if axis not in axes)]


def _expanded(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, (axis,) = shape_of(given[0]), integers_of(given[1])
    place = axis_of(axis, len(shape) + 1)
    return [(*shape[:place], 1, *shape[place:])]


def _transposed(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, order = shape_of(given[0]), integers_of(given[1])
    return [tuple(shape[axis] for axis in order)]


def _tiled(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    return [tuple(map(multiply, zip(shape_of(given[0]), numbers_of(given[1]), strict=True)))]


def _padded(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """Paddings are [axes, 2]."""
    shape, paddings = shape_of(given[0]), integers_of(given[1])
    added = [before + after for before, after in zip(paddings[::2], paddings[1::2], strict=True)]
    return [
        tuple(
            size + more if isinstance(size, int) else (None if more else size)
            for size, more in zip(shape, added, strict=True)
        )
    ]


def _range(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    if any(operand.numbers is None for operand in given):
        return [(None,)]
    ((start,), (limit,), (delta,)) = (numbers_of(operand) for operand in given)
    if (start, delta) == (0, 1) and not isinstance(limit, int):
        return [(limit,)]
    return [(len(range(as_integer(start), as_integer(limit), as_integer(delta))),)]


def _one_hot(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    shape, (depth,) = shape_of(given[0]), numbers_of(given[1])
    place = axis_of(attributes.axis(op), len(shape) + 1)
    return [(*shape[:place], depth, *shape[place:])]


def _spectrum(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape]:
    """RFFT2D: the second half of the last axis mirrors the first."""
    height, width = integers_of(given[1])
    return [(*shape_of(given[0])[:-2], height, width // 2 + 1)]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "ADD_N": lambda _, given: [equal_shapes([shape_of(operand) for operand in given])],
        "ARG_MAX": _arg,
        "ARG_MIN": _arg,
        "ATAN2": elementwise,
        "BATCH_MATMUL": _batch_matmul,
        "BITWISE_XOR": elementwise,
        "BROADCAST_TO": _shape_operand(1),
        "BUCKETIZE": _as_first,
        "COMPLEX_ABS": _as_first,
        "CUMSUM": _as_first,
        "DEQUANTIZE": _as_first,
        "DYNAMIC_UPDATE_SLICE": _as_first,
        "EXPAND_DIMS": _expanded,
        "FAKE_QUANT": _as_first,
        "FILL": _shape_operand(0),
        "FULLY_CONNECTED": _fully_connected,
        "IMAG": _as_first,
        "L2_NORMALIZATION": _as_first,
        "LOCAL_RESPONSE_NORMALIZATION": _as_first,
        "LOG_SOFTMAX": _as_first,
        "MATRIX_DIAG": _matrix_diag,
        "MATRIX_SET_DIAG": _as_first,
        "MIRROR_PAD": _padded,
        "ONE_HOT": _one_hot,
        "PAD": _padded,
        "PADV2": _padded,
        "PRELU": _as_first,
        "QUANTIZE": _as_first,
        "RANDOM_STANDARD_NORMAL": _shape_operand(0),
        "RANDOM_UNIFORM": _shape_operand(0),
        "RANGE": _range,
        "RANK": lambda *_: [()],
        "REAL": _as_first,
        "RESHAPE": _reshaped,
        "REVERSE_SEQUENCE": _as_first,
        "REVERSE_V2": _as_first,
        "RFFT2D": _spectrum,
        "RIGHT_SHIFT": elementwise,
        "SCATTER_ND": _shape_operand(2),
        "SELECT": _select,
        "SHAPE": lambda _, given: [(len(shape_of(given[0])),)],
        "SOFTMAX": _as_first,
        "SPARSE_TO_DENSE": _shape_operand(1),
        "SQUEEZE": _squeezed,
        "TILE": _tiled,
        "TOPK_V2": _top_k,
        "TRANSPOSE": _transposed,
        "VAR_HANDLE": lambda *_: [()],
    }
)
