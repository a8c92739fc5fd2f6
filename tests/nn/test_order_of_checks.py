"""The signature of dynamic_rnn, and which mistake is reported when there are several."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.cases import LENGTHS, STACKS, D, T, U, X, unnamed_tanh, v1
from tflite_rnn import nn

PARAMETERS = [
    ("cell", inspect.Parameter.empty),
    ("inputs", inspect.Parameter.empty),
    ("sequence_length", None),
    ("initial_state", None),
    ("dtype", None),
    ("parallel_iterations", None),
    ("swap_memory", False),
    ("time_major", False),
    ("scope", None),
]
FLAVOURS = pytest.mark.parametrize("flavour", [nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])


def parameters(function):
    return [(name, parameter.default) for name, parameter in inspect.signature(function).parameters.items()]


def test_the_signature_is_tensorflows_and_lite_differs_in_the_default_of_time_major():
    assert parameters(nn.dynamic_rnn) == PARAMETERS
    assert parameters(nn.lite.dynamic_rnn) == [
        (name, True if name == "time_major" else default) for name, default in PARAMETERS
    ]


@FLAVOURS
def test_all_arguments_may_be_given_by_position(flavour):
    arguments = (STACKS["marked"], X, LENGTHS, None, tf.float32, 8, False, True, "positional")
    outputs, _ = flavour(*arguments)
    np.testing.assert_array_equal(outputs, nn.dynamic_rnn(*arguments[:5], time_major=True)[0])


@FLAVOURS
def test_mistakes_are_reported_in_the_order_of_the_checks(flavour):
    arguments = {
        "cell": 3,
        "inputs": None,
        "sequence_length": [[1, 2]],
        "initial_state": None,
        "dtype": None,
        "parallel_iterations": 2.5,
        "time_major": True,
    }
    spec_of_rank_1, spec_of_rank_2 = np.zeros([T], np.float32), np.zeros([T, 2], np.float32)
    corrections = [
        ({}, TypeError, "not an RNNCell"),
        ({"cell": nn.BasicRNNCell(U)}, ValueError, "inputs must be a tensor or a non-empty nest"),
        ({"inputs": spec_of_rank_1}, ValueError, "must be a vector of length batch_size"),
        ({"sequence_length": [1]}, ValueError, "rank >= 2"),
        ({"inputs": spec_of_rank_2}, ValueError, "you must give a dtype"),
        ({"dtype": tf.float32}, ValueError, "Dimension 0 of sequence_length"),
        ({"sequence_length": [1, 2]}, AssertionError, "parallel_iterations must be int"),
        ({"parallel_iterations": None}, ValueError, "must have rank at least 3"),
    ]
    for correction, error, message in corrections:
        arguments.update(correction)
        with pytest.raises(error, match=message):
            flavour(**arguments)
    outputs, _ = flavour(**{**arguments, "inputs": np.zeros([T, 2, D], np.float32)})
    assert outputs.shape == (T, 2, U)


@pytest.fixture
def control_flow_v1():
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


@pytest.mark.usefixtures("control_flow_v1")
def test_the_lite_flavour_looks_at_the_cell_then_at_control_flow_then_at_the_rest():
    with pytest.raises(TypeError, match="not an RNNCell"):
        nn.lite.dynamic_rnn(3, None)
    for inputs, dtype in ((None, None), (X, None), (X, tf.float32)):
        with pytest.raises(RuntimeError, match=r"control flow v2, which is switched off; call tf\.compat\.v1"):
            nn.lite.dynamic_rnn(nn.BasicRNNCell(U), inputs, dtype=dtype)


@pytest.mark.usefixtures("control_flow_v1")
def test_it_is_the_switch_of_the_process_that_counts_not_the_kind_of_graph():
    function = tf.function(lambda: nn.lite.dynamic_rnn(nn.BasicRNNCell(U), X, dtype=tf.float32)[0])
    with pytest.raises(RuntimeError, match="control flow v2"):
        function()


@pytest.mark.usefixtures("control_flow_v1")
@pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
def test_the_nn_flavour_builds_without_control_flow_v2(activation):
    with v1.Graph().as_default(), v1.Session() as session:
        cell = nn.LSTMCell(U, activation=activation)
        x = v1.placeholder(tf.float32, [None, None, D])
        outputs, _ = nn.dynamic_rnn(cell, x, LENGTHS, dtype=tf.float32, time_major=True)
        gradients = v1.gradients(tf.reduce_sum(outputs), [x, cell.kernel, cell.bias])
        session.run(v1.global_variables_initializer())
        seen, gradients, kernel = session.run([outputs, gradients, cell.kernel], {x: X})
    twin = nn.LSTMCell(U)
    twin.ensure_built(tf.TensorSpec([None, D], tf.float32))
    twin.kernel.assign(kernel)
    with_v2 = tf.function(lambda: nn.dynamic_rnn(twin, X, LENGTHS, dtype=tf.float32, time_major=True)[0])
    np.testing.assert_allclose(seen, with_v2(), 1e-5, 1e-6)
    assert all(np.any(gradient != 0.0) for gradient in gradients)
