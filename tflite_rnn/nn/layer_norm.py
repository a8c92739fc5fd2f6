"""Layer normalisation, and the LSTM cell that applies it to its gates and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import RNNCell, Tensor
from tflite_rnn.nn.keeping import KeepProbability, is_kept, keep_probability, masked
from tflite_rnn.nn.leaf import FlatState
from tflite_rnn.nn.lstm import AnyLSTMCell, LstmGates, LstmStep, advance_memory

EPSILON = 1e-12


def normalize(x: Tensor, name: str, weights: Mapping[str, Tensor]) -> Tensor:
    """Normalise each row (Ba 2016): (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    x [batch, units]; gamma and beta [units] are ``weights`` of ``name``. epsilon is 1e-12, in float16 1e-3.
    """
    mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
    epsilon = 1e-3 if x.dtype == tf.float16 else EPSILON
    gamma, beta = weights[f"{name}_gamma"], weights[f"{name}_beta"]
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def add_norm(cell: RNNCell, name: str, units: int, gain: float, shift: float) -> None:
    """Create the variables ``<name>/gamma`` and ``<name>/beta`` [units] as ``<name>_gamma``, ``<name>_beta``."""
    ones, zeros = tf.compat.v1.constant_initializer(gain), tf.compat.v1.constant_initializer(shift)
    setattr(cell, f"{name}_gamma", cell.add_variable(f"{name}/gamma", [units], ones))
    setattr(cell, f"{name}_beta", cell.add_variable(f"{name}/beta", [units], zeros))


def norm_names(*norms: str) -> tuple[str, ...]:
    """Return the names of the weights of these normalisations."""
    return tuple(f"{norm}_{part}" for norm in norms for part in ("gamma", "beta"))


@dataclass(frozen=True, slots=True)
class LayerNormLstmStep:
    """One step of the LSTM with layer normalisation (Ba 2016) and recurrent dropout (Semeniuta 2016)::

        i, j, f, o = split([x, h] kernel)
        c' = c * s(norm_forget(f) + forget_bias) + s(norm_input(i)) * dropout(activation(norm_transform(j)))
        c' = norm_state(c')                                  what is stored, too
        h' = activation(c') * s(norm_output(o))

    norm is `normalize`, s the sigmoid, * elementwise; nothing is dropped if ``keep_prob`` is 1. Weights: kernel
    [depth + units, 4 units]; input, transform, forget, output and state have a gamma and a beta [units] each.
    State: (c, h) [batch, units]. The output is h'.
    """

    activation: Activation
    forget_bias: float
    keep_prob: KeepProbability = 1.0
    seed: int | None = None

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        rows = tf.matmul(tf.concat([x, h], axis=1), weights["kernel"])
        i, j, f, o = tf.split(rows, 4, axis=1)
        gates = LstmGates(
            normalize(i, "input", weights),
            masked(self.activation(normalize(j, "transform", weights)), self.keep_prob, self.seed),
            normalize(f, "forget", weights) + tf.cast(self.forget_bias, f.dtype),
            normalize(o, "output", weights),
        )
        h, c = advance_memory(gates, c, {}, self.activation, lambda new: normalize(new, "state", weights))
        return h, (c, h)


@dataclass(frozen=True, slots=True)
class DropoutLstmStep:
    """The step of `LstmStep` with dropout of the candidate, used without layer normalisation."""

    activation: Activation
    forget_bias: float
    keep_prob: KeepProbability
    seed: int | None

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        rows = tf.matmul(tf.concat([x, h], axis=1), weights["kernel"]) + weights["bias"]
        i, j, f, o = tf.split(rows, 4, axis=1)
        candidate = masked(self.activation(j), self.keep_prob, self.seed)
        gates = LstmGates(i, candidate, f + tf.cast(self.forget_bias, f.dtype), o)
        h, c = advance_memory(gates, c, {}, self.activation)
        return h, (c, h)


class LayerNormBasicLSTMCell(AnyLSTMCell):
    """The LSTM cell with layer normalisation and recurrent dropout; `LayerNormLstmStep` has the equations.

    As ``tf.contrib.rnn.LayerNormBasicLSTMCell``: the memory that is stored is the normalised one, and dropout is
    applied to the candidate only. Variables, in order of creation: kernel [depth + units, 4 units] (columns
    i, j, f, o), then input/gamma, input/beta [units] and likewise for transform, forget, output and state; without
    layer normalisation kernel and bias [4 units] (zeros). The output is h.

    Args:
        num_units: number of memory cells.
        forget_bias: added to the (normalised) forget gate on every step.
        input_size: ignored.
        activation: of the candidate and of the output, a function or a Keras name; tanh by default.
        layer_norm: whether to normalise.
        norm_gain: initial value of every gamma.
        norm_shift: initial value of every beta.
        dropout_keep_prob: probability, a number or a tensor, to keep an element of the candidate.
        dropout_prob_seed: seed of the dropout.
        reuse: see `RNNCell`.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.

    Raises:
        ValueError: ``dropout_keep_prob`` is not between 0 and 1.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: str | Activation | None = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: int | None = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.forget_bias = forget_bias
        self.input_size = input_size
        self.activation = activation_function(activation)
        self.layer_norm = layer_norm
        self.norm_gain = norm_gain
        self.norm_shift = norm_shift
        self.dropout_keep_prob = keep_probability("dropout_keep_prob", dropout_keep_prob)
        self.dropout_prob_seed = dropout_prob_seed

    def build(self, inputs_shape: Any) -> None:
        """Create the variables."""
        depth, units = self.check_sizes(inputs_shape), self.num_units
        self.kernel = self.add_variable("kernel", [depth + units, 4 * units])
        if not self.layer_norm:
            self.bias = self.add_variable("bias", [4 * units], tf.compat.v1.zeros_initializer())
            return
        for name in ("input", "transform", "forget", "output", "state"):
            add_norm(self, name, units, self.norm_gain, self.norm_shift)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        if not self.layer_norm:
            return ("kernel", "bias")
        return ("kernel", *norm_names("input", "transform", "forget", "output", "state"))

    def step(self) -> LayerNormLstmStep | DropoutLstmStep | LstmStep:
        """Return the cell's step."""
        if self.layer_norm:
            return LayerNormLstmStep(
                self.activation, self.forget_bias, self.dropout_keep_prob, self.dropout_prob_seed
            )
        if is_kept(self.dropout_keep_prob):
            return LstmStep(self.activation, self.forget_bias)
        return DropoutLstmStep(self.activation, self.forget_bias, self.dropout_keep_prob, self.dropout_prob_seed)
