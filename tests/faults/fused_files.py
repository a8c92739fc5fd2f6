"""Files that hold fused recurrent ops over variable tensors, as other converters write them.

Each comes with its meaning: a program of recurrences whose every run starts from zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from converter.flatbuffer import build_model
from converter.flatbuffer.schema import schema
from converter.ir import (
    Activation,
    Array,
    DType,
    Gate,
    Graph,
    LstmCell,
    Op,
    Peephole,
    Program,
    RnnCell,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    constant,
)
from tests.programs import lstm_cell, rnn_cell, stack, tensor

TANH = schema.ActivationFunctionType.TANH
ACTIVATIONS: Mapping[Activation, int] = MappingProxyType(
    {
        Activation.LINEAR: schema.ActivationFunctionType.NONE,
        Activation.RELU: schema.ActivationFunctionType.RELU,
        Activation.RELU6: schema.ActivationFunctionType.RELU6,
        Activation.TANH: TANH,
    }
)
FUSED = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "LSTM",
        "RNN",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)
TIME, BATCH, DEPTH = 7, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class FusedFile:
    """A file, what it means, the names of its outputs in that program, and how many recurrences it holds."""

    data: bytes
    meaning: Program
    outputs: Mapping[str, str]
    recurrences: int = 1


@dataclass(frozen=True, slots=True)
class Storage:
    """How weights are stored: ``float32``, ``float16`` behind DEQUANTIZE, or ``int8`` (hybrid kernels)."""

    kind: str = "float32"
    asymmetric: bool = False

    def seen(self, array: Array) -> Array:
        """Return the numbers that a stored matrix stands for."""
        if self.kind == "float16":
            return array.astype(np.float16).astype(np.float32)
        if self.kind == "int8":
            scale = _scale(array)
            return (np.round(array / scale) * scale).astype(np.float32)
        return array

    def value(self, name: str, array: Array, ops: list[Op]) -> Value:
        """Return the operand for a matrix; a DEQUANTIZE in front of it goes to ``ops``."""
        if self.kind == "float16":
            stored = constant(f"{name}/float16", array.astype(np.float16))
            widened = Value(name, TensorType(DType.FLOAT32, array.shape))
            ops.append(TfliteOp("DEQUANTIZE", (stored,), (widened,), "DequantizeOptions"))
            return widened
        if self.kind == "int8":
            scale = _scale(array)
            data = np.round(array / scale).astype(np.int8)
            return Value(name, TensorType(DType.INT8, array.shape), data, quantization=quantization(scale))
        return constant(name, array)


FLOAT32 = Storage()


def quantization(scale: float, zero_point: int = 0) -> Any:
    """Return the schema's record for a tensor that is quantized as a whole."""
    record = schema.QuantizationParametersT()
    record.scale, record.zeroPoint = [float(scale)], [zero_point]
    return record


def _scale(array: Array) -> float:
    return float(np.abs(array).max()) / 127.0


def state_tensor(name: str, *shape: int) -> Value:
    """A variable tensor: what the fused ops keep from one invoke to the next."""
    return Value(name, TensorType(DType.FLOAT32, shape), is_variable=True)


def file_of(inputs: Sequence[Value], ops: Sequence[Op], outputs: Sequence[Value], *graphs: Graph) -> bytes:
    """The bytes of a model whose signature calls inputs and outputs as their tensors are called."""
    signature = Signature(
        "serving_default", tuple(value.name for value in inputs), tuple(value.name for value in outputs)
    )
    main = Graph("main", tuple(inputs), tuple(outputs), tuple(ops))
    return build_model(Program((main, *graphs), (signature,)))


# --- the ops -------------------------------------------------------------------------------------------------


def lstm_weights(
    cell: LstmCell, storage: Storage, prefix: str, ops: list[Op], *, diagonal: bool = False
) -> list[Value | None]:
    """Operands 1 to 17 of the fused LSTM: kernels, recurrent kernels, peepholes, biases and projection."""

    def matrix(name: str, array: Array | None) -> Value | None:
        return None if array is None else storage.value(f"{prefix}{name}", array, ops)

    gates = (cell.input_gate, cell.forget_gate, cell.cell_gate, cell.output_gate)
    peephole = cell.peephole
    diagonals = (None,) * 3 if peephole is None else (peephole.input, peephole.forget, peephole.output)
    biases = [None if gate is None else constant(f"{prefix}bias_{n}", gate.bias) for n, gate in enumerate(gates)]
    recurrent = [None if gate is None else gate.recurrent_kernel for gate in gates]
    if diagonal:
        recurrent = [None if array is None else np.diagonal(array).copy() for array in recurrent]
    return [
        *(matrix(f"kernel_{n}", None if gate is None else gate.kernel) for n, gate in enumerate(gates)),
        *(matrix(f"recurrent_{n}", array) for n, array in enumerate(recurrent)),
        *(matrix(f"peephole_{n}", array) for n, array in enumerate(diagonals)),
        *biases,
        matrix("projection", cell.projection),
        None,
    ]


