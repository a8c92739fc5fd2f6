"""The cells and the loop over time in numpy, float64, row by row and step by step: the oracle of these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "silu": lambda x: x * sigmoid(x),
    "exponential": np.exp,
}


class Cell(Protocol):
    """One row of one step; ``sizes`` are the depths of the flat state, the last one that of the output."""

    sizes: list[int]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]: ...


class Rnn:
    """h' = a([x, h] kernel + bias)."""

    def __init__(self, weights: Mapping[str, Array], activation: str = "tanh") -> None:
        self.kernel, self.bias = (np.float64(weights[name]) for name in ("kernel", "bias"))
        self.activation = ACTIVATIONS[activation]
        self.sizes = [self.bias.shape[0]]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        h = self.activation(np.concatenate([x, state[0]]) @ self.kernel + self.bias)
        return h, [h]


class Lstm:
    """TensorFlow 1's LSTMCell, gates i, j, f, o."""

    def __init__(
        self,
        weights: Mapping[str, Array],
        activation: str = "tanh",
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
    ) -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.forget_bias, self.cell_clip, self.proj_clip = forget_bias, cell_clip, proj_clip
        units = self.weights["bias"].shape[0] // 4
        projection = self.weights.get("projection_kernel")
        self.sizes = [units, units if projection is None else projection.shape[1]]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w, (c, h), units = self.weights, state, self.sizes[0]
        z = np.concatenate([x, h]) @ w["kernel"] + w["bias"]
        i, j, f, o = (z[k * units : (k + 1) * units] for k in range(4))
        zero = np.zeros(units)
        i, f = i + w.get("w_i_diag", zero) * c, f + w.get("w_f_diag", zero) * c
        c = sigmoid(f + self.forget_bias) * c + sigmoid(i) * self.activation(j)
        if self.cell_clip is not None:
            c = np.clip(c, -self.cell_clip, self.cell_clip)
        h = sigmoid(o + w.get("w_o_diag", zero) * c) * self.activation(c)
        if "projection_kernel" in w:
            h = h @ w["projection_kernel"]
            if self.proj_clip is not None:
                h = np.clip(h, -self.proj_clip, self.proj_clip)
        return h, [c, h]


class TfLiteRnn:
    """h' = a(x W^T + h R^T + b)."""

    def __init__(self, weights: Mapping[str, Array], activation: str = "tanh") -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.sizes = [self.weights["bias"].shape[0]]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w = self.weights
        h = self.activation(w["input_weights"] @ x + w["recurrent_weights"] @ state[0] + w["bias"])
        return h, [h]


