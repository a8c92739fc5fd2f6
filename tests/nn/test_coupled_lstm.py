"""CoupledInputForgetGateLSTMCell of tf.contrib.rnn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.families import B, D, U, built, check_cell, graph_variables, unnamed_tanh, weights_of
from tflite_rnn import nn

SCOPE = "rnn/coupled_input_forget_gate_lstm_cell"


def test_it_names_its_variables_like_tensorflow_1():
    assert graph_variables(nn.CoupledInputForgetGateLSTMCell(U, use_peepholes=True, num_proj=2)) == [
        (f"{SCOPE}/W_0", [D + 2, 3 * U]),
        (f"{SCOPE}/B", [3 * U]),
        (f"{SCOPE}/W_F_diag", [U]),
        (f"{SCOPE}/W_O_diag", [U]),
        (f"{SCOPE}/W_P_0", [U, 2]),
    ]


def test_shards_are_variables_of_their_own_the_first_ones_a_row_longer():
    cell = nn.CoupledInputForgetGateLSTMCell(U, num_proj=2, num_unit_shards=3, num_proj_shards=2)
    assert dict(graph_variables(cell)) == {
        f"{SCOPE}/W_0": [2, 3 * U],
        f"{SCOPE}/W_1": [2, 3 * U],
        f"{SCOPE}/W_2": [1, 3 * U],
        f"{SCOPE}/B": [3 * U],
        f"{SCOPE}/W_P_0": [2, 2],
        f"{SCOPE}/W_P_1": [2, 2],
    }


def test_normalisation_adds_gammas_and_betas():
    cell = nn.CoupledInputForgetGateLSTMCell(U, layer_norm=True, norm_gain=0.5, norm_shift=0.25)
    names = [
        f"{SCOPE}/{gate}/{part}"
        for gate in ("transform", "forget", "output", "state")
        for part in ("gamma", "beta")
    ]
    assert [name for name, _ in graph_variables(cell)] == [f"{SCOPE}/W_0", f"{SCOPE}/B", *names]
    cell = nn.CoupledInputForgetGateLSTMCell(U, layer_norm=True, norm_gain=0.5, norm_shift=0.25)
    cell.ensure_built(tf.TensorSpec([None, D]))
    assert np.all(cell.state_gamma.numpy() == 0.5)
    assert np.all(cell.forget_beta.numpy() == 0.25)


OPTIONS = {
    "plain": {},
    "peepholes": {"use_peepholes": True, "forget_bias": 0.25},
    "projection": {"num_proj": 2, "proj_clip": 0.1, "num_unit_shards": 2},
    "one_tensor": {"state_is_tuple": False, "num_proj": 2},
    "relu": {"activation": "relu"},
    "layer_norm": {"layer_norm": True},
    "layer_norm_everything": {"layer_norm": True, "use_peepholes": True, "num_proj": 2, "forget_bias": 0.5},
}


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_cell_follows_its_equations(options, dtype):
    cell = built(nn.CoupledInputForgetGateLSTMCell(U, **options), dtype)
    named = {key: options[key] for key in ("activation", "forget_bias", "proj_clip") if key in options}
    check_cell(cell, reference.CoupledLstm(weights_of(cell), **named), dtype)


def test_an_activation_without_a_name_runs_in_an_ordinary_loop():
    cell = built(nn.CoupledInputForgetGateLSTMCell(U, activation=unnamed_tanh))
    check_cell(cell, reference.CoupledLstm(weights_of(cell)))


def test_more_shards_than_rows_and_an_empty_projection_are_refused_at_the_first_step():
    x = np.zeros([B, D], np.float32)
    for options, message in (
        ({"num_unit_shards": 99}, "into 99 row blocks; use 1 to 7"),
        ({"num_proj": 0}, "num_proj must be at least 1"),
    ):
        cell = nn.CoupledInputForgetGateLSTMCell(U, **options)
        with pytest.raises(ValueError, match=message):
            cell(x, cell.zero_state(B, tf.float32))
