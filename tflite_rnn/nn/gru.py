"""Gated recurrent units, with the reset gate before or after the recurrent product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.basic_rnn import SingleStateCell
from tflite_rnn.nn.cell import Initializer, Tensor, check_inputs
from tflite_rnn.nn.leaf import FlatState


@dataclass(frozen=True, slots=True)
class GruStep:
    """One step of the gated recurrent unit (Cho 2014), reset *before* the recurrent product::

        r, u = split(s([x, h] gates_kernel + gates_bias))
        candidate = activation([x, r * h] candidate_kernel + candidate_bias)
        h' = u * h + (1 - u) * candidate

    s is the sigmoid, * elementwise. Weights: gates_kernel [depth + units, 2 units], gates_bias [2 units],
    candidate_kernel [depth + units, units], candidate_bias [units]. State: (h [batch, units],). The output is h'.
    """

    activation: Activation

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (h,) -> (h', (h',))."""
        (h,) = state
        r, u = _reset_and_update(x, h, weights)
        candidate = self.activation(
            tf.matmul(tf.concat([x, r * h], axis=1), weights["candidate_kernel"]) + weights["candidate_bias"]
        )
        h = u * h + (1.0 - u) * candidate
        return h, (h,)


@dataclass(frozen=True, slots=True)
class ResetAfterGruStep:
    """One step of the gated recurrent unit as in cuDNN, Keras and PyTorch: reset *after* the recurrent product::

        r, u = split(s([x, h] gates_kernel + gates_bias))
        candidate = activation(x candidate_input_kernel + candidate_input_bias
                               + r * (h candidate_hidden_kernel + candidate_hidden_bias))
        h' = u * h + (1 - u) * candidate

    s is the sigmoid, * elementwise. Weights: gates_kernel [depth + units, 2 units], gates_bias [2 units],
    candidate_input_kernel [depth, units], candidate_input_bias [units], candidate_hidden_kernel [units, units],
    candidate_hidden_bias [units]. State: (h [batch, units],). The output is h'.
    """

    activation: Activation

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (h,) -> (h', (h',))."""
        (h,) = state
        r, u = _reset_and_update(x, h, weights)
        fresh = tf.matmul(x, weights["candidate_input_kernel"]) + weights["candidate_input_bias"]
        past = tf.matmul(h, weights["candidate_hidden_kernel"]) + weights["candidate_hidden_bias"]
        h = u * h + (1.0 - u) * self.activation(fresh + r * past)
        return h, (h,)


def _reset_and_update(x: Tensor, h: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    rows = tf.matmul(tf.concat([x, h], axis=1), weights["gates_kernel"]) + weights["gates_bias"]
    r, u = tf.split(tf.sigmoid(rows), 2, axis=1)
    return r, u


class GRUCell(SingleStateCell):
    """TensorFlow 1's gated recurrent unit (Cho 2014), reset before the recurrent product; see `GruStep`.

    As ``tf.nn.rnn_cell.GRUCell``. Variables, in order of creation: gates/kernel [depth + units, 2 units] (columns
    r, u), gates/bias [2 units] (ones), candidate/kernel [depth + units, units], candidate/bias [units] (zeros).
    State: h [batch, units]. The output is h.

    Args:
        num_units: number of units.
        activation: of the candidate, a function or a Keras name; tanh by default.
        reuse: see `RNNCell`.
        kernel_initializer: of both kernels; by default the variable scope's, else Glorot uniform.
        bias_initializer: of both biases; by default ones for the gates, zeros for the candidate.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.
    """

    def __init__(
        self,
        num_units: int,
        activation: str | Activation | None = None,
        reuse: Any = None,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.activation = activation_function(activation)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer

    def build(self, inputs_shape: Any) -> None:
        """Create the variables."""
        depth, units = check_inputs(inputs_shape, self.dtype), self.num_units
        ones, zeros = _bias_initializers(self.bias_initializer)
        self.gates_kernel = self.add_variable("gates/kernel", [depth + units, 2 * units], self.kernel_initializer)
        self.gates_bias = self.add_variable("gates/bias", [2 * units], ones)
        self.candidate_kernel = self.add_variable(
            "candidate/kernel", [depth + units, units], self.kernel_initializer
        )
        self.candidate_bias = self.add_variable("candidate/bias", [units], zeros)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        return ("gates_kernel", "gates_bias", "candidate_kernel", "candidate_bias")

    def step(self) -> GruStep:
        """Return the cell's step."""
        return GruStep(self.activation)


class CudnnCompatibleGRUCell(SingleStateCell):
    """The gated recurrent unit of cuDNN, Keras (``reset_after=True``) and PyTorch; see `ResetAfterGruStep`.

    As ``tf.contrib.cudnn_rnn.CudnnCompatibleGRUCell``. Variables, in order of creation: gates/kernel
    [depth + units, 2 units] (columns r, u), gates/bias [2 units] (ones), candidate/input_projection/kernel
    [depth, units], candidate/hidden_projection/kernel [units, units], candidate/input_projection/bias and
    candidate/hidden_projection/bias [units] (zeros). The gates' bias is the sum of the two that cuDNN, Keras and
    PyTorch keep. State: h [batch, units]. The output is h.

    Args:
        num_units: number of units.
        reuse: see `RNNCell`.
        kernel_initializer: of the kernels; by default the variable scope's, else Glorot uniform.
        activation: of the candidate, a function or a Keras name; tanh by default.
        bias_initializer: of the biases; by default ones for the gates, zeros for the candidate.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.
    """

    def __init__(
        self,
        num_units: int,
        reuse: Any = None,
        kernel_initializer: Initializer | None = None,
        activation: str | Activation | None = None,
        bias_initializer: Initializer | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.activation = activation_function(activation)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer

    def build(self, inputs_shape: Any) -> None:
        """Create the variables."""
        depth, units = check_inputs(inputs_shape, self.dtype), self.num_units
        ones, zeros = _bias_initializers(self.bias_initializer)
        kernel = self.kernel_initializer
        self.gates_kernel = self.add_variable("gates/kernel", [depth + units, 2 * units], kernel)
        self.gates_bias = self.add_variable("gates/bias", [2 * units], ones)
        self.candidate_input_kernel = self.add_variable(
            "candidate/input_projection/kernel", [depth, units], kernel
        )
        self.candidate_hidden_kernel = self.add_variable(
            "candidate/hidden_projection/kernel", [units, units], kernel
        )
        self.candidate_input_bias = self.add_variable("candidate/input_projection/bias", [units], zeros)
        self.candidate_hidden_bias = self.add_variable("candidate/hidden_projection/bias", [units], zeros)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        return (
            "gates_kernel",
            "gates_bias",
            "candidate_input_kernel",
            "candidate_hidden_kernel",
            "candidate_input_bias",
            "candidate_hidden_bias",
        )

    def step(self) -> ResetAfterGruStep:
        """Return the cell's step."""
        return ResetAfterGruStep(self.activation)


def _bias_initializers(given: Initializer | None) -> tuple[Initializer, Initializer]:
    """Return the initializers of the gates' and of the candidate's biases."""
    if given is not None:
        return given, given
    return tf.compat.v1.ones_initializer(), tf.compat.v1.zeros_initializer()
