"""LayerNormBasicLSTMCell of tf.contrib.rnn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.families import (
    B,
    D,
    U,
    built,
    check_cell,
    check_same,
    graph_variables,
    inputs,
    unnamed_tanh,
    weights_of,
)
from tflite_rnn import nn

SCOPE = "rnn/layer_norm_basic_lstm_cell"


def test_it_names_its_variables_like_tensorflow_1():
    gates = ("input", "transform", "forget", "output", "state")
    assert graph_variables(nn.LayerNormBasicLSTMCell(U)) == [
        (f"{SCOPE}/kernel", [D + U, 4 * U]),
        *((f"{SCOPE}/{gate}/{part}", [U]) for gate in gates for part in ("gamma", "beta")),
    ]
    assert graph_variables(nn.LayerNormBasicLSTMCell(U, layer_norm=False)) == [
        (f"{SCOPE}/kernel", [D + U, 4 * U]),
        (f"{SCOPE}/bias", [4 * U]),
    ]


def test_gammas_and_betas_start_at_gain_and_shift():
    for options, gain, shift in (({}, 1.0, 0.0), ({"norm_gain": 2.0, "norm_shift": 0.5}, 2.0, 0.5)):
        cell = nn.LayerNormBasicLSTMCell(U, **options)
        cell.ensure_built(tf.TensorSpec([None, D]))
        for name, value in weights_of(cell).items():
            if name != "kernel":
                assert np.all(value == (gain if name.endswith("gamma") else shift)), name


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("options", [{}, {"forget_bias": -0.5, "activation": "relu"}], ids=str)
def test_the_cell_follows_its_equations(options, dtype):
    cell = built(nn.LayerNormBasicLSTMCell(U, **options), dtype)
    check_cell(cell, reference.LayerNormLstm(weights_of(cell), **options), dtype)


def test_the_memory_that_is_stored_is_the_normalised_one():
    cell = nn.LayerNormBasicLSTMCell(U)
    _, state = nn.dynamic_rnn(cell, inputs(), dtype=tf.float32, time_major=True)
    np.testing.assert_allclose(tf.reduce_mean(state.c, axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(tf.math.reduce_std(state.c, axis=1), 1.0, 1e-5)


def test_rows_without_variance_stay_finite():
    cell = nn.LayerNormBasicLSTMCell(U)
    output, state = cell(np.zeros([B, D], np.float32), cell.zero_state(B, tf.float32))
    assert np.all(np.isfinite([output, *state]))


def test_float16_works_with_an_epsilon_of_its_own():
    cell = nn.LayerNormBasicLSTMCell(U)
    outputs, _ = nn.dynamic_rnn(cell, inputs(tf.float16), dtype=tf.float16, time_major=True)
    assert outputs.dtype == tf.float16
    assert np.all(np.isfinite(outputs))


def test_without_normalisation_it_is_a_basic_lstm():
    cell = built(nn.LayerNormBasicLSTMCell(U, layer_norm=False, forget_bias=0.5))
    check_cell(cell, reference.Lstm(weights_of(cell), forget_bias=0.5))


def test_an_activation_without_a_name_runs_in_an_ordinary_loop():
    cell = built(nn.LayerNormBasicLSTMCell(U, activation=unnamed_tanh))
    check_cell(cell, reference.LayerNormLstm(weights_of(cell)))


@pytest.mark.parametrize("layer_norm", [True, False])
def test_dropout_is_applied_to_the_candidate_only(layer_norm):
    kept = built(nn.LayerNormBasicLSTMCell(U, layer_norm=layer_norm))
    none = built(nn.LayerNormBasicLSTMCell(U, layer_norm=layer_norm, dropout_keep_prob=0.0))
    if layer_norm:
        kept.transform_gamma.assign(tf.zeros([U]))
        kept.transform_beta.assign(tf.zeros([U]))
    else:
        columns = np.ones([4, U], np.float32)
        columns[1] = 0.0
        kept.kernel.assign(kept.kernel * columns.reshape(-1))
        kept.bias.assign(kept.bias * columns.reshape(-1))
    x = inputs()
    runs = [nn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=True) for cell in (kept, none)]
    check_same(*map(tf.nest.flatten, runs))


def test_dropout_scales_what_it_keeps_and_follows_its_seed():
    results = []
    for seed in (7, 7, 8):
        tf.random.set_seed(1)
        cell = built(nn.LayerNormBasicLSTMCell(64, dropout_keep_prob=0.5, dropout_prob_seed=seed))
        results.append(cell(inputs()[0], cell.zero_state(B, tf.float32))[0].numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert np.any(results[0] != results[2])


def test_a_keep_probability_may_be_a_tensor_but_must_be_a_probability():
    cell = nn.LayerNormBasicLSTMCell(U, dropout_keep_prob=tf.Variable(0.5, trainable=False))
    assert np.all(np.isfinite(nn.dynamic_rnn(cell, inputs(), dtype=tf.float32, time_major=True)[0]))
    with pytest.raises(ValueError, match=r"dropout_keep_prob must be between 0 and 1, but saw 1\.5"):
        nn.LayerNormBasicLSTMCell(U, dropout_keep_prob=1.5)
