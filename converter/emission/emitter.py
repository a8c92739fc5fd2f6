"""Emit TFLite ops: an emitter names values and infers shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.flatbuffer.schema import DTYPE_NUMBERS
from converter.ir import Array, DType, Names, Op, Shape, TensorType, Value, constant, dims, new_op

LARGEST_ZEROS = 1024
"""The most zeros that are stored as a constant; larger arrays are filled when the model runs."""


class Emitter:
    """Collects ops of a graph; every value that it makes gets a unique name below ``scope``.

    Each method appends one op and returns its result. ``into`` is the value to write, or a name for a new one.
    """

    def __init__(self, scope: str, names: Names) -> None:
        self.ops: list[Op] = []
        self._shapes: dict[Value, Value] = {}
        self._adopted: dict[Value, Value] = {}
        self._scope = scope
        self._names = names

    # --- values ------------------------------------------------------------------------------------------------

    def name(self, suffix: str) -> str:
        """Return a fresh name for a value of this scope."""
        return self._names.fresh(f"{self._scope}/{suffix}")

    def constant(self, name: str, data: Array) -> Value:
        """Return a constant of the graph."""
        return constant(self.name(name), data)

    def adopt(self, value: Value) -> Value:
        """Return a constant of another graph as one of this scope, the same at every call."""
        if value not in self._adopted:
            self._adopted[value] = replace(value, name=self.name(value.name))
        return self._adopted[value]

    def weights(self, name: str, data: Array) -> Value:
        """Return trained numbers as a float32 constant."""
        return self.constant(name, np.ascontiguousarray(data, np.float32))

    def integers(self, *numbers: int) -> Value:
        """Return a constant vector of int32."""
        return self.constant("integers", np.array(numbers, np.int32))

    def integer(self, number: int) -> Value:
        """Return a constant int32 scalar."""
        return self.constant("integer", np.array(number, np.int32))

    def number(self, number: float) -> Value:
        """Return a constant float32 scalar."""
        return self.constant("number", np.array(number, np.float32))

    def zero(self, dtype: DType) -> Value:
        """Return a constant scalar zero; false for bool."""
        return self.constant("zero", np.zeros((), dtype.numpy))

    def state(self, name: str, like: TensorType) -> Value:
        """Return a new state tensor: it lives in the interpreter's persistent memory."""
        return Value(self.name(name), like, is_variable=True)

    def value(self, name: str, like: Value, shape: Shape) -> Value:
        """Return a new value of ``like``'s element type."""
        return Value(self.name(name), TensorType(like.type.dtype, shape))

    def _into(self, into: str | Value, like: Value, shape: Shape) -> Value:
        return into if isinstance(into, Value) else self.value(into, like, shape)

    # --- any op ------------------------------------------------------------------------------------------------

    def op(
        self,
        builtin: str,
        operands: Sequence[Value | None],
        result: Value,
        options: Mapping[str, object] | None = None,
    ) -> Value:
        """Append an op of one result."""
        self.ops.append(new_op(builtin, operands, [result], options))
        return result

    # --- elementwise -------------------------------------------------------------------------------------------

    def unary(self, builtin: str, x: Value, name: str | Value) -> Value:
        """Append an op of one operand that keeps its type and shape, such as TANH."""
        return self.op(builtin, [x], self._into(name, x, dims(x)))

    def binary(self, builtin: str, x: Value, y: Value, name: str | Value) -> Value:
        """Append an op of two operands with broadcasting."""
        return self.op(builtin, [x, y], self._into(name, x, broadcast(x, y)))

    def add(self, x: Value, y: Value, name: str | Value = "add") -> Value:
        """Append an ADD."""
        return self.binary("ADD", x, y, name)

    def subtract(self, x: Value, y: Value, name: str | Value = "sub") -> Value:
        """Append a SUB."""
        return self.binary("SUB", x, y, name)

    def multiply(self, x: Value, y: Value, name: str | Value = "mul") -> Value:
        """Append a MUL."""
        return self.binary("MUL", x, y, name)

    def minimum(self, x: Value, y: Value, name: str | Value = "minimum") -> Value:
        """Append a MINIMUM."""
        return self.binary("MINIMUM", x, y, name)

    def maximum(self, x: Value, y: Value, name: str | Value = "maximum") -> Value:
        """Append a MAXIMUM."""
        return self.binary("MAXIMUM", x, y, name)

    def zeros_like(self, x: Value, name: str = "zeros") -> Value:
        """Append a ZEROS_LIKE: zero even where ``x`` is NaN."""
        return self.unary("ZEROS_LIKE", x, name)

    def less(self, x: Value, y: Value, name: str = "less") -> Value:
        """Append a LESS; its result is bool."""
        result = Value(self.name(name), TensorType(DType.BOOL, broadcast(x, y)))
        return self.op("LESS", [x, y], result)

    def select(self, condition: Value, x: Value, y: Value, name: str | Value = "select") -> Value:
        """Append a SELECT_V2: ``x`` where the condition holds, else ``y``; NaN in the other one has no effect."""
        result = self._into(name, x, broadcast(x, y))
        return self.op("SELECT_V2", [condition, x, y], result)

    # --- matrices ----------------------------------------------------------------------------------------------

    def fully_connected(self, x: Value, kernel: Array, bias: Array | None, name: str | Value) -> Value:
        """Append a FULLY_CONNECTED ``x kernel^T + bias`` over the last axis; kernel [units, depth]."""
        weights = self.weights("kernel", kernel)
        added = None if bias is None else self.weights("bias", bias)
        result = self._into(name, x, (*dims(x)[:-1], kernel.shape[0]))
        return self.op("FULLY_CONNECTED", [x, weights, added], result, {"keepNumDims": True})

    def concatenation(self, operands: Sequence[Value], axis: int, into: str | Value) -> Value:
        """Append a CONCATENATION."""
        shape = list(dims(operands[0]))
        parts = [dims(operand)[axis] for operand in operands]
        shape[axis] = None if None in parts else sum(part for part in parts if part is not None)
        result = self._into(into, operands[0], tuple(shape))
        return self.op("CONCATENATION", operands, result, {"axis": axis})

    def copy(self, x: Value, into: str | Value) -> Value:
        """Append a copy of ``x`` into separate memory: a CONCATENATION, or a RESHAPE of a scalar."""
        if x.type.shape != ():
            result = into if isinstance(into, Value) else Value(self.name(into), x.type)
            return self.op("CONCATENATION", [x], result, {"axis": 0})
        scalar = self.constant("scalar", np.zeros(0, np.int32))
        return self.op("RESHAPE", [x, scalar], self._into(into, x, ()))

    def columns(self, x: Value, start: int, stop: int, into: str | Value) -> Value:
        """Append a STRIDED_SLICE ``x[..., start:stop]``.

        Unlike SLICE, its result has a statically known shape for any batch.
        """
        rank = len(dims(x))
        operands = [
            x,
            self.integers(*[0] * (rank - 1), start),
            self.integers(*[0] * (rank - 1), stop),
            self.integers(*[1] * rank),
        ]
        others = (1 << (rank - 1)) - 1
        options = {"beginMask": others, "endMask": others, "shrinkAxisMask": 0}
        result = self._into(into, x, (*dims(x)[:-1], stop - start))
        return self.op("STRIDED_SLICE", operands, result, options)

    def split(self, x: Value, count: int, name: str) -> list[Value]:
        """Append a SPLIT of the last axis into ``count`` equal parts."""
        *leading, last = dims(x)
        part = None if last is None else last // count
        results = [self.value(name, x, (*leading, part)) for _ in range(count)]
        self.ops.append(new_op("SPLIT", [self.integer(len(leading)), x], results, {"numSplits": count}))
        return results

    def transpose(self, x: Value, into: str | Value) -> Value:
        """Append a TRANSPOSE of the first two axes."""
        first, second, *rest = dims(x)
        result = self._into(into, x, (second, first, *rest))
        order = self.integers(1, 0, *range(2, 2 + len(rest)))
        return self.op("TRANSPOSE", [x, order], result)

    def sum(self, x: Value, axis: int, into: str | Value) -> Value:
        """Append a SUM that removes one axis."""
        return self._reduce("SUM", x, axis, into, keep=False)

    def reduce_max(self, x: Value, axis: int, name: str) -> Value:
        """Append a REDUCE_MAX that removes one axis.

        Microcontrollers reduce floats only: integers are cast, which is exact below 2^24.
        """
        numbers = self.cast(x, DType.FLOAT32, "numbers")
        return self.cast(self._reduce("REDUCE_MAX", numbers, axis, "largest", keep=False), x.type.dtype, name)

    def mean(self, x: Value, axis: int, name: str) -> Value:
        """Append a MEAN over one axis, kept with size one."""
        return self._reduce("MEAN", x, axis, name, keep=True)

    def _reduce(self, builtin: str, x: Value, axis: int, into: str | Value, *, keep: bool) -> Value:
        shape = [dim for position, dim in enumerate(dims(x)) if keep or position != axis]
        if keep:
            shape[axis] = 1
        result = self._into(into, x, tuple(shape))
        options = {"keepDims": keep}
        return self.op(builtin, [x, self.integers(axis)], result, options)

    # --- sequences ---------------------------------------------------------------------------------------------

    def gather(self, x: Value, index: Value, name: str) -> Value:
        """Append a GATHER of one element of the first axis, which it removes."""
        result = self.value(name, x, dims(x)[1:])
        return self.op("GATHER", [x, index], result, {"axis": 0, "batchDims": 0})

    def update_slice(self, x: Value, update: Value, index: Value, name: str) -> Value:
        """Append a DYNAMIC_UPDATE_SLICE: ``x`` with ``update`` written from ``index`` of its first axis."""
        rest = [self.integer(0)] * (len(dims(x)) - 1)
        start = self.pack([index, *rest], "start")
        result = self.value(name, x, dims(x))
        return self.op("DYNAMIC_UPDATE_SLICE", [x, update, start], result)

    def first(self, x: Value, count: Value, into: str | Value) -> Value:
        """Append a STRIDED_SLICE ``x[:count]`` of the first axis; ``count`` is a vector of one int32."""
        if count.data is None:
            begin, end, rank = [0], count, 1
        else:  # microcontrollers need a number for each axis
            rank = len(dims(x))
            begin = [0] * rank
            end = self.integers(int(count.data[0]), *begin[1:])
        masks = {"beginMask": (1 << rank) - 1, "endMask": (1 << rank) - 2, "shrinkAxisMask": 0}
        known = None if count.data is None else int(count.data[0])
        result = self._into(into, x, (known, *dims(x)[1:]))
        operands = [x, self.integers(*begin), end, self.integers(*[1] * rank)]
        return self.op("STRIDED_SLICE", operands, result, masks)

    def reverse(self, x: Value, axis: int, into: str | Value = "reversed") -> Value:
        """Append a REVERSE_V2 along one axis."""
        axes = self.constant("axis", np.array([axis], np.int32))
        return self.op("REVERSE_V2", [x, axes], self._into(into, x, dims(x)))

    def reverse_rows(self, x: Value, lengths: Value, axis: int, into: str | Value = "reversed") -> Value:
        """Append a REVERSE_SEQUENCE along ``axis``, 0 or 1, of the first ``lengths`` [B] steps of each row."""
        options = {"seqDim": axis, "batchDim": 1 - axis}
        return self.op("REVERSE_SEQUENCE", [x, lengths], self._into(into, x, dims(x)), options)

    def cumulated(self, x: Value, axis: int, name: str) -> Value:
        """Append an exclusive CUMSUM over one axis."""
        options = {"exclusive": True, "reverse": False}
        result = self.value(name, x, dims(x))
        return self.op("CUMSUM", [x, self.integer(axis)], result, options)

    def gather_nd(self, x: Value, places: Value, name: str) -> Value:
        """Append a GATHER_ND: the elements of ``x`` at ``places`` [n, k], int32."""
        count, depth = dims(places)
        result = self.value(name, x, (count, *dims(x)[depth:]))
        return self.op("GATHER_ND", [x, places], result)

    def cast(self, x: Value, dtype: DType, name: str) -> Value:
        """Append a CAST."""
        result = Value(self.name(name), TensorType(dtype, x.type.shape))
        options = {"inDataType": DTYPE_NUMBERS[x.type.dtype], "outDataType": DTYPE_NUMBERS[dtype]}
        return self.op("CAST", [x], result, options)

    def expand_dims(self, x: Value, axis: int, name: str) -> Value:
        """Append an EXPAND_DIMS, or if possible a RESHAPE, which microcontrollers have for every type."""
        shape = list(dims(x))
        shape.insert(axis, 1)
        result = self.value(name, x, tuple(shape))
        if shape.count(None) <= 1:
            target = self.integers(*(-1 if dim is None else dim for dim in shape))
            return self.op("RESHAPE", [x, target], result)
        return self.op("EXPAND_DIMS", [x, self.integer(axis)], result)

    def pad(self, x: Value, pairs: Array) -> Value:
        """Append a PAD by ``pairs`` [axes, 2] of zeros before and behind each axis; without any, return ``x``."""
        if not pairs.any():
            return x
        sizes = zip(dims(x), pairs.sum(axis=1), strict=True)
        shape = tuple(None if size is None else size + int(more) for size, more in sizes)
        paddings = self.constant("paddings", pairs.astype(np.int32))
        return self.op("PAD", [x, paddings], self.value("padded", x, shape))

    # --- shapes ------------------------------------------------------------------------------------------------

    def pack(self, parts: Sequence[Value], name: str, *, axis: int = 0) -> Value:
        """Append a PACK of values of one shape along a new axis."""
        shape = list(dims(parts[0]))
        shape.insert(axis, len(parts))
        result = self.value(name, parts[0], tuple(shape))
        options = {"valuesCount": len(parts), "axis": axis}
        return self.op("PACK", parts, result, options)

    def scalar(self, x: Value, name: str) -> Value:
        """Append a RESHAPE of one element to a scalar."""
        return self.op("RESHAPE", [x, self.constant("scalar", np.zeros(0, np.int32))], self.value(name, x, ()))

    def dimension(self, x: Value, axis: int) -> Value:
        """Return one dimension of ``x`` as an int32 scalar: a constant if it is known."""
        known = dims(x)[axis]
        if known is not None:
            return self.integer(known)
        shape = self._shape_of(x)
        operands = [shape, self.integers(axis), self.integers(axis + 1), self.integers(1)]
        masks = {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 1}
        result = self.value("dimension", shape, ())
        return self.op("STRIDED_SLICE", operands, result, masks)

    def _shape_of(self, x: Value) -> Value:
        """Return the shape of ``x`` as a vector; one SHAPE serves all its dimensions."""
        if x not in self._shapes:
            shape = Value(self.name("shape"), TensorType(DType.INT32, (len(dims(x)),)))
            options = {"outType": DTYPE_NUMBERS[DType.INT32]}
            self._shapes[x] = self.op("SHAPE", [x], shape, options)
        return self._shapes[x]

    def zeros(self, sizes: Sequence[Value], shape: Shape, name: str, *, dtype: DType = DType.FLOAT32) -> Value:
        """Return zeros of ``sizes``, a constant if ``shape``, their known part, is fully known and small."""
        if None not in shape and math.prod(dim or 0 for dim in shape) <= LARGEST_ZEROS:
            return self.constant(name, np.zeros([dim or 0 for dim in shape], dtype.numpy))
        filled = self.zero(dtype)
        result = self.value(name, filled, shape)
        wanted = self.pack(sizes, "sizes") if None in shape else self.integers(*(dim or 0 for dim in shape))
        return self.op("FILL", [wanted, filled], result)

    def ceil_div(self, x: Value, divisor: int, name: str) -> Value:
        """Append ``x / divisor`` rounded up, for non-negative int32."""
        above = self.add(x, self.integer(divisor - 1))
        return self.binary("FLOOR_DIV", above, self.integer(divisor), name)


class SharingEmitter(Emitter):
    """An emitter of ops that repeat: equal constants are one."""

    def __init__(self, scope: str, names: Names) -> None:
        super().__init__(scope, names)
        self._constants: dict[tuple[str, Shape, bytes], Value] = {}

    def constant(self, name: str, data: Array) -> Value:
        """Return a constant of the graph, the same for equal data."""
        key = (data.dtype.name, data.shape, data.tobytes())
        if key not in self._constants:
            self._constants[key] = super().constant(name, data)
        return self._constants[key]


def broadcast(x: Value, y: Value) -> Shape:
    """Return the shape of an elementwise op over ``x`` and ``y``."""
    long, short = sorted((dims(x), dims(y)), key=len, reverse=True)
    short = (1,) * (len(long) - len(short)) + short
    return tuple(b if a == 1 else a if b == 1 or b is None else b for a, b in zip(long, short, strict=True))