class Gru:
    """TensorFlow 1's GRUCell (reset before the product) or CudnnCompatibleGRUCell (after it), gates r, u."""

    def __init__(self, weights: Mapping[str, Array], activation: str = "tanh") -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.sizes = [self.weights["gates_bias"].shape[0] // 2]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w, (h,), units = self.weights, state, self.sizes[0]
        gates = sigmoid(np.concatenate([x, h]) @ w["gates_kernel"] + w["gates_bias"])
        r, u = gates[:units], gates[units:]
        if "candidate_kernel" in w:
            z = np.concatenate([x, r * h]) @ w["candidate_kernel"] + w["candidate_bias"]
        else:
            z = x @ w["candidate_input_kernel"] + w["candidate_input_bias"]
            z = z + r * (h @ w["candidate_hidden_kernel"] + w["candidate_hidden_bias"])
        h = u * h + (1 - u) * self.activation(z)
        return h, [h]


class TfLiteLstm:
    """TensorFlow 1.15's TFLiteLSTMCell: a matrix to each gate, and no forget bias but the variable."""

    def __init__(
        self,
        weights: Mapping[str, Array],
        activation: str = "tanh",
        cell_clip: float | None = None,
        proj_clip: float | None = None,
    ) -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.cell_clip, self.proj_clip = cell_clip, proj_clip
        self.sizes = list(self.weights["cell_to_input_w"].shape)

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w, (c, h) = self.weights, state
        i, f, j, o = (
            w[f"input_to_{g}_w"] @ x + w[f"cell_to_{g}_w"] @ h + w[f"{g}_bias"]
            for g in ("input", "forget", "cell", "output")
        )
        if "w_f_diag" in w:
            i, f = i + w["w_i_diag"] * c, f + w["w_f_diag"] * c
        c = sigmoid(f) * c + sigmoid(i) * self.activation(j)
        if self.cell_clip is not None:
            c = np.clip(c, -self.cell_clip, self.cell_clip)
        h = sigmoid(o + w.get("w_o_diag", 0.0) * c) * self.activation(c)
        if "projection_kernel" in w:
            h = w["projection_kernel"] @ h
            if self.proj_clip is not None:
                h = np.clip(h, -self.proj_clip, self.proj_clip)
        return h, [c, h]


def layer_norm(z: Array, name: str, weights: Mapping[str, Array], epsilon: float = 1e-12) -> Array:
    normalized = (z - z.mean()) / np.sqrt(z.var() + epsilon)
    return normalized * weights[f"{name}_gamma"] + weights[f"{name}_beta"]


class CoupledLstm:
    """CoupledInputForgetGateLSTMCell of tf.contrib.rnn, gates j, f, o."""

    def __init__(
        self,
        weights: Mapping[str, Array],
        activation: str = "tanh",
        forget_bias: float = 1.0,
        proj_clip: float | None = None,
    ) -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.forget_bias, self.proj_clip = forget_bias, proj_clip
        units = self.weights["kernel"].shape[1] // 3
        projection = self.weights.get("projection_kernel")
        self.sizes = [units, units if projection is None else projection.shape[1]]

    def norm(self, z: Array, name: str) -> Array:
        return layer_norm(z, name, self.weights) if "state_gamma" in self.weights else z

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w, (c, h), units = self.weights, state, self.sizes[0]
        z = np.concatenate([x, h]) @ w["kernel"] + w.get("bias", 0.0)
        j = self.norm(z[:units], "transform")
        f = self.norm(z[units : 2 * units], "forget")
        o = self.norm(z[2 * units :], "output")
        f = sigmoid(f + self.forget_bias + w.get("w_f_diag", 0.0) * c)
        c = self.norm(f * c + (1 - f) * self.activation(j), "state")
        h = sigmoid(o + w.get("w_o_diag", 0.0) * c) * self.activation(c)
        if "projection_kernel" in w:
            h = h @ w["projection_kernel"]
            if self.proj_clip is not None:
                h = np.clip(h, -self.proj_clip, self.proj_clip)
        return h, [c, h]


class LayerNormLstm:
    """LayerNormBasicLSTMCell of tf.contrib.rnn, gates i, j, f, o, without dropout."""

    def __init__(self, weights: Mapping[str, Array], activation: str = "tanh", forget_bias: float = 1.0) -> None:
        self.weights = {name: np.float64(value) for name, value in weights.items()}
        self.activation = ACTIVATIONS[activation]
        self.forget_bias = forget_bias
        self.sizes = [self.weights["state_gamma"].shape[0]] * 2

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        w, (c, h), units = self.weights, state, self.sizes[0]
        z = np.concatenate([x, h]) @ w["kernel"]
        i, j, f, o = (
            layer_norm(z[k * units : (k + 1) * units], name, w)
            for k, name in enumerate(("input", "transform", "forget", "output"))
        )
        c = c * sigmoid(f + self.forget_bias) + sigmoid(i) * self.activation(j)
        c = layer_norm(c, "state", w)
        h = self.activation(c) * sigmoid(o)
        return h, [c, h]


class Residual:
    """A cell's inputs added to its outputs."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.sizes = cell.sizes

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        output, new_state = self.cell.step(x, state)
        return x + output, new_state


class Stack:
    """Cells one on top of the other."""

    def __init__(self, *cells: Cell) -> None:
        self.cells = cells
        self.sizes = [size for cell in cells for size in cell.sizes]

    def step(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        remaining, new_state = list(state), []
        for cell in self.cells:
            part = [remaining.pop(0) for _ in cell.sizes]
            x, new_part = cell.step(x, part)
            new_state += new_part
        return x, new_state


def unroll(
    cell: Cell,
    x: Array,
    lengths: Sequence[int] | None = None,
    initial_state: Sequence[Array] | None = None,
) -> tuple[Array, list[Array]]:
    """Run a cell over x [T, B, D] one row after the other; returns outputs [T, B, O] and the flat final state."""
    steps, batch, _ = x.shape
    output_size = cell.sizes[-1]
    outputs = np.zeros([steps, batch, output_size])
    final = [np.zeros([batch, size]) for size in cell.sizes]
    for row in range(batch):
        state = [np.zeros(n) for n in cell.sizes] if initial_state is None else [s[row] for s in initial_state]
        length = steps if lengths is None else lengths[row]
        for time in range(min(steps, max(length, 0))):
            outputs[time, row], state = cell.step(np.float64(x[time, row]), state)
        for target, value in zip(final, state, strict=True):
            target[row] = value
    return outputs, final
