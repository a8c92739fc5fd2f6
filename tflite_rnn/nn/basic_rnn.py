"""The simple recurrent cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import RNNCell, Tensor, as_tensor, check_inputs, check_one_type


@dataclass(frozen=True, slots=True)
class BasicRnnStep:
    """One step of the simple recurrent network (Elman 1990): h' = activation([x, h] kernel + bias), output h'.

    Weights: kernel [depth + units, units], bias [units]. State: (h [batch, units],).
    """

    activation: Activation

    def __call__(
        self, x: Tensor, state: tuple[Tensor], weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor]]:
        """Compute one step: x [batch, depth], state (h,) -> (h', (h',))."""
        (h,) = state
        h = self.activation(tf.matmul(tf.concat([x, h], axis=1), weights["kernel"]) + weights["bias"])
        return h, (h,)


class BasicRNNCell(RNNCell):
    """The simple recurrent cell (Elman 1990): h' = activation([x, h] kernel + bias); the output is h'.

    Variables: kernel [depth + units, units], bias [units] (zeros). State: h [batch, units].

    Args:
        num_units: number of units.
        activation: a function or the Keras name of one; tanh by default.
        reuse: see `RNNCell`.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.
    """

    def __init__(
        self,
        num_units: int,
        activation: str | Activation | None = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.activation = activation_function(activation)

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.num_units

    @property
    def output_size(self) -> int:
        """Number of units."""
        return self.num_units

    def build(self, inputs_shape: Any) -> None:
        """Create kernel and bias."""
        depth = check_inputs(inputs_shape, self.dtype)
        self.kernel = self.add_variable("kernel", [depth + self.num_units, self.num_units])
        self.bias = self.add_variable("bias", [self.num_units], tf.compat.v1.zeros_initializer())

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return the values of the variables, by the names `BasicRnnStep` uses."""
        return {"kernel": as_tensor(self.kernel), "bias": as_tensor(self.bias)}

    def call(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one step: inputs [batch, depth], state [batch, units] -> (h', h')."""
        state = tf.convert_to_tensor(state)
        check_inputs(inputs.shape, inputs.dtype)
        check_one_type(self.dtype, inputs.dtype, state.dtype)
        output, (new_state,) = BasicRnnStep(self.activation)(inputs, (state,), self.weights_by_name())
        return output, new_state
