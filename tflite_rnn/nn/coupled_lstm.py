"""The LSTM cell with coupled input and forget gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import Initializer, Tensor
from tflite_rnn.nn.layer_norm import add_norm, norm_names, normalize
from tflite_rnn.nn.leaf import FlatState
from tflite_rnn.nn.lstm import AnyLSTMCell, LstmGates, advance_memory, clip


@dataclass(frozen=True, slots=True)
class CoupledLstmStep:
    """One step of the LSTM with coupled input and forget gates (Greff 2015)::

        j, f, o = split([x, h] kernel + bias)
        f = s(f + forget_bias + w_f * c)
        c' = f * c + (1 - f) * activation(j)
        h' = s(o + w_o * c') * activation(c')
        h' = clip(h' projection, proj_clip)                  with a projection

    s is the sigmoid, * elementwise. With ``layer_norm`` there is no bias; j, f and o are normalised (see
    `normalize`) before anything is added to them, and c' before it is used and stored. Weights: kernel
    [depth + output, 3 units]; bias [3 units], or a gamma and a beta [units] each of transform, forget, output and
    state; with peepholes w_f_diag, w_o_diag [units]; with a projection projection_kernel [units, output].
    State: (c [batch, units], h [batch, output]). The output is h'.
    """

    activation: Activation
    forget_bias: float
    proj_clip: float | None
    layer_norm: bool

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        rows = tf.matmul(tf.concat([x, h], axis=1), weights["kernel"])
        rows = rows if self.layer_norm else rows + weights["bias"]
        j, f, o = (
            self._norm(part, name, weights)
            for name, part in zip(("transform", "forget", "output"), tf.split(rows, 3, axis=1), strict=True)
        )
        gates = LstmGates(None, self.activation(j), f + tf.cast(self.forget_bias, f.dtype), o)
        h, c = advance_memory(gates, c, weights, self.activation, lambda new: self._norm(new, "state", weights))
        if "projection_kernel" in weights:
            h = clip(tf.matmul(h, weights["projection_kernel"]), self.proj_clip)
        return h, (c, h)

    def _norm(self, x: Tensor, name: str, weights: Mapping[str, Tensor]) -> Tensor:
        return normalize(x, name, weights) if self.layer_norm else x


class CoupledInputForgetGateLSTMCell(AnyLSTMCell):
    """The LSTM cell whose input gate is 1 - its forget gate; `CoupledLstmStep` has the equations.

    As ``tf.contrib.rnn.CoupledInputForgetGateLSTMCell``. Variables, in order of creation: W_0 [depth + output,
    3 units] (columns j, f, o), B [3 units] (zeros; means nothing with layer normalisation), W_F_diag, W_O_diag
    [units], with layer normalisation transform/gamma, transform/beta [units] and likewise for forget, output and
    state; W_P_0 [units, num_proj]. Shards are W_0, W_1, ... The output is h. ValueError at first use for a
    projection of depth 0, or for more shards than rows.

    Args:
        num_units: number of memory cells.
        use_peepholes: add diagonal connections from the memory to the gates.
        initializer: of kernel, peepholes and projection; by default the variable scope's, else Glorot uniform.
        num_proj: depth of the projected output; None for no projection.
        proj_clip: bound of the projected output; ignored without a projection.
        num_unit_shards: store the kernel in this many row blocks.
        num_proj_shards: store the projection in this many row blocks.
        forget_bias: added to the forget gate on every step.
        state_is_tuple: whether the state is an `LSTMStateTuple`, or c and h side by side in one tensor.
        activation: of the candidate and of the output, a function or a Keras name; tanh by default.
        reuse: see `RNNCell`.
        layer_norm: whether to normalise gates and memory.
        norm_gain: initial value of every gamma.
        norm_shift: initial value of every beta.
        name: see `RNNCell`.
        dtype: see `RNNCell`.
        trainable: see `RNNCell`.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        initializer: Initializer | None = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int = 1,
        num_proj_shards: int = 1,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: str | Activation | None = None,
        reuse: Any = None,
        layer_norm: bool = False,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, reuse=reuse, trainable=trainable)
        self.num_units = num_units
        self.use_peepholes = use_peepholes
        self.initializer = initializer
        self.num_proj = num_proj
        self.proj_clip = proj_clip
        self.num_unit_shards = num_unit_shards
        self.num_proj_shards = num_proj_shards
        self.forget_bias = forget_bias
        self.state_is_tuple = state_is_tuple
        self.activation = activation_function(activation)
        self.layer_norm = layer_norm
        self.norm_gain = norm_gain
        self.norm_shift = norm_shift

    def build(self, inputs_shape: Any) -> None:
        """Create the variables. ValueError for a projection of depth 0 or too many shards."""
        depth, units = self.check_sizes(inputs_shape), self.num_units
        self.kernel = self._add_shards("W", [depth + self.output_size, 3 * units], self.num_unit_shards)
        self.bias = self.add_variable("B", [3 * units], tf.compat.v1.zeros_initializer())
        if self.use_peepholes:
            self.w_f_diag = self.add_variable("W_F_diag", [units], self.initializer)
            self.w_o_diag = self.add_variable("W_O_diag", [units], self.initializer)
        if self.layer_norm:
            for name in ("transform", "forget", "output", "state"):
                add_norm(self, name, units, self.norm_gain, self.norm_shift)
        if self.num_proj is not None:
            self.projection_kernel = self._add_shards("W_P", [units, self.num_proj], self.num_proj_shards)

    def _add_shards(self, name: str, shape: list[int], shards: int) -> tuple[Any, ...]:
        rows, columns = shape
        if not 1 <= shards <= rows:
            raise ValueError(f"cannot split {name} of shape {shape} into {shards} row blocks; use 1 to {rows}")
        sizes = [rows // shards + (index < rows % shards) for index in range(shards)]
        return tuple(
            self.add_variable(f"{name}_{index}", [size, columns], self.initializer)
            for index, size in enumerate(sizes)
        )

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights that the cell uses, in order of creation."""
        bias = () if self.layer_norm else ("bias",)
        peepholes = ("w_f_diag", "w_o_diag") if self.use_peepholes else ()
        norms = norm_names("transform", "forget", "output", "state") if self.layer_norm else ()
        projection = ("projection_kernel",) if self.num_proj is not None else ()
        return ("kernel", *bias, *peepholes, *norms, *projection)

    def step(self) -> CoupledLstmStep:
        """Return the cell's step."""
        return CoupledLstmStep(self.activation, self.forget_bias, self.proj_clip, self.layer_norm)
