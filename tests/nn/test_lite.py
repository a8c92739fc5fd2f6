"""The TFLite flavour: what TensorFlow 1.15's could not do, or said it could not."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import LENGTHS, STACKS, B, D, Duck, Sum, T, U, X, check, flat_states, oracle, v1
from tflite_rnn import nn


def test_time_major_is_the_default_and_batch_major_works():
    expected = reference.unroll(oracle(STACKS["marked"]), X, LENGTHS)
    check(nn.lite.dynamic_rnn(STACKS["marked"], X, LENGTHS, dtype=tf.float32), expected)
    outputs, state = nn.lite.dynamic_rnn(
        STACKS["marked"], X.swapaxes(0, 1), LENGTHS, dtype=tf.float32, time_major=False
    )
    check((tf.transpose(outputs, [1, 0, 2]), state), expected)


def test_the_final_state_and_an_initial_state_are_supported():
    cell, flat = STACKS["marked"], flat_states()
    result = nn.lite.dynamic_rnn(cell, X, None, tf.nest.pack_sequence_as(cell.state_size, flat))
    check(result, reference.unroll(oracle(cell), X, None, flat))


def test_nested_inputs_of_equal_shapes_stay_nested():
    x = {"a": X[:, :, :2], "b": 2 * X[:, :, :2]}
    (total, product), _ = nn.lite.dynamic_rnn(Duck(), x, dtype=tf.float32)
    np.testing.assert_allclose(total, 3 * X[:, :, :2])
    assert product.shape == (T, B, 2, 2)


def test_any_cell_runs_and_trains():
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        outputs, _ = nn.lite.dynamic_rnn(Sum(D), x, [1, 2, 3, 4], dtype=tf.float32)
        loss = tf.reduce_sum(outputs)
    expected = np.maximum(np.array([1, 2, 3, 4]) - np.arange(T)[:, np.newaxis], 0)
    np.testing.assert_array_equal(tape.gradient(loss, x), np.broadcast_to(expected[:, :, np.newaxis], X.shape))


def test_one_cell_object_works_in_two_calls_of_one_graph():
    with v1.Graph().as_default(), v1.Session() as session:
        cell, x = nn.LSTMCell(U), v1.placeholder(tf.float32, [T, B, D])
        first, _ = nn.lite.dynamic_rnn(cell, x, dtype=tf.float32, scope="first")
        second, _ = nn.lite.dynamic_rnn(cell, 2 * x, dtype=tf.float32, scope="second")
        assert len(v1.global_variables()) == 2
        session.run(v1.global_variables_initializer())
        first, twice = session.run([first, second], {x: X})
        (again,) = session.run([second], {x: X / 2})
    np.testing.assert_allclose(again, first, 1e-6, 1e-6)
    assert not np.allclose(twice, first)


@pytest.fixture
def control_flow_v1():
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


@pytest.mark.usefixtures("control_flow_v1")
def test_the_bidirectional_function_looks_at_both_cells_then_at_control_flow_then_at_the_rest():
    cell = nn.BasicRNNCell(U)
    with pytest.raises(TypeError, match="'cell_fw'"):
        nn.lite.bidirectional_dynamic_rnn(3, 3, None)
    with pytest.raises(TypeError, match="'cell_bw'"):
        nn.lite.bidirectional_dynamic_rnn(cell, 3, None)
    with pytest.raises(RuntimeError, match=r"control flow v2.*nn\.bidirectional_dynamic_rnn"):
        nn.lite.bidirectional_dynamic_rnn(cell, cell, None)


def test_the_bidirectional_function_works_with_its_defaults():
    cells = nn.BasicRNNCell(U), nn.BasicRNNCell(U)
    outputs, states = nn.lite.bidirectional_dynamic_rnn(*cells, X, dtype=tf.float32)
    expected = nn.bidirectional_dynamic_rnn(*cells, X, dtype=tf.float32, time_major=True)
    for seen, wanted in zip(tf.nest.flatten((outputs, states)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(seen, wanted)
    batch_major, _ = nn.lite.bidirectional_dynamic_rnn(
        *cells, X.swapaxes(0, 1), dtype=tf.float32, time_major=False
    )
    np.testing.assert_allclose(batch_major[1], outputs[1].numpy().swapaxes(0, 1), 1e-6, 1e-6)
