"""Small programs for the tests: cells with random weights, and recurrences over a graph input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converter.ir import (
    Activation,
    Array,
    Cell,
    DType,
    Gate,
    GateNorm,
    Graph,
    GruCell,
    LayerNorm,
    LayerNormLstmCell,
    LstmCell,
    MaskedOutput,
    Peephole,
    Program,
    Recurrence,
    RnnCell,
    Shape,
    Signature,
    TensorType,
    Value,
)


def weights(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


def gate(rng: np.random.Generator, units: int, depth: int, output: int) -> Gate:
    return Gate(weights(rng, units, depth), weights(rng, units, output), weights(rng, units))


def rnn_cell(
    *, units: int = 4, depth: int = 3, activation: Activation = Activation.TANH, seed: int = 0
) -> RnnCell:
    return RnnCell(gate(np.random.default_rng(seed), units, depth, units), activation)


def lstm_cell(
    *,
    units: int = 4,
    depth: int = 3,
    projection: int | None = None,
    peephole: bool = False,
    cifg: bool = False,
    activation: Activation = Activation.TANH,
    recurrent_activation: Activation = Activation.SIGMOID,
    cell_clip: float | None = None,
    projection_clip: float | None = None,
    forget_bias: float = 0.0,
    projection_bias: bool = False,
    gate_norm: bool = False,
    seed: int = 0,
) -> LstmCell:
    rng = np.random.default_rng(seed)
    output = units if projection is None else projection
    gates = [gate(rng, units, depth, output) for _ in range(4)]
    diagonals = [weights(rng, units) for _ in range(3)]
    kernel = None if projection is None else weights(rng, projection, units)
    scales = [weights(rng, units) for _ in range(4)]
    return LstmCell(
        input_gate=None if cifg else gates[0],
        forget_gate=gates[1],
        cell_gate=gates[2],
        output_gate=gates[3],
        peephole=Peephole(None if cifg else diagonals[0], diagonals[1], diagonals[2]) if peephole else None,
        projection=kernel,
        activation=activation,
        recurrent_activation=recurrent_activation,
        cell_clip=cell_clip,
        projection_clip=projection_clip,
        forget_bias=forget_bias,
        projection_bias=weights(rng, output) if projection_bias else None,
        gate_norm=GateNorm(None if cifg else scales[0], *scales[1:]) if gate_norm else None,
    )


def gru_cell(
    *,
    units: int = 4,
    depth: int = 3,
    reset_after: bool = False,
    activation: Activation = Activation.TANH,
    recurrent_activation: Activation = Activation.SIGMOID,
    seed: int = 0,
) -> GruCell:
    rng = np.random.default_rng(seed)
    update, reset, candidate = (gate(rng, units, depth, units) for _ in range(3))
    bias = weights(rng, units) if reset_after else None
    return GruCell(update, reset, candidate, bias, activation, recurrent_activation)


def layer_norm_lstm_cell(lstm: LstmCell | None = None, *, seed: int = 0) -> LayerNormLstmCell:
    """The layer-normalised twin of ``lstm``, by default of ``lstm_cell()``."""
    inner = lstm or lstm_cell()
    rng = np.random.default_rng(seed)
    norms = [LayerNorm(weights(rng, inner.units), weights(rng, inner.units), 1e-12) for _ in range(5)]
    return LayerNormLstmCell(inner, norms[0] if inner.input_gate is not None else None, *norms[1:])


def tensor(name: str, *shape: int | None, dtype: DType = DType.FLOAT32) -> Value:
    return Value(name, TensorType(dtype, shape))


def recurrence(
    cell: Cell,
    x: Value,
    *,
    name: str = "rnn",
    time_major: bool = True,
    initial_state: tuple[Value | None, ...] | None = None,
    sequence_length: Value | None = None,
) -> Recurrence:
    leading: Shape = (x.type.shape or (None, None))[:2]
    batch = leading[1 if time_major else 0]
    return Recurrence(
        name=name,
        cell=cell,
        x=x,
        output=tensor(f"{name}/outputs", *leading, cell.output_size),
        initial_state=initial_state or (None,) * len(cell.state_sizes),
        final_state=tuple(tensor(f"{name}/state_{i}", batch, size) for i, size in enumerate(cell.state_sizes)),
        time_major=time_major,
        sequence_length=sequence_length,
    )


def stack(
    cells: Sequence[Cell],
    *,
    time: int | None = None,
    batch: int | None = None,
    time_major: bool = True,
    given_state: bool = False,
) -> Program:
    """A stack of recurrences over the input ``x``; outputs: ``outputs`` of the last, every final state.

    With ``given_state`` every initial state is an input of the program.
    """
    leading = (time, batch) if time_major else (batch, time)
    x = tensor("x", *leading, cells[0].input_size)
    inputs, ops, outputs = [x], [], []
    for layer, cell in enumerate(cells):
        states = tuple(tensor(f"s{layer}_{i}", batch, size) for i, size in enumerate(cell.state_sizes))
        op = recurrence(
            cell, x, name=f"layer_{layer}", time_major=time_major, initial_state=states if given_state else None
        )
        inputs += states if given_state else ()
        outputs += op.final_state
        ops.append(op)
        x = op.output
    return program(inputs, ops, [x, *outputs])


def masked(
    cells: Sequence[Cell],
    *,
    masked_output: MaskedOutput = MaskedOutput.HELD,
    time_major: bool = True,
    given_state: bool = False,
) -> Program:
    """A stack over the inputs ``x`` and ``mask``; with ``given_state`` every initial state is an input, too."""
    x, mask = tensor("x", None, None, cells[0].input_size), tensor("mask", None, None, dtype=DType.BOOL)
    inputs, ops, outputs = [x, mask], [], []
    for layer, cell in enumerate(cells):
        states = tuple(tensor(f"s{layer}_{i}", None, size) for i, size in enumerate(cell.state_sizes))
        initial = states if given_state else None
        op = recurrence(cell, x, name=f"rnn_{layer}", time_major=time_major, initial_state=initial)
        op = replace(op, mask=mask, masked_output=masked_output)
        inputs += states if given_state else ()
        outputs += op.final_state
        ops.append(op)
        x = op.output
    return program(inputs, ops, [x, *outputs])


def program(inputs: Sequence[Value], ops: Sequence[Recurrence], outputs: Sequence[Value]) -> Program:
    names = tuple(value.name.replace("/", "_") for value in outputs)
    signature = Signature("serving_default", tuple(value.name for value in inputs), names)
    return Program((Graph("main", tuple(inputs), tuple(outputs), tuple(ops)),), (signature,))


def random_inputs(rng: np.random.Generator, source: Program, *, time: int, batch: int) -> dict[str, Array]:
    """Values for every input of a program made by `stack`: of order one, of float32."""
    arrays = {}
    for name, value in zip(source.signature.inputs, source.main.inputs, strict=True):
        shape = value.type.shape or ()
        time_major = next(source.recurrences()).time_major
        leading = ((time, batch) if time_major else (batch, time)) if len(shape) == 3 else (batch,)
        arrays[name] = rng.standard_normal((*leading, shape[-1])).astype(np.float32)
    return arrays
