"""sequence_length: what it masks, when the loop ends, and what is refused."""

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
    run_in_a_function,
    v1,
)
from tflite_rnn import nn


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


# what is accepted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [np.int64(LENGTHS), np.int8(LENGTHS), tuple(LENGTHS), tf.constant(LENGTHS, tf.int16), tf.Variable(LENGTHS)],
    ids=["int64", "int8", "tuple", "tensor", "variable"],
)
def test_lengths_may_be_any_integers(dynamic_rnn, lengths):
    expected = dynamic_rnn(STACKS["marked"], X, LENGTHS)[0]
    np.testing.assert_array_equal(dynamic_rnn(STACKS["marked"], X, lengths)[0], expected)


def test_lengths_may_be_fed():
    with v1.Graph().as_default(), v1.Session() as session:
        lengths = v1.placeholder(tf.int64)  # of unknown rank
        (total, _), state = nn.dynamic_rnn(
            Duck(), {"a": X[:, :, :2], "b": X[:, :, :2]}, lengths, dtype=tf.float32, time_major=True
        )
        total, rows = session.run([total, state["rows"]], {lengths: [3, 0, 2, 4]})
    np.testing.assert_array_equal(rows, [3, 0, 2, 4])
    assert total.shape == (T, B, 2)


def test_the_lengths_are_found_in_the_graph_by_name():
    with v1.Graph().as_default() as graph:
        x, lengths = v1.placeholder(tf.float32, [T, None, D]), v1.placeholder(tf.int32, [None])
        nn.dynamic_rnn(nn.LSTMCell(U), x, lengths, dtype=tf.float32, time_major=True)
        names = {operation.name for operation in graph.get_operations()}
    assert {"rnn/sequence_length", "rnn/CheckSeqLen"} <= names


# what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [3, [[1, 2, 3, 4]], np.int32(3)], ids=["scalar", "matrix", "numpy scalar"])
def test_only_vectors_are_lengths(dynamic_rnn, lengths):
    with pytest.raises(ValueError, match="must be a vector of length batch_size"):
        dynamic_rnn(STACKS["marked"], X, lengths)


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [[1, 2], [1] * (B + 1)], ids=["too few", "too many"])
def test_the_wrong_number_of_lengths_is_refused_when_it_is_built(dynamic_rnn, kind, lengths):
    with pytest.raises(ValueError, match=f"Dimension 0 of sequence_length must be the batch size {B}"):
        dynamic_rnn(STACKS[kind], X, lengths)


@pytest.mark.parametrize("kind", STACKS)
def test_the_wrong_number_of_lengths_is_refused_when_it_is_run(dynamic_rnn, kind):
    function = tf.function(
        lambda x, lengths: dynamic_rnn(STACKS[kind], x, lengths)[0],
        input_signature=[tf.TensorSpec([T, None, D]), tf.TensorSpec([None], tf.int32)],
    )
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"Expected shape for Tensor [\s\S]*\[4\][\s\S]*\[2\]"
    ):
        function(X, [1, 2])


