"""Build cells of the IR from leaf cells of `converter.marker` and their weights, one matrix per gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from converter.ir import (
    Activation,
    Array,
    Cell,
    Gate,
    GruCell,
    LayerNorm,
    LayerNormLstmCell,
    LstmCell,
    Peephole,
    RnnCell,
)
from converter.marker import Attribute, CellSpec

Weights: TypeAlias = Mapping[str, Array]


def knows(leaf: CellSpec) -> bool:
    """Return whether this version knows the kind of a leaf cell."""
    return leaf.kind in _BUILDERS


def build_cell(leaf: CellSpec, weights: Weights) -> Cell:
    """Return a leaf cell of a known kind with its weights. Raises ValueError for an option that the IR lacks."""
    return _BUILDERS[leaf.kind](leaf, weights)


def _basic_rnn(leaf: CellSpec, weights: Weights) -> Cell:
    (gate,) = _gates(weights["kernel"], weights["bias"], 1, leaf.attribute("units"))
    return RnnCell(gate, _activation(leaf))


def _tflite_rnn(leaf: CellSpec, weights: Weights) -> Cell:
    gate = Gate(weights["input_weights"], weights["recurrent_weights"], weights["bias"])
    return RnnCell(gate, _activation(leaf))


def _gru(leaf: CellSpec, weights: Weights) -> Cell:
    units = leaf.attribute("units")
    reset, update = _gates(weights["gates_kernel"], weights["gates_bias"], 2, units)
    if not leaf.attribute("reset_after"):
        (candidate,) = _gates(weights["candidate_kernel"], weights["candidate_bias"], 1, units)
        return GruCell(update, reset, candidate, activation=_activation(leaf))
    candidate = Gate(
        _transposed(weights["candidate_input_kernel"]),
        _transposed(weights["candidate_hidden_kernel"]),
        weights["candidate_input_bias"],
    )
    return GruCell(update, reset, candidate, weights["candidate_hidden_bias"], _activation(leaf))


def _lstm(leaf: CellSpec, weights: Weights) -> Cell:
    gates = _lstm_gates(leaf, weights, weights["bias"], ("input", "cell", "forget", "output"))
    return _lstm_cell(leaf, weights, gates, _projection(weights))


def _tflite_lstm(leaf: CellSpec, weights: Weights) -> Cell:
    gates = {
        gate: Gate(weights[f"input_to_{gate}_w"], weights[f"cell_to_{gate}_w"], weights[f"{gate}_bias"])
        for gate in ("input", "forget", "cell", "output")
    }
    return _lstm_cell(leaf, weights, gates, weights.get("projection_kernel"))


def _coupled_lstm(leaf: CellSpec, weights: Weights) -> Cell:
    order, epsilon = ("cell", "forget", "output"), leaf.attribute("epsilon")
    if epsilon is None:
        gates = _lstm_gates(leaf, weights, weights["bias"], order)
        return _lstm_cell(leaf, weights, gates, _projection(weights))
    gates = _lstm_gates(leaf, weights, _no_bias(weights), order)
    lstm = _lstm_cell(leaf, weights, gates, _projection(weights))
    return LayerNormLstmCell(lstm, None, *_norms(("forget", "transform", "output", "state"), weights, epsilon))


def _layer_norm_lstm(leaf: CellSpec, weights: Weights) -> Cell:
    gates = _lstm_gates(leaf, weights, _no_bias(weights), ("input", "cell", "forget", "output"))
    lstm = _lstm_cell(leaf, weights, gates, None)
    names = ("input", "forget", "transform", "output", "state")
    return LayerNormLstmCell(lstm, *_norms(names, weights, leaf.attribute("epsilon")))


def _keras_rnn(leaf: CellSpec, weights: Weights) -> Cell:
    (gate,) = _keras_gates(weights, weights.get("bias"), 1)
    return RnnCell(gate, _activation(leaf))


def _keras_lstm(leaf: CellSpec, weights: Weights) -> Cell:
    i, f, c, o = _keras_gates(weights, weights.get("bias"), 4)
    return LstmCell(i, f, c, o, activation=_activation(leaf), recurrent_activation=_recurrent_activation(leaf))


def _keras_gru(leaf: CellSpec, weights: Weights) -> Cell:
    units, bias = leaf.attribute("units"), weights.get("bias")
    activations = (_activation(leaf), _recurrent_activation(leaf))
    if not leaf.attribute("reset_after"):
        z, r, h = _keras_gates(weights, bias, 3)
        return GruCell(z, r, h, None, *activations)
    of_input, of_state = np.zeros((2, 3 * units), np.float32) if bias is None else bias
    remembered = of_state[2 * units :]
    # The two biases of z and of r are added up; those of h are not, because the product with h is reset.
    joined = of_input + np.concatenate([of_state[: 2 * units], np.zeros_like(remembered)])
    z, r, h = _keras_gates(weights, joined, 3)
    return GruCell(z, r, h, remembered, *activations)


def _lstm_cell(leaf: CellSpec, weights: Weights, gates: Mapping[str, Gate], projection: Array | None) -> LstmCell:
    """Return the LSTM cell of these gates; attributes that its kind lacks have no effect."""
    options = dict(leaf.attributes)
    return LstmCell(
        input_gate=gates.get("input"),
        forget_gate=gates["forget"],
        cell_gate=gates["cell"],
        output_gate=gates["output"],
        peephole=_peephole(weights),
        projection=projection,
        activation=_activation(leaf),
        cell_clip=_optional_number(options.get("cell_clip")),
        projection_clip=None if projection is None else _optional_number(options.get("proj_clip")),
        forget_bias=_optional_number(options.get("forget_bias")) or 0.0,
    )


def _optional_number(value: Attribute) -> float | None:
    return None if value is None else float(value)


_BUILDERS: Mapping[str, Callable[[CellSpec, Weights], Cell]] = {
    "basic_rnn": _basic_rnn,
    "coupled_lstm": _coupled_lstm,
    "gru": _gru,
    "keras_gru": _keras_gru,
    "keras_lstm": _keras_lstm,
    "keras_rnn": _keras_rnn,
    "layer_norm_lstm": _layer_norm_lstm,
    "lstm": _lstm,
    "tflite_lstm": _tflite_lstm,
    "tflite_rnn": _tflite_rnn,
}


def _activation(leaf: CellSpec) -> Activation:
    return Activation(leaf.attribute("activation"))


def _recurrent_activation(leaf: CellSpec) -> Activation:
    return Activation(leaf.attribute("recurrent_activation"))


def _keras_gates(weights: Weights, bias: Array | None, count: int) -> list[Gate]:
    """Split Keras' kernels [D, count*U] and [U, count*U] and bias [count*U] into one gate per block of columns."""
    joined = np.concatenate([weights["kernel"], weights["recurrent_kernel"]])
    given = np.zeros(joined.shape[1], joined.dtype) if bias is None else bias
    return _gates(joined, given, count, weights["recurrent_kernel"].shape[0])


