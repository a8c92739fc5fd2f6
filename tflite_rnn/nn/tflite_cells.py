"""The cells of TensorFlow 1.15's ``tf.lite.experimental.nn``: weights in the layout of TFLite's fused ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.activations import Activation, activation_function
from tflite_rnn.nn.basic_rnn import SingleStateCell
from tflite_rnn.nn.cell import Initializer, Tensor, check_inputs, check_one_type
from tflite_rnn.nn.leaf import FlatState
from tflite_rnn.nn.lstm import AnyLSTMCell, LstmGates, advance_memory, clip, row_blocks


@dataclass(frozen=True, slots=True)
class TfLiteRnnStep:
    """One step: h' = activation(x input_weights^T + h recurrent_weights^T + bias), output h'.

    Weights: input_weights [units, depth], recurrent_weights [units, units], bias [units].
    State: (h [batch, units],).
    """

    activation: Activation

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (h,) -> (h', (h',))."""
        (h,) = state
        rows = _by_rows(x, weights["input_weights"]) + _by_rows(h, weights["recurrent_weights"])
        h = self.activation(rows + weights["bias"])
        return h, (h,)


@dataclass(frozen=True, slots=True)
class TfLiteLstmStep:
    """One step of the LSTM, one matrix per gate::

        i = x input_to_input_w^T + h cell_to_input_w^T + input_bias         likewise f, j (cell) and o
        c' = s(f + w_f * c) * c + s(i + w_i * c) * activation(j)
        c' = clip(c', cell_clip)
        h' = s(o + w_o * c') * activation(c')
        h' = clip(h' projection^T, proj_clip)                               with a projection

    s is the sigmoid, * elementwise; clips as in `LstmStep`. There is no forget bias besides the variable.
    Weights: input_to_{input,forget,cell,output}_w [units, depth], cell_to_{input,forget,cell,output}_w
    [units, output], {input,forget,cell,output}_bias [units]; with peepholes w_f_diag, w_i_diag, w_o_diag [units];
    with a projection projection_kernel [output, units]. State: (c [batch, units], h [batch, output]).
    """

    activation: Activation
    cell_clip: float | None
    proj_clip: float | None

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], state (c, h) -> (h', (c', h'))."""
        c, h = state
        i, j, f, o = (
            _by_rows(x, weights[f"input_to_{gate}_w"])
            + _by_rows(h, weights[f"cell_to_{gate}_w"])
            + weights[f"{gate}_bias"]
            for gate in ("input", "cell", "forget", "output")
        )
        gates = LstmGates(i, self.activation(j), f, o)
        h, c = advance_memory(gates, c, weights, self.activation, lambda new: clip(new, self.cell_clip))
        if "projection_kernel" in weights:
            h = clip(_by_rows(h, weights["projection_kernel"]), self.proj_clip)
        return h, (c, h)


def _by_rows(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply x [batch, n] by a matrix [m, n] that keeps a row for each of its m results."""
    return tf.matmul(x, matrix, transpose_b=True)


def _assert_weight_type(name: str, weights: Any, inputs: Any) -> None:
    """Raise AssertionError unless inputs are of the weights' type, as the cells of TensorFlow 1.15 did."""
    if inputs != weights:
        raise AssertionError(
            f"{name}: expected inputs of the weights' type {weights.name}, got {inputs.name}; cast the inputs"
        )


class TfLiteRNNCell(SingleStateCell):
    """The simple recurrent cell in the layout of TFLite; `TfLiteRnnStep` has the equation.

    As ``tf.lite.experimental.nn.TfLiteRNNCell``. Variables, in order of creation: input_weights [units, depth],
    recurrent_weights [units, units], bias [units] (zeros). State: h [batch, units]. The output is h.
    AssertionError if inputs are of another type than the variables.

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
        """Create the variables."""
        depth, units = check_inputs(inputs_shape, self.dtype), self.num_units
        self.input_weights = self.add_variable("input_weights", [units, depth])
        self.recurrent_weights = self.add_variable("recurrent_weights", [units, units])
        self.bias = self.add_variable("bias", [units], tf.compat.v1.zeros_initializer())

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        return ("input_weights", "recurrent_weights", "bias")

    def step(self) -> TfLiteRnnStep:
        """Return the cell's step."""
        return TfLiteRnnStep(self.activation)

    def check_types(self, inputs: Any, *others: Any) -> None:
        """Raise AssertionError unless inputs have the type of the weights, ValueError unless the state does."""
        _assert_weight_type(self.name, self.dtype, inputs)
        check_one_type(inputs, *others)


class TFLiteLSTMCell(AnyLSTMCell):
    """The LSTM cell in the layout of TFLite, one matrix per gate; `TfLiteLstmStep` has the equations.

    As ``tf.lite.experimental.nn.TFLiteLSTMCell`` of TensorFlow 1.14 and 1.15. Variables, in order of creation:
    input_to_input_w, input_to_forget_w, input_to_cell_w, input_to_output_w [units, depth]; cell_to_input_w,
    cell_to_forget_w, cell_to_cell_w, cell_to_output_w [units, output]; input_bias, forget_bias, cell_bias,
    output_bias [units] (zeros, forget_bias the number given); w_f_diag, w_i_diag, w_o_diag [units];
    projection/kernel [num_proj, units]. The output is h. AssertionError if inputs are of another type than the
    variables, ValueError at first use for a projection of depth 0.

    To take over the weights of an `LSTMCell`, split and transpose its kernel and add its forget_bias to the
    columns f of its bias: there it is added on every step, here it is part of the variable.

    Args:
        num_units: number of memory cells.
        use_peepholes: add diagonal connections from the memory to the gates.
        cell_clip: bound of the memory, 0.0 included; None for no bound.
        initializer: of all matrices and peepholes; by default the variable scope's, else Glorot uniform.
        num_proj: depth of the projected output; None for no projection.
        proj_clip: bound of the projected output; ignored without a projection.
        num_unit_shards: store every variable but the projection in this many row blocks.
        num_proj_shards: store the projection in this many row blocks.
        forget_bias: initial value of the variable forget_bias, and nothing else.
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
        self.initial_forget_bias = forget_bias
        self.state_is_tuple = state_is_tuple
        self.activation = activation_function(activation)

    def build(self, inputs_shape: Any) -> None:
        """Create the variables. ValueError for a projection of depth 0."""
        depth, units = self.check_sizes(inputs_shape), self.num_units
        zeros = tf.compat.v1.zeros_initializer()
        remembering = tf.compat.v1.constant_initializer(self.initial_forget_bias)
        given = self.initializer
        self.input_to_input_w = self._add("input_to_input_w", [units, depth], given)
        self.input_to_forget_w = self._add("input_to_forget_w", [units, depth], given)
        self.input_to_cell_w = self._add("input_to_cell_w", [units, depth], given)
        self.input_to_output_w = self._add("input_to_output_w", [units, depth], given)
        self.cell_to_input_w = self._add("cell_to_input_w", [units, self.output_size], given)
        self.cell_to_forget_w = self._add("cell_to_forget_w", [units, self.output_size], given)
        self.cell_to_cell_w = self._add("cell_to_cell_w", [units, self.output_size], given)
        self.cell_to_output_w = self._add("cell_to_output_w", [units, self.output_size], given)
        self.input_bias = self._add("input_bias", [units], zeros)
        self.forget_bias = self._add("forget_bias", [units], remembering)
        self.cell_bias = self._add("cell_bias", [units], zeros)
        self.output_bias = self._add("output_bias", [units], zeros)
        if self.use_peepholes:
            self.w_f_diag = self._add("w_f_diag", [units], given)
            self.w_i_diag = self._add("w_i_diag", [units], given)
            self.w_o_diag = self._add("w_o_diag", [units], given)
        if self.num_proj is not None:
            self.projection_kernel = self.add_variable(
                "projection/kernel", [self.num_proj, units], given, row_blocks(self.num_proj_shards)
            )

    def _add(self, name: str, shape: list[int], initializer: Initializer | None) -> Any:
        return self.add_variable(name, shape, initializer, row_blocks(self.num_unit_shards))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in order of creation."""
        gates = ("input", "forget", "cell", "output")
        peepholes = ("w_f_diag", "w_i_diag", "w_o_diag") if self.use_peepholes else ()
        projection = ("projection_kernel",) if self.num_proj is not None else ()
        return (
            *(f"input_to_{gate}_w" for gate in gates),
            *(f"cell_to_{gate}_w" for gate in gates),
            *(f"{gate}_bias" for gate in gates),
            *peepholes,
            *projection,
        )

    def step(self) -> TfLiteLstmStep:
        """Return the cell's step."""
        return TfLiteLstmStep(self.activation, self.cell_clip, self.proj_clip)

    def check_types(self, inputs: Any, *others: Any) -> None:
        """Raise AssertionError unless inputs have the type of the weights, ValueError unless the state does."""
        _assert_weight_type(self.name, self.dtype, inputs)
        check_one_type(inputs, *others)
