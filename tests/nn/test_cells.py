"""Cells: their variables, and the mathematics of one step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from converter.ir.cells import Activation
from tests.nn import reference
from tflite_rnn import nn
from tflite_rnn.nn.activations import ACTIVATIONS

v1 = tf.compat.v1


def unnamed_tanh(x):
    return tf.tanh(x)


RNG = np.random.default_rng(7)
X = RNG.normal(size=[2, 3]).astype(np.float32)
C = RNG.normal(size=[2, 4]).astype(np.float32)
H = RNG.normal(size=[2, 4]).astype(np.float32)
H2 = RNG.normal(size=[2, 2]).astype(np.float32)


def graph_variables(build):
    """Names (without ":0") and shapes of the variables that build(x) makes in a TensorFlow 1 graph, in order."""
    with v1.Graph().as_default():
        build(v1.placeholder(tf.float32, [None, None, 3]))
        return [(v.op.name, v.shape.as_list()) for v in v1.global_variables()]


def randomized(cell):
    for variable in cell.variables:
        variable.assign(RNG.normal(size=variable.shape))
    return cell


def numpy_weights(cell):
    return {name: value.numpy() for name, value in cell.weights_by_name().items()}


def check_step(cell, oracle, state, rtol=1e-5):
    output, new_state = cell(X, state)
    flat = [np.float64(part) for part in tf.nest.flatten(state)]
    for row in range(2):
        expected, expected_state = oracle.step(np.float64(X[row]), [part[row] for part in flat])
        np.testing.assert_allclose(output[row], expected, rtol, 1e-6)
        for seen, wanted in zip(tf.nest.flatten(new_state), expected_state, strict=True):
            np.testing.assert_allclose(seen[row], wanted, rtol, 1e-6)


# variables ----------------------------------------------------------------------------------------


def test_basic_rnn_cell_names_its_variables_like_tensorflow_1():
    names = graph_variables(lambda x: nn.dynamic_rnn(nn.BasicRNNCell(4), x, dtype=tf.float32))
    assert names == [("rnn/basic_rnn_cell/kernel", [7, 4]), ("rnn/basic_rnn_cell/bias", [4])]


def test_lstm_cell_creates_kernel_bias_peepholes_projection_in_this_order():
    cell = nn.LSTMCell(4, use_peepholes=True, num_proj=2)
    assert graph_variables(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)) == [
        ("rnn/lstm_cell/kernel", [5, 16]),
        ("rnn/lstm_cell/bias", [16]),
        ("rnn/lstm_cell/w_f_diag", [4]),
        ("rnn/lstm_cell/w_i_diag", [4]),
        ("rnn/lstm_cell/w_o_diag", [4]),
        ("rnn/lstm_cell/projection/kernel", [4, 2]),
    ]


def test_a_stack_numbers_its_cells():
    cell = nn.MultiRNNCell([nn.LSTMCell(4), nn.BasicRNNCell(2, name="top")])
    assert graph_variables(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)) == [
        ("rnn/multi_rnn_cell/cell_0/lstm_cell/kernel", [7, 16]),
        ("rnn/multi_rnn_cell/cell_0/lstm_cell/bias", [16]),
        ("rnn/multi_rnn_cell/cell_1/top/kernel", [6, 2]),
        ("rnn/multi_rnn_cell/cell_1/top/bias", [2]),
    ]


def test_shards_split_kernel_and_projection_by_rows():
    cell = nn.LSTMCell(4, num_proj=2, num_unit_shards=2, num_proj_shards=2)
    assert graph_variables(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)) == [
        ("rnn/lstm_cell/kernel/part_0", [3, 16]),
        ("rnn/lstm_cell/kernel/part_1", [2, 16]),
        ("rnn/lstm_cell/bias", [16]),
        ("rnn/lstm_cell/projection/kernel/part_0", [2, 2]),
        ("rnn/lstm_cell/projection/kernel/part_1", [2, 2]),
    ]


def test_an_unmarked_cell_first_used_inside_the_loop_makes_the_same_variables():
    cell = nn.MultiRNNCell([nn.LSTMCell(4, activation=unnamed_tanh), nn.BasicRNNCell(2)])
    names = [name for name, _ in graph_variables(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32))]
    assert names == [
        "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel",
        "rnn/multi_rnn_cell/cell_0/lstm_cell/bias",
        "rnn/multi_rnn_cell/cell_1/basic_rnn_cell/kernel",
        "rnn/multi_rnn_cell/cell_1/basic_rnn_cell/bias",
    ]


def test_two_cells_in_one_scope_are_refused_unless_the_scope_reuses():
    def clash(x):
        nn.dynamic_rnn(nn.BasicRNNCell(4), x, dtype=tf.float32)
        with pytest.raises(ValueError, match="Variable rnn/basic_rnn_cell/kernel already exists, disallowed"):
            nn.dynamic_rnn(nn.BasicRNNCell(4), x, dtype=tf.float32)
        with v1.variable_scope("rnn", reuse=True) as scope:
            pass
        nn.dynamic_rnn(nn.BasicRNNCell(4), x, dtype=tf.float32, scope=scope)
        nn.dynamic_rnn(nn.BasicRNNCell(4, reuse=v1.AUTO_REUSE), x, dtype=tf.float32)

    assert len(graph_variables(clash)) == 2


def test_one_cell_object_keeps_its_first_variables_in_another_scope():
    cell = nn.BasicRNNCell(4)

    def twice(x):
        nn.dynamic_rnn(cell, x, dtype=tf.float32, scope="first")
        nn.dynamic_rnn(cell, x, dtype=tf.float32, scope="second")

    assert [name for name, _ in graph_variables(twice)] == [
        "first/basic_rnn_cell/kernel",
        "first/basic_rnn_cell/bias",
    ]


def test_initializers_are_the_argument_then_the_scope_then_glorot_and_biases_are_zero():
    ones, twos = v1.ones_initializer(), v1.constant_initializer(2.0)
    with v1.variable_scope("initialized", initializer=twos):
        scoped, given = nn.LSTMCell(4), nn.LSTMCell(4, initializer=ones, use_peepholes=True, num_proj=2)
        for cell in (scoped, given):
            cell(X, cell.zero_state(2, tf.float32))
    plain = nn.LSTMCell(50)
    plain(X, plain.zero_state(2, tf.float32))
    assert np.all(scoped.kernel.numpy() == 2.0)
    for name, value in numpy_weights(given).items():
        assert np.all(value == (0.0 if name == "bias" else 1.0)), name
    assert np.all(plain.bias.numpy() == 0.0)
    limit = np.sqrt(6 / (53 + 200))
    assert 0.9 * limit < np.abs(plain.kernel.numpy()).max() <= limit


def test_variables_take_the_type_of_the_inputs_and_can_be_frozen():
    cell = nn.LSTMCell(4, trainable=False)
    cell(np.float64(X), cell.zero_state(2, tf.float64))
    assert cell.dtype == tf.float64
    assert not cell.trainable_variables
    assert len(cell.variables) == 2


# math ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
def test_basic_rnn_step(activation):
    cell = nn.BasicRNNCell(4, activation=activation)
    cell(X, H)
    randomized(cell)
    check_step(cell, reference.Rnn(numpy_weights(cell), activation), H)


LSTM_OPTIONS = {
    "plain": {},
    "forget_bias": {"forget_bias": 0.25},
    "peepholes": {"use_peepholes": True},
    "projection": {"num_proj": 2},
    "cell_clip": {"cell_clip": 0.1},
    "cell_clip_zero_is_a_bound": {"cell_clip": 0.0},
    "proj_clip": {"num_proj": 2, "proj_clip": 0.05},
    "proj_clip_without_projection_means_nothing": {"proj_clip": 0.05},
    "relu": {"activation": "relu"},
    "everything": {
        "use_peepholes": True,
        "num_proj": 2,
        "cell_clip": 0.3,
        "proj_clip": 0.2,
        "forget_bias": -0.5,
        "activation": "softsign",
    },
}


@pytest.mark.parametrize("options", LSTM_OPTIONS.values(), ids=LSTM_OPTIONS)
def test_lstm_step(options):
    cell = nn.LSTMCell(4, **options)
    state = nn.LSTMStateTuple(C, H2 if "num_proj" in options else H)
    cell(X, state)
    randomized(cell)
    named = {
        key: options[key] for key in ("activation", "forget_bias", "cell_clip", "proj_clip") if key in options
    }
    check_step(cell, reference.Lstm(numpy_weights(cell), **named), state)


def test_an_lstm_whose_state_is_one_tensor_keeps_c_first():
    cell = nn.LSTMCell(4, num_proj=2, state_is_tuple=False)
    output, state = cell(X, np.concatenate([C, H2], axis=1))
    expected, (c, h) = nn_step(cell, nn.LSTMStateTuple(C, H2))
    assert cell.state_size == 6
    np.testing.assert_allclose(output, expected, 1e-6)
    np.testing.assert_allclose(state, np.concatenate([c, h], axis=1), 1e-6)


def nn_step(cell, state):
    twin = nn.LSTMCell(4, num_proj=2)
    twin(X, state)
    for name in ("kernel", "bias", "projection_kernel"):
        getattr(twin, name).assign(getattr(cell, name))
    return twin(X, state)


@pytest.mark.parametrize("state_is_tuple", [True, False])
def test_a_stack_feeds_each_cell_the_output_of_the_one_before(state_is_tuple):
    cells = [nn.LSTMCell(4, state_is_tuple=state_is_tuple), nn.BasicRNNCell(2)]
    stack = nn.MultiRNNCell(cells, state_is_tuple=state_is_tuple)
    state = stack.zero_state(2, tf.float32)
    output, _ = stack(X, state)
    middle, _ = cells[0](X, cells[0].zero_state(2, tf.float32))
    expected, _ = cells[1](middle, cells[1].zero_state(2, tf.float32))
    np.testing.assert_array_equal(output, expected)
    assert stack.output_size == 2
    assert stack.state_size == (((4, 4), 2) if state_is_tuple else 10)


def test_a_stack_refuses_what_is_no_stack():
    with pytest.raises(ValueError, match="at least one cell"):
        nn.MultiRNNCell([])
    with pytest.raises(TypeError, match="cells must be a list or tuple"):
        nn.MultiRNNCell(nn.BasicRNNCell(4))
    with pytest.raises(ValueError, match="state_is_tuple"):
        nn.MultiRNNCell([nn.LSTMCell(4)], state_is_tuple=False)
    with pytest.raises(ValueError, match="Expected state to be a tuple of length 1"):
        nn.MultiRNNCell([nn.BasicRNNCell(4)])(X, tf.zeros([2, 4]))


def test_one_cell_twice_in_a_stack_shares_its_weights_with_a_warning():
    cell = nn.BasicRNNCell(3)
    with pytest.warns(UserWarning, match="share their weights"):
        stack = nn.MultiRNNCell([cell, cell])
    assert [name for name, _ in graph_variables(lambda x: nn.dynamic_rnn(stack, x, dtype=tf.float32))] == [
        "rnn/multi_rnn_cell/cell_0/basic_rnn_cell/kernel",
        "rnn/multi_rnn_cell/cell_0/basic_rnn_cell/bias",
    ]


def test_integer_inputs_wrong_ranks_and_an_empty_projection_are_refused_at_the_first_step():
    with pytest.raises(ValueError, match="only supports floating point inputs, but saw dtype: int32"):
        nn.BasicRNNCell(4)(np.int32([[1, 2]]), H)
    with pytest.raises(ValueError, match="rank 2"):
        nn.LSTMCell(4)(X[0], nn.LSTMStateTuple(C, H))
    cell = nn.LSTMCell(4, num_proj=0)
    assert cell.output_size == 4
    with pytest.raises(ValueError, match="num_proj must be at least 1"):
        cell(X, nn.LSTMStateTuple(C, H))


def test_unknown_activations_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown activation 'tanhh'"):
        nn.BasicRNNCell(4, activation="tanhh")
    with pytest.raises(TypeError, match="activation: expected a Keras name or a function, got 3"):
        nn.LSTMCell(4, activation=3)


def test_every_named_activation_is_one_the_compiler_knows():
    assert set(ACTIVATIONS) <= {activation.value for activation in Activation}


def test_lstm_state_tuple_has_one_dtype_or_refuses():
    assert nn.LSTMStateTuple(tf.zeros([1]), tf.zeros([1])).dtype == tf.float32
    with pytest.raises(TypeError, match="one type"):
        _ = nn.LSTMStateTuple(tf.zeros([1]), tf.zeros([1], tf.float64)).dtype


def test_get_initial_state_follows_the_inputs_and_refuses_contradictions():
    cell = nn.LSTMCell(4, num_proj=2)
    state = cell.get_initial_state(inputs=X)
    assert [part.shape.as_list() for part in state] == [[2, 4], [2, 2]]
    assert cell.get_initial_state(batch_size=tf.constant(3), dtype="float64").c.dtype == tf.float64
    with pytest.raises(ValueError, match="batch size"):
        cell.get_initial_state(inputs=X, batch_size=3)
    with pytest.raises(ValueError, match="dtype is float64"):
        cell.get_initial_state(inputs=X, dtype=tf.float64)
    with pytest.raises(ValueError, match="batch_size and dtype cannot be None"):
        cell.get_initial_state(batch_size=3)


def test_a_subclass_that_overrides_the_math_is_obeyed():
    class Doubled(nn.LSTMCell):
        def call(self, inputs, state):
            output, new_state = super().call(inputs, state)
            return 2.0 * output, new_state

    cell = Doubled(4)
    outputs, state = nn.dynamic_rnn(cell, X[tf.newaxis], dtype=tf.float32, time_major=True)
    np.testing.assert_allclose(outputs[0], 2.0 * state.h, 1e-6)