def _lstm_gates(leaf: CellSpec, weights: Weights, bias: Array, order: Sequence[str]) -> dict[str, Gate]:
    """Return the gates of a kernel [D+O, gates*U] by name; ``order`` is that of its blocks of columns."""
    projection = _projection(weights)
    output = leaf.attribute("units") if projection is None else projection.shape[0]
    return dict(zip(order, _gates(weights["kernel"], bias, len(order), output), strict=True))


def _gates(kernel: Array, bias: Array, count: int, output: int) -> list[Gate]:
    """Split TensorFlow's kernel [D+O, count*U] and bias [count*U] into one gate per block of columns."""
    units, depth = bias.shape[0] // count, kernel.shape[0] - output
    rows = kernel.T.reshape(count, units, kernel.shape[0])
    return [
        Gate(np.ascontiguousarray(block[:, :depth]), np.ascontiguousarray(block[:, depth:]), part)
        for block, part in zip(rows, bias.reshape(count, units), strict=True)
    ]


def _transposed(matrix: Array) -> Array:
    return np.ascontiguousarray(matrix.T)


def _projection(weights: Weights) -> Array | None:
    return _transposed(weights["projection_kernel"]) if "projection_kernel" in weights else None


def _no_bias(weights: Weights) -> Array:
    kernel = weights["kernel"]
    return np.zeros(kernel.shape[1], kernel.dtype)


def _peephole(weights: Weights) -> Peephole | None:
    if "w_f_diag" not in weights:
        return None
    return Peephole(weights.get("w_i_diag"), weights["w_f_diag"], weights["w_o_diag"])


def _norms(names: Iterable[str], weights: Weights, epsilon: float) -> tuple[LayerNorm, ...]:
    return tuple(LayerNorm(weights[f"{name}_gamma"], weights[f"{name}_beta"], epsilon) for name in names)