def test_the_wrong_number_of_fed_lengths_is_refused_by_the_session():
    with v1.Graph().as_default(), v1.Session() as session:
        lengths = v1.placeholder(tf.int32, [None])
        cell = nn.LSTMCell(U)
        outputs, _ = nn.dynamic_rnn(cell, X, lengths, dtype=tf.float32, time_major=True)
        session.run(v1.global_variables_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape for Tensor rnn/sequence_length"):
            session.run(outputs, {lengths: [1, 2]})


# what is masked -----------------------------------------------------------------------------------


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_a_finished_row_gives_zeros_and_keeps_its_state(run, kind):
    cell, flat = STACKS[kind], flat_states()
    state = tf.nest.pack_sequence_as(cell.state_size, flat)
    outputs, final = run(cell, X, LENGTHS, state, time_major=True)
    check((outputs, final), reference.unroll(oracle(cell), X, LENGTHS, flat))
    for row, length in enumerate(LENGTHS):
        assert np.all(outputs.numpy()[max(length, 0) :, row] == 0.0)
    for seen, initial in zip(tf.nest.flatten(final), flat, strict=True):
        np.testing.assert_array_equal(seen.numpy()[[1, 3]], initial[[1, 3]], "lengths 0 and -2, bit for bit")


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_nan_and_infinity_in_the_padding_show_nowhere(run, kind):
    cell, poisoned = STACKS[kind], X.copy()
    for row, length in enumerate(LENGTHS):
        poisoned[max(length, 0) :, row] = [np.nan, np.inf, -np.inf]
    result = run(cell, poisoned, LENGTHS, None, time_major=True)
    check(result, reference.unroll(oracle(cell), X, LENGTHS))


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
    cell, poisoned = STACKS["marked"], X.copy()
    poisoned[3:, 0] = np.nan
    x = tf.constant(poisoned)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(run(cell, x, [3, 5, 5, 5], None, time_major=True)[0])
    gradients = tape.gradient(loss, [x, *cell.variables])
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    assert np.all(gradients[0].numpy()[3:, 0] == 0.0)


@pytest.mark.parametrize("activation", [None, tf.sin], ids=["marked", "plain"])
def test_without_lengths_nothing_is_masked(activation):
    cell = nn.LSTMCell(U, activation=activation)

    def selects(lengths):
        function = tf.function(lambda x: nn.dynamic_rnn(cell, x, lengths, dtype=tf.float32)[0])
        library = function.get_concrete_function(tf.TensorSpec([B, T, D])).graph.as_graph_def().library
        return sum(node.op == "SelectV2" for body in library.function for node in body.node_def)

    assert selects(None) == 0
    assert selects(LENGTHS) > 0


class Recorder:
    """Keeps every input it sees in a TensorArray that is part of its state."""

    state_size = (3, tf.TensorShape([]), tf.TensorShape([]))
    output_size = 3

    def zero_state(self, batch_size, dtype):
        history = tf.TensorArray(dtype, size=T, element_shape=[None, 3])
        return tf.zeros([batch_size, 3], dtype), tf.zeros([], tf.int32), history

    def __call__(self, inputs, state):
        total, steps, history = state
        return inputs, (total + inputs, steps + 1, history.write(steps, inputs))


@pytest.mark.parametrize("run", [run_eagerly, run_in_a_function])
@pytest.mark.parametrize("given", [False, True], ids=["zero state", "initial state"])
def test_scalars_and_tensor_arrays_belong_to_no_row_and_are_not_masked(run, given):
    cell = Recorder()
    results = []

    def step(*_):
        initial = cell.zero_state(B, tf.float32) if given else None
        outputs, (total, steps, history) = nn.dynamic_rnn(
            cell, X, [2, 0, 5, 1], initial, dtype=tf.float32, time_major=True
        )
        results[:] = [outputs, total, steps, history.stack()]
        return results

    outputs, total, steps, history = step() if run is run_eagerly else tf.function(step, autograph=False)()
    valid = (np.arange(T)[:, np.newaxis] < [2, 0, 5, 1])[:, :, np.newaxis]
    np.testing.assert_array_equal(outputs, np.where(valid, X, 0))
    np.testing.assert_allclose(total, np.where(valid, X, 0).sum(axis=0), 1e-5, 1e-6)
    np.testing.assert_array_equal(history, X)
    assert steps == T


# when the loop ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [run_eagerly, run_in_a_function])
@pytest.mark.parametrize(
    ("lengths", "steps"),
    [(None, T), ([3, 0, 2, 1], 3), ([0] * B, 1), ([-5] * B, 1), ([9] * B, T)],
    ids=["none", "longest", "zero", "negative", "too long"],
)
def test_the_loop_ends_with_the_longest_row_but_runs_once(run, lengths, steps):
    x = {"a": X[:, :, :2], "b": X[:, :, :2]}
    (total, _), state = run(Duck(), x, lengths, None, time_major=True)
    assert state["steps"] == steps
    assert total.shape == (T, B, 2)
    assert np.all(total.numpy()[steps:] == 0.0)


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_all_lengths_zero_give_zeros(run, kind):
    outputs, state = run(STACKS[kind], X, [0] * B, None, time_major=True)
    for tensor in [outputs, *tf.nest.flatten(state)]:
        assert np.all(tensor.numpy() == 0.0)
