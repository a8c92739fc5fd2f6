"""Flatbuffers of a few ops, built by hand: each does one thing, good or bad, to the interpreter that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}

RNN_KERNEL = np.array([[0.5, -0.25, 0.1], [0.3, 0.2, -0.4]], np.float32)
RNN_RECURRENT_KERNEL = np.array([[0.9, -0.5], [0.4, 0.8]], np.float32)
RNN_BIAS = np.array([0.1, -0.2], np.float32)


@dataclass(frozen=True)
class Tensor:
    """One tensor; None is a dynamic dimension, stored as 1."""

    name: str
    shape: tuple[int | None, ...]
    data: Array | None = None
    variable: bool = False
    dtype: str = "float32"


def add_model(*, signature: bool = True, key: str = "serving_default") -> bytes:
    """y = x + x, [batch, time, 3], both dynamic."""
    tensors = [Tensor("x_0", (None, None, 3)), Tensor("y_0", (None, None, 3))]
    op = _op(schema.BuiltinOptions.AddOptions, schema.AddOptionsT(), [0, 0], [1])
    return _model(tensors, schema.BuiltinOperator.ADD, op, key=key if signature else None)


def rnn_model() -> bytes:
    """A bare UNIDIRECTIONAL_SEQUENCE_RNN, [time, 1, 3] -> [time, 1, 2]: its state survives every invoke."""
    tensors = [
        Tensor("x_0", (None, 1, 3)),
        Tensor("y_0", (None, 1, 2)),
        Tensor("kernel", (2, 3), RNN_KERNEL),
        Tensor("recurrent_kernel", (2, 2), RNN_RECURRENT_KERNEL),
        Tensor("bias", (2,), RNN_BIAS),
        Tensor("state", (1, 2), variable=True),
    ]
    options = schema.SequenceRNNOptionsT()
    options.timeMajor = True
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    op = _op(schema.BuiltinOptions.SequenceRNNOptions, options, [0, 2, 3, 4, 5], [1])
    return _model(tensors, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_RNN, op)


def rnn_reference(x: Array, state: Array) -> tuple[Array, Array]:
    """h_t = tanh(W x_t + R h_{t-1} + b) from ``state`` [1, 2]; all h [time, 1, 2] and the last one."""
    outputs = []
    for step in x.astype(np.float64):
        state = np.tanh(step @ RNN_KERNEL.T + state @ RNN_RECURRENT_KERNEL.T + RNN_BIAS)
        outputs.append(state)
    return np.stack(outputs), state


def lstm_that_crashes() -> bytes:
    """An LSTM that has an input gate but no bias for it: every runtime reads through a null pointer."""
    weights = [Tensor(f"w{index}", (2, 3), np.ones((2, 3), np.float32)) for index in range(4)]
    recurrent = [Tensor(f"r{index}", (2, 2), np.ones((2, 2), np.float32)) for index in range(4)]
    biases = [Tensor(f"b{index}", (2,), np.ones(2, np.float32)) for index in range(3)]
    states = [Tensor("h", (1, 2), variable=True), Tensor("c", (1, 2), variable=True)]
    tensors = [Tensor("x_0", (4, 1, 3)), Tensor("y_0", (4, 1, 2)), *weights, *recurrent, *biases, *states]
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.timeMajor = True
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    inputs = [0, *range(2, 10), -1, -1, -1, -1, *range(10, 13), -1, -1, 13, 14, -1, -1, -1, -1]
    op = _op(schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions, options, inputs, [1])
    return _model(tensors, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM, op)


def custom_op_model() -> bytes:
    """An op that no runtime has."""
    tensors = [Tensor("x_0", (1, 3)), Tensor("y_0", (1, 3))]
    return _model(tensors, schema.BuiltinOperator.CUSTOM, _op(0, None, [0], [1]), custom=b"NoSuchOp")


def _op(options_type: int, options: Any, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    op = schema.OperatorT()
    op.inputs, op.outputs = list(inputs), list(outputs)
    op.builtinOptionsType, op.builtinOptions = options_type, options
    return op


def _model(
    tensors: Sequence[Tensor], builtin: int, op: Any, *, key: str | None = "serving_default", custom: bytes = b""
) -> bytes:
    """One op from tensor 0, called "x" in the signature, to tensor 1, called "y"."""
    model = schema.ModelT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    code.customCode = custom or None
    model.operatorCodes = [code]
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in tensors]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [op]
    model.subgraphs = [graph]
    if key is not None:
        model.signatureDefs = [_signature(key)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    result = schema.TensorT()
    result.name, result.type, result.isVariable = tensor.name, _TYPES[tensor.dtype], tensor.variable
    result.shape = [1 if size is None else size for size in tensor.shape]
    if None in tensor.shape:
        result.shapeSignature = [-1 if size is None else size for size in tensor.shape]
    result.buffer = 0
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        result.buffer = len(buffers)
        buffers.append(buffer)
    return result


def _signature(key: str) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs, signature.outputs = [_entry("x", 0)], [_entry("y", 1)]
    return signature


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