def rnn_weights(cell: RnnCell, storage: Storage, prefix: str, ops: list[Op]) -> list[Value | None]:
    """Operands 1 to 3 of the fused RNN."""
    return [
        storage.value(f"{prefix}kernel", cell.gate.kernel, ops),
        storage.value(f"{prefix}recurrent", cell.gate.recurrent_kernel, ops),
        constant(f"{prefix}bias", cell.gate.bias),
    ]


def lstm_options(cell: LstmCell, storage: Storage) -> dict[str, object]:
    """What the options of all fused LSTMs have in common."""
    return {
        "fusedActivationFunction": ACTIVATIONS[cell.activation],
        "cellClip": cell.cell_clip or 0.0,
        "projClip": cell.projection_clip or 0.0,
        "asymmetricQuantizeInputs": storage.asymmetric,
    }


def stored(cell: LstmCell | RnnCell, storage: Storage) -> LstmCell | RnnCell:
    """The cell with the weights that a file with this storage holds."""

    def gate(given: Gate | None) -> Gate | None:
        if given is None:
            return None
        return Gate(storage.seen(given.kernel), storage.seen(given.recurrent_kernel), given.bias)

    def seen(array: Array | None) -> Array | None:
        return None if array is None else storage.seen(array)

    if isinstance(cell, RnnCell):
        return replace(cell, gate=gate(cell.gate))
    gates = {name: gate(getattr(cell, name)) for name in ("input_gate", "forget_gate", "cell_gate", "output_gate")}
    peephole = cell.peephole
    if peephole is not None:
        peephole = Peephole(*(seen(array) for array in (peephole.input, peephole.forget, peephole.output)))
    return replace(cell, **gates, peephole=peephole, projection=seen(cell.projection))


def _leading(time: int | None, batch: int, *, time_major: bool) -> tuple[int | None, ...]:
    return (time, batch) if time_major else (batch, time)


def sequence_lstm(
    cell: LstmCell,
    *,
    time: int | None = TIME,
    batch: int = BATCH,
    time_major: bool = True,
    storage: Storage = FLOAT32,
    operands: int = 24,
    flat_state: bool = False,
    diagonal: bool = False,
) -> FusedFile:
    """UNIDIRECTIONAL_SEQUENCE_LSTM; ``diagonal`` stores the diagonals of the recurrent kernels alone."""
    leading = _leading(time, batch, time_major=time_major)
    x, y = tensor("x", *leading, cell.input_size), tensor("y", *leading, cell.output_size)
    ops: list[Op] = []
    sizes = (cell.output_size, cell.units)
    states = [
        state_tensor(name, *((batch * size,) if flat_state else (batch, size)))
        for name, size in zip(("h", "c"), sizes, strict=True)
    ]
    weights = lstm_weights(cell, storage, "", ops, diagonal=diagonal)
    given = [x, *weights, *states, *[None] * (operands - 20)]
    options = {**lstm_options(cell, storage), "timeMajor": time_major, "diagonalRecurrentTensors": diagonal}
    version = 4 if diagonal else 1 if storage.kind != "int8" else 3
    ops.append(
        TfliteOp(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            tuple(given),
            (y,),
            "UnidirectionalSequenceLSTMOptions",
            options,
            version=version,
        )
    )
    meaning = stack([stored(cell, storage)], time=time, batch=batch, time_major=time_major)
    return FusedFile(file_of([x], ops, [y]), meaning, {"y": "layer_0_outputs"})


def sequence_rnn(
    cell: RnnCell,
    *,
    time: int | None = TIME,
    batch: int = BATCH,
    time_major: bool = True,
    storage: Storage = FLOAT32,
) -> FusedFile:
    """UNIDIRECTIONAL_SEQUENCE_RNN."""
    leading = _leading(time, batch, time_major=time_major)
    x, y = tensor("x", *leading, cell.input_size), tensor("y", *leading, cell.output_size)
    ops: list[Op] = []
    given = (x, *rnn_weights(cell, storage, "", ops), state_tensor("h", batch, cell.output_size))
    options = {
        "timeMajor": time_major,
        "fusedActivationFunction": ACTIVATIONS[cell.activation],
        "asymmetricQuantizeInputs": storage.asymmetric,
    }
    version = 1 if storage.kind != "int8" else 3
    ops.append(
        TfliteOp("UNIDIRECTIONAL_SEQUENCE_RNN", given, (y,), "SequenceRNNOptions", options, version=version)
    )
    meaning = stack([stored(cell, storage)], time=time, batch=batch, time_major=time_major)
    return FusedFile(file_of([x], ops, [y]), meaning, {"y": "layer_0_outputs"})


