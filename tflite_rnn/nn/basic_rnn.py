"""The simple recurrent cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import Tensor, check_inputs
from tflite_rnn.nn.leaf import FlatState, LeafCell


@dataclass(frozen=True, slots=True)
class BasicRnnStep:
    """One step of the simple recurrent network (Elman 1990): h' = activation([x, h] kernel + bias), output h'.

    Weights: kernel [depth + units, units], bias [units]. State: (h [batch, units],).
    """

    activation: Activation

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (h,) -> (h', (h',))."""
        (h,) = state
        h = self.activation(tf.matmul(tf.concat([x, h], axis=1), weights["kernel"]) + weights["bias"])
        return h, (h,)


class SingleStateCell(LeafCell):
    """Base of the cells whose state is their last output h [batch, num_units]."""

    num_units: int

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.num_units

    @property
    def output_size(self) -> int:
        """Number of units."""
        return self.num_units

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of (h,)."""
        return (self.num_units,)


class BasicRNNCell(SingleStateCell):
    """The simple recurrent cell (Elman 1990): h' = activation([x, h] kernel + bias); the output is h'.

    As ``tf.nn.rnn_cell.BasicRNNCell``. Variables: kernel [depth + units, units], bias [units] (zeros).
    State: h [batch, units].

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

    def build(self, inputs_shape: Any) -> None:
        """Create kernel and bias."""
        depth = check_inputs(inputs_shape, self.dtype)
        self.kernel = self.add_variable("kernel", [depth + self.num_units, self.num_units])
        self.bias = self.add_variable("bias", [self.num_units], tf.compat.v1.zeros_initializer())

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Kernel and bias."""
        return ("kernel", "bias")

    def step(self) -> BasicRnnStep:
        """Return the cell's step."""
        return BasicRnnStep(self.activation)
