"""The LSTM cell and its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import Initializer, RNNCell, Tensor, as_tensor, check_inputs, check_one_type


class LSTMStateTuple(NamedTuple):
    """State of an LSTM cell, or its sizes: c (memory) and h (output)."""

    c: Any
    h: Any

    @property
    def dtype(self) -> Any:
        """Common type of c and h; TypeError if they differ."""
        if self.c.dtype != self.h.dtype:
            raise TypeError(f"c is {self.c.dtype}, h is {self.h.dtype}; the parts of a state have one type")
        return self.c.dtype


@dataclass(frozen=True, slots=True)
class LstmStep:
    """One step of the LSTM (Hochreiter 1997; Gers 2000, 2002; Sak 2014)::

        i, j, f, o = split([x, h] kernel + bias)
        c' = s(f + forget_bias + w_f * c) * c + s(i + w_i * c) * activation(j)
        c' = clip(c', cell_clip)
        h' = s(o + w_o * c') * activation(c')
        h' = clip(h' projection, proj_clip)                  with a projection

    s is the sigmoid, * elementwise. A clip of None does nothing; 0.0 is a bound like any other, and proj_clip
    means nothing without a projection. Weights: kernel [depth + output, 4 units], bias [4 units]; with peepholes
    w_f_diag, w_i_diag, w_o_diag [units]; with a projection projection_kernel [units, output].
    State: (c [batch, units], h [batch, output]). The output is h'.
    """

    activation: Activation
    forget_bias: float
    cell_clip: float | None
    proj_clip: float | None

    def __call__(
        self, x: Tensor, state: tuple[Tensor, Tensor], weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        gates = tf.matmul(tf.concat([x, h], axis=1), weights["kernel"]) + weights["bias"]
        i, j, f, o = tf.split(gates, 4, axis=1)
        f = f + tf.cast(self.forget_bias, f.dtype)
        if "w_f_diag" in weights:
            f, i = f + weights["w_f_diag"] * c, i + weights["w_i_diag"] * c
        c = _clip(tf.sigmoid(f) * c + tf.sigmoid(i) * self.activation(j), self.cell_clip)
        if "w_o_diag" in weights:
            o = o + weights["w_o_diag"] * c
        h = tf.sigmoid(o) * self.activation(c)
        if "projection_kernel" in weights:
            h = _clip(tf.matmul(h, weights["projection_kernel"]), self.proj_clip)
        return h, (c, h)


class LSTMCell(RNNCell):
    """TensorFlow 1's LSTM cell, with peepholes, projection and clipping; `LstmStep` has the equations.

    Variables, in order of creation: kernel [depth + output, 4 units] (columns i, j, f, o), bias [4 units] (zeros),
    w_f_diag, w_i_diag, w_o_diag [units], projection/kernel [units, num_proj]. The output is h.

    Args:
        num_units: number of memory cells.
        use_peepholes: add diagonal connections from the memory to the gates.
        cell_clip: bound of the memory; 0.0 is a bound, None is none.
        initializer: of kernel, peepholes and projection; by default the variable scope's, else Glorot uniform.
        num_proj: depth of the projected output; None for no projection.
        proj_clip: bound of the projected output; means nothing without a projection.
        num_unit_shards: store the kernel in this many row blocks.
        num_proj_shards: store the projection in this many row blocks.
        forget_bias: added to the forget gate on every step.
        state_is_tuple: whether the state is an `LSTMStateTuple`, or c and h side by side in one tensor.
        activation: of the candidate and of the output, a function or a Keras name; tanh by default.
        reuse: see `RNNCell`.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Initializer | None = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int | None = None,
        num_proj_shards: int | None = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: str | Activation | None = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.use_peepholes = use_peepholes
        self.cell_clip = cell_clip
        self.initializer = initializer
        self.num_proj = num_proj
        self.proj_clip = proj_clip
        self.num_unit_shards = num_unit_shards
        self.num_proj_shards = num_proj_shards
        self.forget_bias = forget_bias
        self.state_is_tuple = state_is_tuple
        self.activation = activation_function(activation)

    @property
    def state_size(self) -> LSTMStateTuple | int:
        """Sizes of c and h, or their sum if the state is not a tuple."""
        sizes = LSTMStateTuple(self.num_units, self.output_size)
        return sizes if self.state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> int:
        """Depth of h: num_proj if the cell projects, else num_units."""
        return self.num_proj or self.num_units

    def build(self, inputs_shape: Any) -> None:
        """Create the variables. ValueError for a projection of depth 0."""
        depth = check_inputs(inputs_shape, self.dtype)
        if self.num_proj is not None and self.num_proj < 1:
            raise ValueError(f"num_proj is {self.num_proj}; use at least 1, or None for no projection")
        units = self.num_units
        self.kernel = self.add_variable(
            "kernel", [depth + self.output_size, 4 * units], self.initializer, _shards(self.num_unit_shards)
        )
        self.bias = self.add_variable("bias", [4 * units], tf.compat.v1.zeros_initializer())
        if self.use_peepholes:
            self.w_f_diag = self.add_variable("w_f_diag", [units], self.initializer)
            self.w_i_diag = self.add_variable("w_i_diag", [units], self.initializer)
            self.w_o_diag = self.add_variable("w_o_diag", [units], self.initializer)
        if self.num_proj is not None:
            self.projection_kernel = self.add_variable(
                "projection/kernel", [units, self.num_proj], self.initializer, _shards(self.num_proj_shards)
            )

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return the values of the variables, by the names `LstmStep` uses."""
        return {name: as_tensor(getattr(self, name)) for name in self.weight_names}

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        names = ["kernel", "bias"]
        if self.use_peepholes:
            names += ["w_f_diag", "w_i_diag", "w_o_diag"]
        if self.num_proj is not None:
            names += ["projection_kernel"]
        return tuple(names)

    def call(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Compute one step: inputs [batch, depth] and state -> (h' [batch, output], new state)."""
        state = tf.nest.map_structure(tf.convert_to_tensor, state)
        check_inputs(inputs.shape, inputs.dtype)
        check_one_type(self.dtype, inputs.dtype, *(part.dtype for part in tf.nest.flatten(state)))
        step = LstmStep(self.activation, self.forget_bias, self.cell_clip, self.proj_clip)
        if self.state_is_tuple:
            c, h = state
            output, new_state = step(inputs, (c, h), self.weights_by_name())
            return output, LSTMStateTuple(*new_state)
        c, h = tf.split(state, [self.num_units, self.output_size], axis=1)
        output, new_state = step(inputs, (c, h), self.weights_by_name())
        return output, tf.concat(new_state, axis=1)


def _clip(x: Tensor, bound: float | None) -> Tensor:
    return x if bound is None else tf.clip_by_value(x, -bound, bound)


def _shards(count: int | None) -> Any:
    return None if count is None else tf.compat.v1.fixed_size_partitioner(count)