def bidirectional_lstm(
    forward: LstmCell,
    backward: LstmCell,
    *,
    time: int | None = TIME,
    batch: int = BATCH,
    time_major: bool = True,
    merged: bool = False,
    storage: Storage = FLOAT32,
) -> FusedFile:
    """BIDIRECTIONAL_SEQUENCE_LSTM, its two outputs apart, or ``merged`` along the last axis."""
    leading = _leading(time, batch, time_major=time_major)
    x = tensor("x", *leading, forward.input_size)
    ops: list[Op] = []
    cells = (forward, backward)
    weights = [lstm_weights(cell, storage, f"{n}/", ops) for n, cell in enumerate(cells)]
    states = [
        state_tensor(f"{n}/{name}", batch, size)
        for n, cell in enumerate(cells)
        for name, size in (("h", cell.output_size), ("c", cell.units))
    ]
    outputs = _both_outputs(forward, backward, leading, merged=merged)
    options = {**lstm_options(forward, storage), "timeMajor": time_major, "mergeOutputs": merged}
    given = (x, *weights[0], *weights[1], *states, *[None] * 9)
    version = 1 if storage.kind != "int8" else 3
    ops.append(
        TfliteOp(
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            given,
            tuple(outputs),
            "BidirectionalSequenceLSTMOptions",
            options,
            version=version,
        )
    )
    meaning = _both(forward, backward, leading, storage, merged=merged, time_major=time_major)
    names = {value.name: value.name for value in outputs}
    return FusedFile(file_of([x], ops, outputs), meaning, names, recurrences=2)


def bidirectional_rnn(
    forward: RnnCell,
    backward: RnnCell,
    *,
    time: int | None = TIME,
    batch: int = BATCH,
    time_major: bool = True,
    merged: bool = False,
    storage: Storage = FLOAT32,
) -> FusedFile:
    """BIDIRECTIONAL_SEQUENCE_RNN, its two outputs apart, or ``merged`` along the last axis."""
    leading = _leading(time, batch, time_major=time_major)
    x = tensor("x", *leading, forward.input_size)
    ops: list[Op] = []
    given: list[Value | None] = [x]
    for n, cell in enumerate((forward, backward)):
        given += [*rnn_weights(cell, storage, f"{n}/", ops), state_tensor(f"{n}/h", batch, cell.output_size)]
    outputs = _both_outputs(forward, backward, leading, merged=merged)
    options = {
        "timeMajor": time_major,
        "mergeOutputs": merged,
        "fusedActivationFunction": ACTIVATIONS[forward.activation],
        "asymmetricQuantizeInputs": storage.asymmetric,
    }
    version = 1 if storage.kind != "int8" else 3
    ops.append(
        TfliteOp(
            "BIDIRECTIONAL_SEQUENCE_RNN",
            (*given, None, None, None),
            tuple(outputs),
            "BidirectionalSequenceRNNOptions",
            options,
            version=version,
        )
    )
    meaning = _both(forward, backward, leading, storage, merged=merged, time_major=time_major)
    names = {value.name: value.name for value in outputs}
    return FusedFile(file_of([x], ops, outputs), meaning, names, recurrences=2)


def _both_outputs(
    forward: LstmCell | RnnCell, backward: LstmCell | RnnCell, leading: tuple[int | None, ...], *, merged: bool
) -> list[Value]:
    if merged:
        return [tensor("y", *leading, forward.output_size + backward.output_size)]
    return [tensor("forward", *leading, forward.output_size), tensor("backward", *leading, backward.output_size)]


def _both(
    forward: LstmCell | RnnCell,
    backward: LstmCell | RnnCell,
    leading: tuple[int | None, ...],
    storage: Storage,
    *,
    merged: bool,
    time_major: bool,
) -> Program:
    """Two recurrences, one of them between two reversals."""
    from tests.programs import recurrence

    axis = constant("axis", np.array([0 if time_major else 1], np.int32))
    x = tensor("x", *leading, forward.input_size)
    flipped = tensor("flipped", *leading, forward.input_size)
    there = recurrence(stored(forward, storage), x, name="there", time_major=time_major)
    back = recurrence(stored(backward, storage), flipped, name="back", time_major=time_major)
    output = tensor("backward", *leading, backward.output_size)
    ops: list[Op] = [
        TfliteOp("REVERSE_V2", (x, axis), (flipped,)),
        there,
        back,
        TfliteOp("REVERSE_V2", (back.output, axis), (output,)),
    ]
    outputs = [there.output, output]
    if merged:
        y = tensor("y", *leading, forward.output_size + backward.output_size)
        ops.append(TfliteOp("CONCATENATION", tuple(outputs), (y,), "ConcatenationOptions", {"axis": 2}))
        outputs = [y]
    names = ("y",) if merged else ("forward", "backward")
    graph = Graph("main", (x,), tuple(outputs), tuple(ops))
    return Program((graph,), (Signature("serving_default", ("x",), names),))


