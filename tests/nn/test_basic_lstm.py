"""BasicLSTMCell: an LSTMCell without options."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.families import B, D, U, built, check_cell, graph_variables, unnamed_tanh, weights_of
from tflite_rnn import nn


def test_it_names_its_variables_like_tensorflow_1():
    assert graph_variables(nn.BasicLSTMCell(U)) == [
        ("rnn/basic_lstm_cell/kernel", [D + U, 4 * U]),
        ("rnn/basic_lstm_cell/bias", [4 * U]),
    ]


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize(
    "options", [{}, {"forget_bias": -0.5, "activation": "relu"}, {"state_is_tuple": False}], ids=str
)
def test_the_cell_follows_its_equations(options, dtype):
    cell = built(nn.BasicLSTMCell(U, **options), dtype)
    named = {key: options[key] for key in ("forget_bias", "activation") if key in options}
    check_cell(cell, reference.Lstm(weights_of(cell), **named), dtype)


def test_an_activation_without_a_name_runs_in_an_ordinary_loop():
    cell = built(nn.BasicLSTMCell(U, activation=unnamed_tanh))
    check_cell(cell, reference.Lstm(weights_of(cell)))


def test_the_forget_bias_is_added_on_every_step_and_is_no_part_of_the_bias():
    cell = nn.BasicLSTMCell(U, forget_bias=5.0)
    cell.ensure_built(tf.TensorSpec([None, D]))
    assert np.all(cell.bias.numpy() == 0.0)


@pytest.mark.parametrize("cell", [nn.BasicLSTMCell(U), nn.LSTMCell(U)], ids=["basic", "full"])
def test_a_state_of_another_structure_is_refused(cell):
    x = np.zeros([B, D], np.float32)
    with pytest.raises(ValueError, match="state must have the structure"):
        cell(x, np.zeros([B, 2 * U], np.float32))
    with pytest.raises(ValueError, match="state must have the structure"):
        cell(x, (np.zeros([B, U], np.float32),) * 3)
