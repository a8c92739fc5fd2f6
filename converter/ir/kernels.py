"""TFLite builtins in NumPy, as the kernels define them.

Floating-point values are float64 here. Each function takes an op and its operands that are present, and returns
the op's results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from converter.errors import InvalidProgramError
from converter.ir import attributes
from converter.ir.attributes import FullyConnected, StridedSlice
from converter.ir.program import TfliteOp
from converter.ir.types import Array

Kernel: TypeAlias = Callable[[TfliteOp, list[Array]], list[Array]]

_erf = np.vectorize(math.erf, otypes=[np.float64])


FUSED: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "NONE": lambda x: x,
        "RELU": lambda x: np.maximum(x, 0.0),
        "RELU_N1_TO_1": lambda x: np.clip(x, -1.0, 1.0),
        "RELU6": lambda x: np.clip(x, 0.0, 6.0),
        "TANH": np.tanh,
    }
)


def _unary(function: Callable[[Array], Array]) -> Kernel:
    def kernel(_: TfliteOp, operands: list[Array]) -> list[Array]:
        return [np.asarray(function(operands[0]))]

    return kernel


def _binary(function: Callable[[Array, Array], Array]) -> Kernel:
    def kernel(op: TfliteOp, operands: list[Array]) -> list[Array]:
        return [_activated(op, np.asarray(function(operands[0], operands[1])))]

    return kernel


def _activated(op: TfliteOp, x: Array) -> Array:
    name = attributes.fused_activation(op)
    if name not in FUSED:
        raise InvalidProgramError(f"{op.name}: the evaluator does not implement the activation {name}")
    return FUSED[name](x)


def _axes(x: Array) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.atleast_1d(x))


def _fully_connected(op: TfliteOp, operands: list[Array]) -> list[Array]:
    """x weights^T + bias: weights [units, depth]; without keepNumDims x counts as rows of depth."""
    x, weights, *bias = operands
    rows = x if FullyConnected.of(op).keeps_axes else x.reshape(-1, weights.shape[1])
    total = rows @ weights.T + (bias[0] if bias else 0.0)
    return [_activated(op, np.asarray(total))]


def _batch_matmul(op: TfliteOp, operands: list[Array]) -> list[Array]:
    left, right = (
        x.swapaxes(-1, -2) if adjoint else x for x, adjoint in zip(operands, attributes.adjoints(op), strict=True)
    )
    return [np.asarray(left @ right)]


def _split(op: TfliteOp, operands: list[Array]) -> list[Array]:
    axis, x = operands
    return list(np.split(x, len(op.results), axis=int(axis)))


def _split_v(_: TfliteOp, operands: list[Array]) -> list[Array]:
    x, sizes, axis = operands
    known = [int(size) for size in sizes]
    rest = x.shape[int(axis)] - sum(size for size in known if size >= 0)
    stops = np.cumsum([rest if size < 0 else size for size in known])[:-1]
    return list(np.split(x, stops, axis=int(axis)))


def _slice(_: TfliteOp, operands: list[Array]) -> list[Array]:
    x, begin, size = operands
    index = tuple(
        slice(int(first), None if count < 0 else int(first) + int(count))
        for first, count in zip(begin, size, strict=True)
    )
    return [x[index]]


def _reshape(op: TfliteOp, operands: list[Array]) -> list[Array]:
    x, *shape = operands
    return [x.reshape(tuple(shape[0]) if shape else attributes.new_shape(op))]


def _unpack(op: TfliteOp, operands: list[Array]) -> list[Array]:
    axis = attributes.axis(op)
    return [operands[0].take(index, axis=axis) for index in range(operands[0].shape[axis])]


def _squeeze(op: TfliteOp, operands: list[Array]) -> list[Array]:
    return [operands[0].squeeze(attributes.squeezed_axes(op) or None)]


def _gather(op: TfliteOp, operands: list[Array]) -> list[Array]:
    if attributes.has_batch_axes(op):
        raise InvalidProgramError(f"{op.name}: the evaluator does not implement GATHER with batch dimensions")
    return [operands[0].take(operands[1], axis=attributes.axis(op))]


def _select(_: TfliteOp, operands: list[Array]) -> list[Array]:
    """SELECT: unlike SELECT_V2, a condition of rank 1 chooses whole rows."""
    condition, x, y = operands
    rows = condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))
    return [np.where(rows, x, y)]


def _reduction(function: Callable[..., Array]) -> Kernel:
    def kernel(op: TfliteOp, operands: list[Array]) -> list[Array]:
        return [np.asarray(function(operands[0], axis=_axes(operands[1]), keepdims=attributes.keeps_dims(op)))]

    return kernel


def _gelu(op: TfliteOp, operands: list[Array]) -> list[Array]:
    (x,) = operands
    if attributes.is_approximate(op):
        return [0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))]
    return [0.5 * x * (1.0 + _erf(x / np.sqrt(2.0)))]


def _leaky_relu(op: TfliteOp, operands: list[Array]) -> list[Array]:
    (x,) = operands
    return [np.where(x > 0.0, x, attributes.slope(op) * x)]


def _softmax(op: TfliteOp, operands: list[Array]) -> list[Array]:
    scaled = operands[0] * attributes.beta(op)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return [powers / powers.sum(axis=-1, keepdims=True)]


def _widened(x: Array) -> Array:
    return x.astype(np.float64)


def _strided_slice(op: TfliteOp, operands: list[Array]) -> list[Array]:
    x, begin, end, strides = operands
    sliced = StridedSlice.of(op)
    if not sliced.is_plain:
        raise InvalidProgramError(f"{op.name}: the evaluator does not implement STRIDED_SLICE with these masks")
    index: list[int | slice] = []
    for axis, (first, last, stride) in enumerate(zip(begin, end, strides, strict=True)):
        lower = None if sliced.has_open_begin(axis) else int(first)
        upper = None if sliced.has_open_end(axis) else int(last)
        index.append(int(first) if sliced.drops(axis) else slice(lower, upper, int(stride)))
    return [np.asarray(x[tuple(index)])]


def _cast_type(op: TfliteOp) -> np.dtype[np.generic]:
    """Return the type of a CAST's result as it is computed here: all floating-point types are float64."""
    dtype = op.results[0].type.dtype.numpy
    if dtype is None:
        raise InvalidProgramError(
            f"{op.name}: the evaluator does not implement the result type {op.results[0].type}"
        )
    return np.dtype(np.float64) if np.issubdtype(dtype, np.floating) else dtype


