"""LSTM cells with one kernel for all gates, and the base of every LSTM cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.cell import Initializer, Tensor, check_inputs
from tflite_rnn.nn.leaf import FlatState, LeafCell


class LSTMStateTuple(NamedTuple):
    """State of an LSTM cell, or its sizes: c (memory) and h (output)."""

    c: Any
    h: Any

    @property
    def dtype(self) -> Any:
        """Common type of c and h. Raises TypeError if they differ."""
        if self.c.dtype != self.h.dtype:
            raise TypeError(
                f"the parts of a state must be of one type, but saw c of {self.c.dtype} and h of {self.h.dtype}"
            )
        return self.c.dtype


class LstmGates(NamedTuple):
    """The gates of one step, [batch, units] each: ``candidate`` is activated, the others are not yet.

    ``forget`` includes the forget bias. ``input`` is None if it is coupled to the forget gate.
    """

    input: Tensor | None
    candidate: Tensor
    forget: Tensor
    output: Tensor


def advance_memory(
    gates: LstmGates,
    c: Tensor,
    weights: Mapping[str, Tensor],
    activation: Activation,
    bounded: Callable[[Tensor], Tensor] = tf.identity,
) -> tuple[Tensor, Tensor]:
    """Return (s(output + w_o * c') * activation(c'), c') of an LSTM, before any projection::

        c' = bounded(s(forget + w_f * c) * c + i * candidate)
        i = s(input + w_i * c), or 1 - s(forget + w_f * c) without an input gate

    The peephole weights w_f_diag, w_i_diag, w_o_diag [units] count as 0 where ``weights`` has none.
    """
    i, candidate, f, o = gates
    if "w_f_diag" in weights:
        f = f + weights["w_f_diag"] * c
    if i is not None and "w_i_diag" in weights:
        i = i + weights["w_i_diag"] * c
    kept = tf.sigmoid(f)
    admitted = 1.0 - kept if i is None else tf.sigmoid(i)
    c = bounded(kept * c + admitted * candidate)
    if "w_o_diag" in weights:
        o = o + weights["w_o_diag"] * c
    return tf.sigmoid(o) * activation(c), c


def clip(x: Tensor, bound: float | None) -> Tensor:
    """Clip to [-bound, bound]; None clips nothing."""
    return x if bound is None else tf.clip_by_value(x, -bound, bound)


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
    cell_clip: float | None = None
    proj_clip: float | None = None

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        rows = tf.matmul(tf.concat([x, h], axis=1), weights["kernel"]) + weights["bias"]
        i, j, f, o = tf.split(rows, 4, axis=1)
        gates = LstmGates(i, self.activation(j), f + tf.cast(self.forget_bias, f.dtype), o)
        h, c = advance_memory(gates, c, weights, self.activation, lambda new: clip(new, self.cell_clip))
        if "projection_kernel" in weights:
            h = clip(tf.matmul(h, weights["projection_kernel"]), self.proj_clip)
        return h, (c, h)


class AnyLSTMCell(LeafCell):
    """Base of all LSTM cells: the state (c [batch, units], h [batch, output]), the output h.

    ``state_is_tuple`` says whether the state is an `LSTMStateTuple`, or c and h side by side in one tensor;
    ``num_proj`` is the depth of the projected output, None without a projection.
    """

    num_units: int
    num_proj: int | None = None
    state_is_tuple: bool = True

    @property
    def state_size(self) -> LSTMStateTuple | int:
        """Sizes of c and h, or their sum if the state is not a tuple."""
        return LSTMStateTuple(*self.state_sizes) if self.state_is_tuple else sum(self.state_sizes)

    @property
    def output_size(self) -> int:
        """Depth of h: num_proj if the cell projects, else num_units."""
        return self.num_proj or self.num_units

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depths of (c, h)."""
        return (self.num_units, self.output_size)

    def check_sizes(self, inputs_shape: Any) -> int:
        """Return the depth of the inputs. Raises ValueError if it is unknown, or for a projection of depth 0."""
        if self.num_proj is not None and self.num_proj < 1:
            raise ValueError(f"num_proj must be at least 1, or None for no projection, but saw {self.num_proj}")
        return check_inputs(inputs_shape, self.dtype)


class LSTMCell(AnyLSTMCell):
    """TensorFlow 1's LSTM cell, with peepholes, projection and clipping; `LstmStep` has the equations.

    As ``tf.nn.rnn_cell.LSTMCell``. Variables, in order of creation: kernel [depth + output, 4 units] (columns
    i, j, f, o), bias [4 units] (zeros), w_f_diag, w_i_diag, w_o_diag [units], projection/kernel
    [units, num_proj]. The output is h. ValueError at first use for a projection of depth 0.

    Args:
        num_units: number of memory cells.
        use_peepholes: add diagonal connections from the memory to the gates.
        cell_clip: bound of the memory, 0.0 included; None for no bound.
        initializer: of kernel, peepholes and projection; by default the variable scope's, else Glorot uniform.
        num_proj: depth of the projected output; None for no projection.
        proj_clip: bound of the projected output; ignored without a projection.
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

    def build(self, inputs_shape: Any) -> None:
        """Create the variables. ValueError for a projection of depth 0."""
        depth, units = self.check_sizes(inputs_shape), self.num_units
        self.kernel = self.add_variable(
            "kernel", [depth + self.output_size, 4 * units], self.initializer, row_blocks(self.num_unit_shards)
        )
        self.bias = self.add_variable("bias", [4 * units], tf.compat.v1.zeros_initializer())
        if self.use_peepholes:
            self.w_f_diag = self.add_variable("w_f_diag", [units], self.initializer)
            self.w_i_diag = self.add_variable("w_i_diag", [units], self.initializer)
            self.w_o_diag = self.add_variable("w_o_diag", [units], self.initializer)
        if self.num_proj is not None:
            self.projection_kernel = self.add_variable(
                "projection/kernel", [units, self.num_proj], self.initializer, row_blocks(self.num_proj_shards)
            )

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        peepholes = ("w_f_diag", "w_i_diag", "w_o_diag") if self.use_peepholes else ()
        projection = ("projection_kernel",) if self.num_proj is not None else ()
        return ("kernel", "bias", *peepholes, *projection)

    def step(self) -> LstmStep:
        """Return the cell's step."""
        return LstmStep(self.activation, self.forget_bias, self.cell_clip, self.proj_clip)


class BasicLSTMCell(AnyLSTMCell):
    """TensorFlow 1's basic LSTM cell (Hochreiter 1997, Gers 2000): no peepholes, projection or clipping::

        i, j, f, o = split([x, h] kernel + bias)
        c' = c * s(f + forget_bias) + s(i) * activation(j)
        h' = activation(c') * s(o)

    As ``tf.nn.rnn_cell.BasicLSTMCell``. Variables: kernel [depth + units, 4 units] (columns i, j, f, o), bias
    [4 units] (zeros). The output is h'.

    Args:
        num_units: number of memory cells.
        forget_bias: added to the forget gate on every step; 0.0 for weights that come from cuDNN.
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
        self.forget_bias = forget_bias
        self.state_is_tuple = state_is_tuple
        self.activation = activation_function(activation)

    def build(self, inputs_shape: Any) -> None:
        """Create kernel and bias."""
        depth, units = self.check_sizes(inputs_shape), self.num_units
        self.kernel = self.add_variable("kernel", [depth + units, 4 * units])
        self.bias = self.add_variable("bias", [4 * units], tf.compat.v1.zeros_initializer())

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Kernel and bias."""
        return ("kernel", "bias")

    def step(self) -> LstmStep:
        """Return the cell's step."""
        return LstmStep(self.activation, self.forget_bias)


def row_blocks(count: int | None) -> Any:
    """Return the partitioner that stores a variable in ``count`` row blocks, None for one block."""
    return None if count is None else tf.compat.v1.fixed_size_partitioner(count)