# --- ops that see one step at each invoke --------------------------------------------------------------------


def one_step(op: str, *, batch: int = 1) -> FusedFile:
    """A file that sees one step at each invoke; its meaning is that of a whole sequence, time-major [T, B, n].

    ``op`` is ``LSTM``, ``RNN`` or ``SVDF``, or the name of a sequence op whose time is 1.
    """
    return _ONE_STEP[op](batch)


def _lstm_step(batch: int) -> FusedFile:
    cell = lstm_cell(peephole=True)
    x, y = tensor("x", batch, DEPTH), tensor("y", batch, cell.output_size)
    ops: list[Op] = []
    states = [state_tensor("h", batch, cell.output_size), state_tensor("c", batch, cell.units)]
    given = (x, *lstm_weights(cell, FLOAT32, "", ops), *states, *[None] * 4)
    options = {**lstm_options(cell, FLOAT32), "kernelType": schema.LSTMKernelType.FULL}
    ops.append(TfliteOp("LSTM", given, (y,), "LSTMOptions", options))
    return FusedFile(file_of([x], ops, [y]), stack([cell], batch=batch), {"y": "layer_0_outputs"})


def _rnn_step(batch: int) -> FusedFile:
    cell = rnn_cell()
    x, y = tensor("x", batch, DEPTH), tensor("y", batch, cell.output_size)
    ops: list[Op] = []
    given = (x, *rnn_weights(cell, FLOAT32, "", ops), state_tensor("h", batch, cell.output_size))
    ops.append(TfliteOp("RNN", given, (y,), "RNNOptions", {"fusedActivationFunction": TANH}))
    return FusedFile(file_of([x], ops, [y]), stack([cell], batch=batch), {"y": "layer_0_outputs"})


_ONE_STEP: Mapping[str, Callable[[int], FusedFile]] = {
    "LSTM": _lstm_step,
    "RNN": _rnn_step,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lambda batch: sequence_lstm(lstm_cell(), time=1, batch=batch),
    "UNIDIRECTIONAL_SEQUENCE_LSTM batch-major": lambda batch: sequence_lstm(
        lstm_cell(), time=1, batch=batch, time_major=False
    ),
    "UNIDIRECTIONAL_SEQUENCE_RNN": lambda batch: sequence_rnn(rnn_cell(), time=1, batch=batch),
}
ONE_STEP = tuple(_ONE_STEP)


@dataclass(frozen=True, slots=True, eq=False)
class Svdf:
    """A single-value decomposition filter: its file, and its equations."""

    rank: int = 2
    units: int = 3
    memory: int = 5
    batch: int = 1
    activation: int = schema.ActivationFunctionType.RELU

    def weights(self) -> tuple[Array, Array, Array]:
        """Return feature [filters, depth], time [filters, memory] and bias [units]."""
        rng = np.random.default_rng(4)
        shapes = ((self.rank * self.units, DEPTH), (self.rank * self.units, self.memory), (self.units,))
        feature, time, bias = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        return feature, time, bias

    def data(self) -> bytes:
        """The bytes of the file: x [B, depth] to y [B, units], a step at each invoke."""
        feature, time, bias = self.weights()
        x, y = tensor("x", self.batch, DEPTH), tensor("y", self.batch, self.units)
        state = state_tensor("memory", self.batch, self.memory * len(feature))
        given = (x, constant("feature", feature), constant("time", time), constant("bias", bias), state)
        options = {"rank": self.rank, "fusedActivationFunction": self.activation}
        return file_of([x], [TfliteOp("SVDF", given, (y,), "SVDFOptions", options)], [y])

    def outputs(self, x: Array) -> Array:
        """What a sequence x [T, B, depth] gives from a memory of zeros: y [T, B, units]."""
        feature, time, bias = self.weights()
        memory = np.zeros((self.batch, len(feature), self.memory))
        steps = []
        for step in x.astype(np.float64):
            memory = np.concatenate([memory[:, :, 1:], (step @ feature.T)[:, :, None]], 2)
            filtered = (memory * time).sum(2).reshape(self.batch, self.units, self.rank).sum(2)
            steps.append(np.maximum(filtered + bias, 0.0))
        return np.stack(steps)
