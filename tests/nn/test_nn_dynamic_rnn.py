"""dynamic_rnn: SEMANTICS 1.2 to 1.9 and 5."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import nn_reference as reference
from tflite_rnn import nn

pytestmark = pytest.mark.tensorflow
v1 = tf.compat.v1

RNG = np.random.default_rng(11)
T, B, D, U = 5, 4, 3, 4
X = RNG.normal(size=[T, B, D]).astype(np.float32)
LENGTHS = [3, 0, 9, -2]


def unnamed_tanh(x):
    return tf.tanh(x)


def make_stack(activation=None):
    cell = nn.MultiRNNCell(
        [nn.LSTMCell(U, use_peepholes=True, num_proj=2, activation=activation), nn.BasicRNNCell(U, activation)]
    )
    cell(X[0], cell.zero_state(B, tf.float32))
    for variable in cell.variables:
        variable.assign(RNG.normal(size=variable.shape))
    return cell


# The marked function and the plain loop are two ways to one meaning: every test of values runs both.
STACKS = {"marked": make_stack(), "plain": make_stack(unnamed_tanh)}


def oracle(stack):
    lstm, rnn = ({name: w.numpy() for name, w in cell.weights_by_name().items()} for cell in stack.cells)
    return reference.Stack(reference.Lstm(lstm), reference.Rnn(rnn))


def run_eagerly(cell, x, lengths, state, **options):
    return nn.dynamic_rnn(cell, x, lengths, state, dtype=tf.float32, **options)


def run_in_a_function(cell, x, lengths, state, **options):
    function = tf.function(lambda: nn.dynamic_rnn(cell, x, lengths, state, dtype=tf.float32, **options))
    return function()


def run_with_unknown_sizes(cell, x, lengths, state, **options):
    """Run in a function that knows neither time nor batch."""
    given = {"x": x, "lengths": None if lengths is None else np.int32(lengths), "state": state}
    given = tf.nest.map_structure(tf.constant, {key: value for key, value in given.items() if value is not None})
    specs = tf.nest.map_structure(
        lambda t: tf.TensorSpec([None, None, D] if t.shape.rank == 3 else [None, *t.shape[1:]], t.dtype), given
    )

    @tf.function(autograph=False)
    def function(given):
        lengths, state = given.get("lengths"), given.get("state")
        return nn.dynamic_rnn(cell, given["x"], lengths, state, dtype=tf.float32, **options)

    return function.get_concrete_function(specs)(given)


MODES = [run_eagerly, run_in_a_function, run_with_unknown_sizes]


def check(result, expected):
    outputs, state = result
    expected_outputs, expected_state = expected
    np.testing.assert_allclose(outputs, expected_outputs, 1e-5, 1e-5)
    for seen, wanted in zip(tf.nest.flatten(state), expected_state, strict=True):
        np.testing.assert_allclose(seen, wanted, 1e-5, 1e-5)


# 1.5, 1.6, 1.8 values -----------------------------------------------------------------------------


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_values_with_lengths_and_an_initial_state(run, kind):
    cell = STACKS[kind]
    flat = [RNG.normal(size=[B, size]).astype(np.float32) for size in (U, 2, U)]
    state = tf.nest.pack_sequence_as(cell.state_size, flat)
    for lengths in (None, LENGTHS):
        for initial in (None, state):
            expected = reference.unroll(oracle(cell), X, lengths, flat if initial is not None else None)
            check(run(cell, X, lengths, initial, time_major=True), expected)


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_batch_major_is_the_same_transposed(run, kind):
    cell = STACKS[kind]
    outputs, state = reference.unroll(oracle(cell), X, LENGTHS)
    check(run(cell, X.transpose(1, 0, 2), LENGTHS, None), (outputs.transpose(1, 0, 2), state))


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_padding_shows_nowhere_and_length_zero_keeps_the_state_bit_for_bit(run, kind):
    cell = STACKS[kind]
    poisoned = X.copy()
    for row, length in enumerate(LENGTHS):
        poisoned[max(length, 0) :, row] = np.nan
    flat = [RNG.normal(size=[B, size]).astype(np.float32) for size in (U, 2, U)]
    outputs, state = run(cell, poisoned, LENGTHS, tf.nest.pack_sequence_as(cell.state_size, flat), time_major=True)
    check((outputs, state), reference.unroll(oracle(cell), X, LENGTHS, flat))
    for row, length in enumerate(LENGTHS):
        assert np.all(outputs.numpy()[max(length, 0) :, row] == 0.0)
    for seen, initial in zip(tf.nest.flatten(state), flat, strict=True):
        np.testing.assert_array_equal(seen.numpy()[[1, 3]], initial[[1, 3]])


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [None, [0] * B, [3] * B])
def test_no_time_steps_give_no_outputs_and_the_initial_state(run, kind, lengths):
    cell = STACKS[kind]
    flat = [RNG.normal(size=[B, size]).astype(np.float32) for size in (U, 2, U)]
    initial = tf.nest.pack_sequence_as(cell.state_size, flat)
    outputs, state = run(cell, X[:0], lengths, initial, time_major=True)
    assert outputs.shape == (0, B, U)
    for seen, wanted in zip(tf.nest.flatten(state), flat, strict=True):
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("kind", STACKS)
def test_all_lengths_zero_give_zeros(kind):
    outputs, state = run_in_a_function(STACKS[kind], X, [0] * B, None, time_major=True)
    for tensor in [outputs, *tf.nest.flatten(state)]:
        assert np.all(tensor.numpy() == 0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-12), (tf.float16, 2e-2)])
@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_other_float_types(dtype, tolerance, activation):
    cell = nn.LSTMCell(U, use_peepholes=True, num_proj=2, activation=activation)
    x = X.astype(dtype.as_numpy_dtype)
    outputs, state = nn.dynamic_rnn(cell, x, LENGTHS, dtype=dtype, time_major=True)
    weights = {name: w.numpy() for name, w in cell.weights_by_name().items()}
    expected, expected_state = reference.unroll(reference.Lstm(weights), x, LENGTHS)
    assert outputs.dtype == state.c.dtype == dtype
    np.testing.assert_allclose(outputs, expected, tolerance, tolerance)
    np.testing.assert_allclose(state.c, expected_state[0], tolerance, tolerance)


@pytest.mark.parametrize("kind", STACKS)
def test_known_sizes_are_known_in_the_results(kind):
    seen = []

    @tf.function(autograph=False)
    def function(x):
        outputs, state = nn.dynamic_rnn(STACKS[kind], x, dtype=tf.float32, time_major=True)
        seen.append([t.shape.as_list() for t in [outputs, *tf.nest.flatten(state)]])
        return outputs

    for shape in ([T, B, D], [None, B, D], [T, None, D], [None, None, D]):
        function.get_concrete_function(tf.TensorSpec(shape))
        steps, batch, _ = shape
        assert seen[-1] == [[steps, batch, U], [batch, U], [batch, 2], [batch, U]]


def test_the_state_has_the_structure_of_the_cell():
    _, state = run_eagerly(STACKS["marked"], X, None, None, time_major=True)
    assert isinstance(state, tuple)
    assert isinstance(state[0], nn.LSTMStateTuple)
    assert tf.is_tensor(state[1])


@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_a_plain_pair_is_an_lstm_state_and_comes_back_as_a_state_tuple(activation):
    cell = nn.LSTMCell(U, activation=activation)
    zeros = np.zeros([B, U], np.float32)
    for lengths in (None, LENGTHS):
        outputs, state = nn.dynamic_rnn(cell, X, lengths, (zeros, zeros), time_major=True)
        assert isinstance(state, nn.LSTMStateTuple)
        check(
            (outputs, state), map(np.asarray, nn.dynamic_rnn(cell, X, lengths, dtype="float32", time_major=True))
        )


@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_states_that_are_one_tensor(activation):
    lstm = nn.LSTMCell(U, num_proj=2, state_is_tuple=False, activation=activation)
    cell = nn.MultiRNNCell([lstm, nn.BasicRNNCell(U)], state_is_tuple=False)
    initial = RNG.normal(size=[B, 10]).astype(np.float32)
    outputs, state = nn.dynamic_rnn(cell, X, LENGTHS, initial, time_major=True)
    expected, flat = reference.unroll(oracle(cell), X, LENGTHS, np.split(initial, [U, U + 2], axis=1))
    check((outputs, [state]), (expected, [np.concatenate(flat, axis=1)]))


# gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_gradients_to_padding_are_zero_and_those_to_weights_agree_with_shorter_rows(run, kind):
    cell, x = STACKS[kind], tf.constant(X[:, :2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(run(cell, x, [3, 5], None, time_major=True)[0] ** 2)
    dx, *dw = tape.gradient(loss, [x, *cell.variables])
    assert np.all(dx.numpy()[3:, 0] == 0.0)
    assert np.all(dx.numpy()[:3, 0] != 0.0)
    with tf.GradientTape() as tape:
        short = run(cell, x[:3, :1], None, None, time_major=True)[0]
        long = run(cell, x[:, 1:], None, None, time_major=True)[0]
        loss = tf.reduce_sum(short**2) + tf.reduce_sum(long**2)
    for seen, expected in zip(dw, tape.gradient(loss, cell.variables), strict=True):
        np.testing.assert_allclose(seen, expected, 1e-4, 1e-4)


@pytest.mark.parametrize("run", MODES)
def test_nan_in_the_padding_does_not_reach_the_gradients_of_a_marked_cell(run):
    cell = STACKS["marked"]
    poisoned = X.copy()
    poisoned[3:, 0] = np.nan
    x = tf.constant(poisoned)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(run(cell, x, [3, 5, 5, 5], None, time_major=True)[0])
    gradients = tape.gradient(loss, [x, *cell.variables])
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    assert np.all(gradients[0].numpy()[3:, 0] == 0.0)


@pytest.mark.parametrize("kind", STACKS)
def test_gradients_flow_to_the_initial_state(kind):
    cell = STACKS[kind]
    state = tf.nest.map_structure(lambda size: tf.ones([B, size]), cell.state_size)
    with tf.GradientTape() as tape:
        tape.watch(state)
        _, final = nn.dynamic_rnn(cell, X, LENGTHS, state, time_major=True)
        loss = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(final)])
    for gradient in tf.nest.flatten(tape.gradient(loss, state)):
        np.testing.assert_array_equal(gradient.numpy()[[1, 3]], 1.0)  # rows of length zero pass the state through
        assert np.all(gradient.numpy()[0] != 1.0)


# 1.2 to 1.7 refusals ------------------------------------------------------------------------------


@pytest.fixture(params=["nn", "lite"])
def dynamic_rnn(request):
    flavour = nn.dynamic_rnn if request.param == "nn" else nn.lite.dynamic_rnn

    def call(*args, **options):
        return flavour(*args, **{"time_major": True, "dtype": tf.float32, **options})

    return call


@pytest.fixture
def control_flow_v1():
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


def test_the_flavours_differ_in_the_default_of_time_major():
    cell = nn.BasicRNNCell(U)
    assert nn.dynamic_rnn(cell, X, dtype=tf.float32)[1].shape == (T, U)
    assert nn.lite.dynamic_rnn(cell, X, dtype=tf.float32)[1].shape == (B, U)
    assert nn.lite.dynamic_rnn(cell, X, dtype=tf.float32, time_major=False)[1].shape == (T, U)


def test_a_non_cell_is_a_type_error_that_lists_what_is_missing(dynamic_rnn):
    with pytest.raises(
        TypeError, match=r"The argument 'cell' \(3\) is not an RNNCell: 'output_size'.*not callable"
    ):
        dynamic_rnn(3, None)


@pytest.mark.usefixtures("control_flow_v1")
def test_the_lite_flavour_needs_control_flow_v2_and_says_so_after_looking_at_the_cell():
    with pytest.raises(TypeError, match="not an RNNCell"):
        nn.lite.dynamic_rnn(3, None)
    with pytest.raises(RuntimeError, match="control flow v2"):
        nn.lite.dynamic_rnn(nn.BasicRNNCell(U), None)


@pytest.mark.usefixtures("control_flow_v1")
@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_the_nn_flavour_builds_under_control_flow_v1(activation):
    with v1.Graph().as_default(), v1.Session() as session:
        cell = nn.LSTMCell(U, activation=activation)
        x = v1.placeholder(tf.float32, [None, None, D])
        outputs, state = nn.dynamic_rnn(cell, x, LENGTHS, dtype=tf.float32, time_major=True)
        gradients = v1.gradients(tf.reduce_sum(outputs), [x, cell.kernel, cell.bias])
        session.run(v1.global_variables_initializer())
        outputs, state, gradients, weights = session.run(
            [outputs, state, gradients, cell.weights_by_name()], {x: X}
        )
    check((outputs, state), reference.unroll(reference.Lstm(weights), X, LENGTHS))
    assert all(np.any(gradient != 0.0) for gradient in gradients)


@pytest.mark.parametrize("inputs", [None, [], (), {}, [None]], ids=repr)
@pytest.mark.parametrize("time_major", [True, False])
def test_missing_inputs_are_a_value_error(dynamic_rnn, inputs, time_major):
    with pytest.raises(ValueError, match="inputs must be a tensor or a non-empty nest"):
        dynamic_rnn(nn.BasicRNNCell(U), inputs, time_major=time_major)


@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_inputs_of_a_wrong_shape_are_refused(dynamic_rnn, activation):
    def build(shape):
        with v1.Graph().as_default():
            dynamic_rnn(nn.BasicRNNCell(U, activation), v1.placeholder(tf.float32, shape))

    with pytest.raises(ValueError, match="rank >= 2"):
        build([T])
    with pytest.raises(ValueError, match="must have rank at least 3"):
        build([T, B])
    with pytest.raises(ValueError, match="known rank"):
        build(None)
    with pytest.raises(ValueError, match=r"Input size \(depth of inputs\) must be accessible .* saw value None"):
        build([T, B, None])
    with pytest.raises(ValueError, match="rank 2"):
        build([T, B, D, D])


def test_inputs_that_disagree_are_refused(dynamic_rnn):
    cell = nn.BasicRNNCell(U)
    with pytest.raises(ValueError, match="Time steps is not the same for all the elements in the input"):
        dynamic_rnn(cell, (X, X[1:]))
    with pytest.raises(ValueError, match="Batch_size is not the same for all the elements in the input"):
        dynamic_rnn(cell, (X, X[:, 1:]))


def test_lengths_may_be_any_integers_and_nothing_else(dynamic_rnn):
    cell = STACKS["marked"]
    expected = dynamic_rnn(cell, X, LENGTHS)[0]
    for lengths in (np.int64(LENGTHS), tf.constant(LENGTHS, tf.int16), tuple(LENGTHS)):
        np.testing.assert_array_equal(dynamic_rnn(cell, X, lengths)[0], expected)
    with pytest.raises(TypeError, match="sequence_length must hold integers, but saw float32"):
        dynamic_rnn(cell, X, [1.0, 2.0, 3.0, 4.0])
    for lengths in (3, [[1, 2, 3, 4]]):
        with pytest.raises(ValueError, match="must be a vector of length batch_size"):
            dynamic_rnn(cell, X, lengths)


@pytest.mark.parametrize("kind", STACKS)
def test_the_wrong_number_of_lengths_is_refused_when_it_is_known(dynamic_rnn, kind):
    with pytest.raises(ValueError, match="Dimension 0"):
        dynamic_rnn(STACKS[kind], X, [1, 2])
    function = tf.function(
        lambda lengths: dynamic_rnn(STACKS[kind], X, lengths)[0], input_signature=[tf.TensorSpec([None], tf.int32)]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape for Tensor"):
        function([1, 2])


def test_dtype_or_initial_state_is_needed(dynamic_rnn):
    with pytest.raises(ValueError, match="If there is no initial_state, you must give a dtype"):
        dynamic_rnn(nn.BasicRNNCell(U), X, dtype=None)
    state = (np.zeros([B, U], np.float32), np.zeros([B, U], np.float64))
    with pytest.raises(ValueError, match="different inferred dtypes"):
        dynamic_rnn(nn.LSTMCell(U), X, initial_state=state, dtype=None)
    with pytest.raises(ValueError, match="Unable to infer dtype from an empty"):
        dynamic_rnn(nn.LSTMCell(U), X, initial_state=(), dtype=None)


@pytest.mark.parametrize("activation", [None, unnamed_tanh])
def test_types_that_differ_are_refused(dynamic_rnn, activation):
    with pytest.raises(ValueError, match="must be of one type, but saw float32, float64"):
        dynamic_rnn(nn.BasicRNNCell(U, activation), X, dtype=tf.float64)


@pytest.mark.parametrize("kind", STACKS)
def test_an_initial_state_that_does_not_fit_is_refused(dynamic_rnn, kind):
    zeros = np.zeros([B, U], np.float32)
    with pytest.raises(ValueError, match="initial_state has 1 tensors, the state of the cell has 3"):
        dynamic_rnn(STACKS[kind], X, initial_state=zeros)
    with pytest.raises(ValueError, match=r"initial_state has shape \(4, 4\) where the cell needs \(4, 2\)"):
        dynamic_rnn(STACKS[kind], X, initial_state=((zeros, zeros), zeros))
    with pytest.raises(ValueError, match=r"initial_state has shape \(3, 4\) where the cell needs \(4, 4\)"):
        dynamic_rnn(STACKS[kind], X, initial_state=((zeros[:3], zeros[:, :2]), zeros))


def test_parallel_iterations_must_be_an_integer_and_change_no_value(dynamic_rnn):
    expected = dynamic_rnn(STACKS["marked"], X)[0]
    for iterations in (0, 1):
        seen = dynamic_rnn(STACKS["marked"], X, parallel_iterations=iterations, swap_memory=True)[0]
        np.testing.assert_array_equal(seen, expected)
    with pytest.raises(AssertionError, match="parallel_iterations must be int"):
        dynamic_rnn(STACKS["marked"], X, parallel_iterations=2.5)


# cells of other classes ---------------------------------------------------------------------------


class Duck:
    """No RNNCell, but like one: nested inputs and outputs, a row counter and a step counter in the state."""

    def __init__(self):
        self.state_size = {"rows": tf.TensorShape([]), "steps": tf.TensorShape([])}
        self.output_size = (2, tf.TensorShape([2, 2]))

    def zero_state(self, batch_size, dtype):
        return {"rows": tf.zeros([batch_size], dtype), "steps": tf.zeros([], dtype)}

    def __call__(self, inputs, state):
        outputs = (inputs["a"] + inputs["b"], inputs["b"][:, :, tf.newaxis] * inputs["a"][:, tf.newaxis, :])
        return outputs, {"rows": state["rows"] + 1.0, "steps": state["steps"] + 1.0}


@pytest.mark.parametrize("run", [run_eagerly, run_in_a_function])
@pytest.mark.parametrize("time_major", [True, False])
def test_any_cell_with_nested_inputs_outputs_and_state(run, time_major):
    x = X[:, :, :2]
    fed = x if time_major else x.transpose(1, 0, 2)
    (total, product), state = run(Duck(), {"a": fed, "b": 2 * fed}, [3, 0, 2, 4], None, time_major=time_major)
    valid = np.arange(T)[:, np.newaxis] < np.array([3, 0, 2, 4])
    expected = np.where(valid[:, :, np.newaxis], 3 * x, 0)
    np.testing.assert_allclose(total, expected if time_major else expected.transpose(1, 0, 2))
    assert product.shape == ((T, B, 2, 2) if time_major else (B, T, 2, 2))
    np.testing.assert_array_equal(state["rows"], [3, 0, 2, 4])
    assert state["steps"] == 4.0, "a scalar belongs to no row: it counts the steps of the loop"
