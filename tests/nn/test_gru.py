"""Gated recurrent units, with the reset before and after the recurrent product."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.families import B, D, U, built, check_cell, graph_variables, inputs, unnamed_tanh, weights_of
from tflite_rnn import nn

BOTH = pytest.mark.parametrize("cell_class", [nn.GRUCell, nn.CudnnCompatibleGRUCell])


def test_gru_cell_names_its_variables_like_tensorflow_1():
    assert graph_variables(nn.GRUCell(U)) == [
        ("rnn/gru_cell/gates/kernel", [D + U, 2 * U]),
        ("rnn/gru_cell/gates/bias", [2 * U]),
        ("rnn/gru_cell/candidate/kernel", [D + U, U]),
        ("rnn/gru_cell/candidate/bias", [U]),
    ]


def test_the_cudnn_compatible_cell_names_its_variables_like_tensorflow_1():
    assert graph_variables(nn.CudnnCompatibleGRUCell(U)) == [
        ("rnn/cudnn_compatible_gru_cell/gates/kernel", [D + U, 2 * U]),
        ("rnn/cudnn_compatible_gru_cell/gates/bias", [2 * U]),
        ("rnn/cudnn_compatible_gru_cell/candidate/input_projection/kernel", [D, U]),
        ("rnn/cudnn_compatible_gru_cell/candidate/hidden_projection/kernel", [U, U]),
        ("rnn/cudnn_compatible_gru_cell/candidate/input_projection/bias", [U]),
        ("rnn/cudnn_compatible_gru_cell/candidate/hidden_projection/bias", [U]),
    ]


@BOTH
def test_biases_of_gates_start_at_one_and_those_of_candidates_at_zero(cell_class):
    cell = cell_class(U)
    cell.ensure_built(tf.TensorSpec([None, D]))
    for name, value in weights_of(cell).items():
        if name.endswith("bias"):
            assert np.all(value == (1.0 if name == "gates_bias" else 0.0)), name


@BOTH
def test_initializers_can_be_given(cell_class):
    twos, threes = tf.compat.v1.constant_initializer(2.0), tf.compat.v1.constant_initializer(3.0)
    cell = cell_class(U, kernel_initializer=twos, bias_initializer=threes)
    cell.ensure_built(tf.TensorSpec([None, D]))
    for name, value in weights_of(cell).items():
        assert np.all(value == (3.0 if name.endswith("bias") else 2.0)), name


@BOTH
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_the_cell_follows_its_equations(cell_class, activation, dtype):
    cell = built(cell_class(U, activation=activation), dtype)
    check_cell(cell, reference.Gru(weights_of(cell), activation), dtype)


@BOTH
def test_an_activation_without_a_name_runs_in_an_ordinary_loop(cell_class):
    cell = built(cell_class(U, activation=unnamed_tanh))
    check_cell(cell, reference.Gru(weights_of(cell)))


def test_the_cudnn_compatible_cell_computes_what_keras_computes_with_reset_after():
    cell = built(nn.CudnnCompatibleGRUCell(U))
    w = weights_of(cell)
    recurrent_bias = np.random.default_rng(3).normal(size=2 * U)  # cuDNN's second bias: only the sum matters
    (kr, ku), (br, bu), (cr, cu) = (
        np.split(part, 2, axis=-1)
        for part in (w["gates_kernel"], w["gates_bias"] - recurrent_bias, recurrent_bias)
    )
    layer = tf.keras.layers.GRU(U, reset_after=True)  # its gates are z (our u), r, candidate
    layer.build((B, None, D))
    layer.set_weights(
        [
            np.concatenate([ku[:D], kr[:D], w["candidate_input_kernel"]], axis=1),
            np.concatenate([ku[D:], kr[D:], w["candidate_hidden_kernel"]], axis=1),
            np.stack(
                [
                    np.concatenate([bu, br, w["candidate_input_bias"]]),
                    np.concatenate([cu, cr, w["candidate_hidden_bias"]]),
                ]
            ),
        ]
    )
    x = inputs()
    _, state = nn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=True)
    np.testing.assert_allclose(state, layer(x.transpose(1, 0, 2)), 1e-5, 1e-6)


@BOTH
def test_inputs_that_are_no_floats_or_of_unknown_depth_are_refused(cell_class):
    with pytest.raises(ValueError, match="only supports floating point inputs, but saw dtype: int32"):
        cell_class(U)(np.int32([[1, 2, 3]]), np.zeros([1, U], np.float32))
    with pytest.raises(ValueError, match="needs to know the depth of its inputs"):
        cell_class(U).ensure_built(tf.TensorSpec([None, None]))
