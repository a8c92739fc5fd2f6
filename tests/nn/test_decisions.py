"""Where this package decides otherwise than TensorFlow, or where TensorFlow's releases differ: both flavours."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.cases import LENGTHS, STACKS, B, D, T, U, X, unnamed_tanh, v1
from tflite_rnn import nn

ACTIVATIONS = pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


def test_both_flavours_know_both_layouts(dynamic_rnn):
    time_major = dynamic_rnn(STACKS["marked"], X, LENGTHS)[0]
    batch_major = dynamic_rnn(STACKS["marked"], X.swapaxes(0, 1), LENGTHS, time_major=False)[0]
    np.testing.assert_allclose(batch_major, time_major.numpy().swapaxes(0, 1), 1e-6, 1e-6)


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("inputs", [None, []], ids=["None", "empty"])
def test_inputs_that_are_none_or_empty_are_a_value_error(dynamic_rnn, inputs, time_major):
    with pytest.raises(ValueError, match="inputs must be a tensor or a non-empty nest of tensors"):
        dynamic_rnn(STACKS["marked"], inputs, [0.5], dtype=None, time_major=time_major)


@pytest.mark.parametrize("time_major", [True, False])
def test_numpy_inputs_are_converted_in_both_layouts(dynamic_rnn, time_major):
    outputs, _ = dynamic_rnn(nn.BasicRNNCell(U), X, time_major=time_major)
    assert outputs.shape == (T, B, U)


@ACTIVATIONS
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_a_plain_pair_is_an_lstm_state_and_comes_back_as_a_state_tuple(dynamic_rnn, activation, lengths):
    cell, zeros = nn.LSTMCell(U, activation=activation), np.zeros([B, U], np.float32)
    outputs, state = dynamic_rnn(cell, X, lengths, (zeros, zeros))
    expected, expected_state = dynamic_rnn(cell, X, lengths)
    assert isinstance(state, nn.LSTMStateTuple)
    np.testing.assert_allclose(outputs, expected, 1e-6, 1e-6)
    np.testing.assert_allclose(state.c, expected_state.c, 1e-6, 1e-6)


@pytest.mark.parametrize("lengths", [[1.0, 2.0, 3.0, 4.0], np.float64([1, 2, 3, 4]), [True] * B])
def test_lengths_that_are_no_integers_are_refused(dynamic_rnn, lengths):
    with pytest.raises(TypeError, match=r"sequence_length must hold integers, but saw \w+; cast it to int32"):
        dynamic_rnn(STACKS["marked"], X, lengths)


@ACTIVATIONS
def test_one_cell_object_keeps_its_first_variables(dynamic_rnn, activation):
    cell = nn.LSTMCell(U, activation=activation)
    first, _ = dynamic_rnn(cell, X, scope="first")
    kernel = cell.kernel
    second, _ = tf.function(lambda: dynamic_rnn(cell, X, scope="second"), autograph=False)()
    assert cell.kernel is kernel
    assert kernel.name.startswith("first/")
    np.testing.assert_allclose(second, first, 1e-6, 1e-6)


@ACTIVATIONS
def test_masking_selects_and_never_multiplies(dynamic_rnn, activation):
    poisoned = X.copy()
    poisoned[2:, 0] = np.nan
    cell = nn.LSTMCell(U, activation=activation)
    outputs, state = dynamic_rnn(cell, poisoned, [2, 5, 5, 5])
    expected, expected_state = dynamic_rnn(cell, X, [2, 5, 5, 5])
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(state.c, expected_state.c)


@pytest.fixture
def control_flow_v1():
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


@pytest.mark.usefixtures("control_flow_v1")
def test_without_control_flow_v2_only_the_nn_flavour_builds():
    with v1.Graph().as_default():
        x = v1.placeholder(tf.float32, [T, B, D])
        assert nn.dynamic_rnn(nn.BasicRNNCell(U), x, dtype=tf.float32)[0].shape == (T, B, U)
        with pytest.raises(RuntimeError, match="control flow v2"):
            nn.lite.dynamic_rnn(nn.BasicRNNCell(U), x, dtype=tf.float32)