def _cumsum(op: TfliteOp, operands: list[Array]) -> list[Array]:
    x, axis = operands
    if attributes.is_reverse(op):
        raise InvalidProgramError(f"{op.name}: the evaluator does not implement a reverse CUMSUM")
    total = np.cumsum(x, axis=int(axis))
    return [np.asarray(total - x if attributes.is_exclusive(op) else total)]


def _reverse_sequence(op: TfliteOp, operands: list[Array]) -> list[Array]:
    x, lengths = operands
    axis, batch = attributes.reversed_axes(op)
    rows = np.moveaxis(x, (batch, axis), (0, 1)).copy()
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = row[:length][::-1].copy()
    return [np.moveaxis(rows, (0, 1), (batch, axis))]


KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "ABS": _unary(np.abs),
        "ADD": _binary(np.add),
        "BATCH_MATMUL": _batch_matmul,
        "BROADCAST_TO": lambda _, operands: [np.broadcast_to(operands[0], tuple(operands[1]))],
        "CAST": lambda op, operands: [operands[0].astype(_cast_type(op))],
        "CONCATENATION": lambda op, operands: [np.concatenate(operands, axis=attributes.axis(op))],
        "CUMSUM": _cumsum,
        "DEQUANTIZE": _unary(_widened),  # of float16 weights; quantized integers are not supported
        "DIV": _binary(np.divide),
        "ELU": _unary(lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))),
        "EQUAL": _binary(np.equal),
        "EXP": _unary(np.exp),
        "EXPAND_DIMS": lambda _, operands: [np.expand_dims(operands[0], int(operands[1]))],
        "FILL": lambda _, operands: [np.full(tuple(operands[0]), operands[1])],
        "FLOOR": _unary(np.floor),
        "FLOOR_MOD": _binary(np.mod),
        "FULLY_CONNECTED": _fully_connected,
        "GATHER": _gather,
        "GELU": _gelu,
        "GREATER": _binary(np.greater),
        "GREATER_EQUAL": _binary(np.greater_equal),
        "HARD_SWISH": _unary(lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0),
        "LEAKY_RELU": _leaky_relu,
        "LESS": _binary(np.less),
        "LESS_EQUAL": _binary(np.less_equal),
        "LOG": _unary(np.log),
        "LOGICAL_AND": _binary(np.logical_and),
        "LOGICAL_NOT": _unary(np.logical_not),
        "LOGICAL_OR": _binary(np.logical_or),
        "LOGISTIC": _unary(lambda x: 0.5 * (1.0 + np.tanh(0.5 * x))),
        "MAXIMUM": _binary(np.maximum),
        "MEAN": _reduction(np.mean),
        "MINIMUM": _binary(np.minimum),
        "MUL": _binary(np.multiply),
        "NEG": _unary(np.negative),
        "NOT_EQUAL": _binary(np.not_equal),
        "PACK": lambda op, operands: [np.stack(operands, axis=attributes.axis(op))],
        "POW": _binary(np.power),
        "REDUCE_ANY": _reduction(np.any),
        "REDUCE_MAX": _reduction(np.max),
        "REDUCE_MIN": _reduction(np.min),
        "RELU": _unary(FUSED["RELU"]),
        "RELU6": _unary(FUSED["RELU6"]),
        "RELU_0_TO_1": _unary(lambda x: np.clip(x, 0.0, 1.0)),
        "RELU_N1_TO_1": _unary(FUSED["RELU_N1_TO_1"]),
        "RESHAPE": _reshape,
        "REVERSE_SEQUENCE": _reverse_sequence,
        "REVERSE_V2": lambda _, operands: [np.flip(operands[0], _axes(operands[1]))],
        "RSQRT": _unary(lambda x: 1.0 / np.sqrt(x)),
        "SELECT": _select,
        "SELECT_V2": lambda _, operands: [np.where(operands[0], operands[1], operands[2])],
        "SHAPE": lambda _, operands: [np.asarray(operands[0].shape, np.int32)],
        "SIGN": _unary(np.sign),
        "SLICE": _slice,
        "SOFTMAX": _softmax,
        "SPLIT": _split,
        "SPLIT_V": _split_v,
        "SQRT": _unary(np.sqrt),
        "SQUARE": _unary(np.square),
        "SQUARED_DIFFERENCE": _binary(lambda x, y: (x - y) ** 2),
        "SQUEEZE": _squeeze,
        "STRIDED_SLICE": _strided_slice,
        "SUB": _binary(np.subtract),
        "SUM": _reduction(np.sum),
        "TANH": _unary(np.tanh),
        "TILE": lambda _, operands: [np.tile(operands[0], tuple(operands[1]))],
        "TRANSPOSE": lambda _, operands: [operands[0].transpose(tuple(operands[1]))],
        "UNPACK": _unpack,
        "ZEROS_LIKE": _unary(np.zeros_like),
    }
)
"""The builtins that the evaluator knows."""
