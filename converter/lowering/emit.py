"""Writing TFLite ops: an emitter that names values and knows the few ops that lowerings are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from converter.flatbuffer import unique_name
from converter.ir import Array, Shape, TensorType, TfliteOp, Value, constant


class Emitter:
    """Collects the ops of one lowering; every value it makes gets a name of its own below ``scope``."""

    def __init__(self, scope: str, taken: set[str]) -> None:
        self.ops: list[TfliteOp] = []
        self._scope = scope
        self._taken = taken

    def name(self, suffix: str) -> str:
        """Return a fresh name for a value of this scope."""
        return unique_name(f"{self._scope}/{suffix}", self._taken)

    def constant(self, name: str, data: Array) -> Value:
        """Return a constant of the graph."""
        return constant(self.name(name), data)

    def state(self, name: str, like: TensorType) -> Value:
        """Return a new state tensor: it lives in the interpreter's persistent memory."""
        return Value(self.name(name), like, is_variable=True)

    def op(
        self,
        builtin: str,
        operands: Sequence[Value | None],
        result: Value,
        options: Mapping[str, object] | None = None,
        *,
        options_type: str | None = None,
    ) -> Value:
        """Append an op and return its result."""
        self.ops.append(TfliteOp(builtin, tuple(operands), (result,), options_type, dict(options or {})))
        return result

    def columns(self, x: Value, start: int, stop: int, into: str | Value) -> Value:
        """Append a STRIDED_SLICE ``x[:, start:stop]`` of a matrix; ``into`` is the result, or a name for it.

        Unlike SLICE it keeps its result's shape known before the run, whatever the batch.
        """
        rows = None if x.type.shape is None else x.type.shape[0]
        operands = [
            x,
            self.constant("begin", np.array([0, start], np.int32)),
            self.constant("end", np.array([0, stop], np.int32)),
            self.constant("strides", np.array([1, 1], np.int32)),
        ]
        result = into if isinstance(into, Value) else self.value(into, x, (rows, stop - start))
        all_rows = {"beginMask": 1, "endMask": 1, "shrinkAxisMask": 0}
        return self.op("STRIDED_SLICE", operands, result, all_rows, options_type="StridedSliceOptions")

    def zeros_like(self, x: Value, name: str) -> Value:
        """Append a ZEROS_LIKE: zero even where ``x`` is not a number."""
        return self.op("ZEROS_LIKE", [x], Value(self.name(name), x.type), options_type="ZerosLikeOptions")

    def sum(self, x: Value, axis: int, result: Value) -> Value:
        """Append a SUM over one axis, which the result does not have."""
        axes = self.constant("axis", np.array([axis], np.int32))
        return self.op("SUM", [x, axes], result, {"keepDims": False}, options_type="ReducerOptions")

    def add(self, x: Value, y: Value, shape: Shape, name: str) -> Value:
        """Append an ADD with broadcasting to ``shape``."""
        return self.op("ADD", [x, y], self.value(name, x, shape), options_type="AddOptions")

    def concatenation(self, operands: Sequence[Value], axis: int, result: Value) -> Value:
        """Append a CONCATENATION into ``result``."""
        return self.op("CONCATENATION", operands, result, {"axis": axis}, options_type="ConcatenationOptions")

    def value(self, name: str, like: Value, shape: Shape) -> Value:
        """Return a new value of ``like``'s element type."""
        return Value(self.name(name), TensorType(like.type.dtype, shape))
