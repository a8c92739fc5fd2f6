"""What dynamic_rnn returns, in every way TensorFlow can run it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import (
    LENGTHS,
    MODES,
    STACKS,
    B,
    D,
    Duck,
    T,
    U,
    X,
    check,
    flat_states,
    oracle,
    run_eagerly,
    unnamed_tanh,
    v1,
    weights,
)
from tflite_rnn import nn

ACTIVATIONS = pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])


def test_outputs_have_the_structure_and_sizes_of_output_size():
    x = {"a": X[:, :, :2], "b": X[:, :, :2]}
    outputs, state = nn.dynamic_rnn(Duck(), x, dtype=tf.float32, time_major=True)
    assert isinstance(outputs, tuple)
    assert [part.shape.as_list() for part in outputs] == [[T, B, 2], [T, B, 2, 2]]
    assert {key: part.shape.as_list() for key, part in state.items()} == {"rows": [B], "steps": []}


def test_the_state_of_an_lstm_is_a_state_tuple_and_that_of_a_stack_a_tuple_of_them():
    _, state = nn.dynamic_rnn(nn.LSTMCell(U), X, dtype=tf.float32)
    assert isinstance(state, nn.LSTMStateTuple)
    for kind in STACKS:
        _, state = run_eagerly(STACKS[kind], X, None, None, time_major=True)
        assert type(state) is tuple
        assert isinstance(state[0], nn.LSTMStateTuple)
        assert tf.is_tensor(state[1])


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [False, True], ids=["whole", "lengths"])
def test_known_sizes_are_known_in_the_results(kind, lengths):
    seen = []

    @tf.function(autograph=False)
    def function(x, given):
        outputs, state = nn.dynamic_rnn(
            STACKS[kind], x, given if lengths else None, dtype=tf.float32, time_major=True
        )
        seen.append([t.shape.as_list() for t in [outputs, *tf.nest.flatten(state)]])
        return outputs

    for steps, batch in ((T, B), (None, B), (T, None), (None, None)):
        function.get_concrete_function(tf.TensorSpec([steps, batch, D]), tf.TensorSpec([batch], tf.int32))
        assert seen[-1] == [[steps, batch, U], [batch, U], [batch, 2], [batch, U]]


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [None, [0] * B, [3] * B])
@pytest.mark.parametrize("time_major", [True, False])
def test_no_time_steps_give_no_outputs_and_the_initial_state(run, kind, lengths, time_major):
    cell, flat = STACKS[kind], flat_states()
    initial = tf.nest.pack_sequence_as(cell.state_size, flat)
    x = X[:0] if time_major else X[:0].swapaxes(0, 1)
    outputs, state = run(cell, x, lengths, initial, time_major=time_major)
    assert outputs.shape == ((0, B, U) if time_major else (B, 0, U))
    for seen, wanted in zip(tf.nest.flatten(state), flat, strict=True):
        np.testing.assert_array_equal(seen, wanted)


def test_a_fed_sequence_may_have_no_steps():
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, None, D])
        outputs, state = nn.dynamic_rnn(nn.LSTMCell(U), x, dtype=tf.float32, time_major=True)
        session.run(v1.global_variables_initializer())
        outputs, state = session.run([outputs, state], {x: X[:0]})
    assert outputs.shape == (0, B, U)
    assert not np.any(state.c)


def test_an_empty_batch_gives_empty_results():
    for kind in STACKS:
        outputs, state = run_eagerly(STACKS[kind], X[:, :0], None, None, time_major=True)
        assert outputs.shape == (T, 0, U)
        assert state[0].c.shape == (0, U)


@ACTIVATIONS
def test_the_loop_is_a_while_op_in_the_graph(activation):
    cell = nn.LSTMCell(U, activation=activation)
    function = tf.function(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)[0])
    definition = function.get_concrete_function(tf.TensorSpec([B, None, D])).graph.as_graph_def()
    nodes = [*definition.node, *(node for body in definition.library.function for node in body.node_def)]
    assert sum(node.op in {"While", "StatelessWhile"} for node in nodes) == 1


# the ways to run it -------------------------------------------------------------------------------


def network(activation):
    return nn.MultiRNNCell([nn.LSTMCell(U, num_proj=2, activation=activation), nn.BasicRNNCell(U, activation)])


def in_a_session(activation):
    with v1.Graph().as_default(), v1.Session() as session:
        cell, x = network(activation), v1.placeholder(tf.float32, [None, None, D])
        lengths = v1.placeholder(tf.int32, [None])
        result = nn.dynamic_rnn(cell, x, lengths, dtype=tf.float32, time_major=True)
        loss = tf.reduce_sum(result[0] ** 2)
        fetches = (*result, [inner.weights_by_name() for inner in cell.cells], v1.gradients(loss, [x])[0])
        session.run(v1.global_variables_initializer())
        return session.run(fetches, {x: X, lengths: LENGTHS})


def in_wrap_function(activation):
    cells = []

    def function(x, lengths):
        cells.append(network(activation))
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, state = nn.dynamic_rnn(cells[0], x, lengths, dtype=tf.float32, time_major=True)
            loss = tf.reduce_sum(outputs**2)
        return outputs, state, [inner.weights_by_name() for inner in cells[0].cells], tape.gradient(loss, x)

    wrapped = v1.wrap_function(function, [tf.TensorSpec([None, None, D]), tf.TensorSpec([None], tf.int32)])
    return wrapped(tf.constant(X), tf.constant(LENGTHS))


def in_tensorflow_2(decorate):
    def run(activation):
        cell = network(activation)

        def function(x, lengths):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs, state = nn.dynamic_rnn(cell, x, lengths, dtype=tf.float32, time_major=True)
                loss = tf.reduce_sum(outputs**2)
            return outputs, state, [inner.weights_by_name() for inner in cell.cells], tape.gradient(loss, x)

        return decorate(function)(tf.constant(X), tf.constant(LENGTHS))

    return run


WAYS = {
    "session": in_a_session,
    "wrap_function": in_wrap_function,
    "eager": in_tensorflow_2(lambda function: function),
    "tf.function": in_tensorflow_2(tf.function),
    "tf.function with XLA": in_tensorflow_2(lambda function: tf.function(function, jit_compile=True)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@ACTIVATIONS
def test_values_and_gradients_are_the_same_in_every_way_to_run_it(way, activation):
    outputs, state, cells, gradient = way(activation)
    lstm, rnn = ({name: np.asarray(value) for name, value in cell.items()} for cell in cells)
    stack = reference.Stack(reference.Lstm(lstm), reference.Rnn(rnn))
    check((outputs, state), reference.unroll(stack, X, LENGTHS))
    np.testing.assert_allclose(gradient, numeric_gradient(stack), 1e-3, 1e-4)


def numeric_gradient(stack):
    """Gradient of the sum of squared outputs to X, by central differences in float64."""
    result = np.zeros(X.shape)
    for index in np.ndindex(X.shape):
        nudge = np.zeros(X.shape)
        nudge[index] = 1e-5
        high, low = (
            np.sum(reference.unroll(stack, np.float64(X) + sign * nudge, LENGTHS)[0] ** 2) for sign in (1, -1)
        )
        result[index] = (high - low) / 2e-5
    return result


def test_gradients_to_the_weights_are_right():
    for kind in STACKS:
        cell = STACKS[kind]
        with tf.GradientTape() as tape:
            outputs, _ = run_eagerly(cell, X, LENGTHS, None, time_major=True)
            loss = tf.reduce_sum(outputs**2)
        bias = cell.cells[0].bias
        gradient = tape.gradient(loss, bias).numpy()
        for index in range(4 * U):
            sums = []
            for sign in (1, -1):
                stack = oracle(cell)
                changed = weights(cell.cells[0])
                changed["bias"] = np.float64(changed["bias"])
                changed["bias"][index] += sign * 1e-5
                stack = reference.Stack(reference.Lstm(changed), stack.cells[1])
                sums.append(np.sum(reference.unroll(stack, X, LENGTHS)[0] ** 2))
            np.testing.assert_allclose(gradient[index], (sums[0] - sums[1]) / 2e-5, 1e-3, 1e-4)
