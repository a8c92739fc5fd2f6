"""The cells of TensorFlow 1.15's tf.lite.experimental.nn."""

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

GATES = ("input", "forget", "cell", "output")


def test_the_rnn_cell_names_its_variables_like_tensorflow_1_15():
    assert graph_variables(nn.TfLiteRNNCell(U)) == [
        ("rnn/tf_lite_rnn_cell/input_weights", [U, D]),
        ("rnn/tf_lite_rnn_cell/recurrent_weights", [U, U]),
        ("rnn/tf_lite_rnn_cell/bias", [U]),
    ]


def test_the_lstm_cell_names_its_variables_like_tensorflow_1_15():
    scope = "rnn/tf_lite_lstm_cell"
    assert graph_variables(nn.TFLiteLSTMCell(U, use_peepholes=True, num_proj=2)) == [
        *((f"{scope}/input_to_{gate}_w", [U, D]) for gate in GATES),
        *((f"{scope}/cell_to_{gate}_w", [U, 2]) for gate in GATES),
        *((f"{scope}/{gate}_bias", [U]) for gate in GATES),
        *((f"{scope}/{name}", [U]) for name in ("w_f_diag", "w_i_diag", "w_o_diag")),
        (f"{scope}/projection/kernel", [2, U]),
    ]


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_rnn_cell_follows_its_equation(activation, dtype):
    cell = built(nn.TfLiteRNNCell(U, activation=activation), dtype)
    check_cell(cell, reference.TfLiteRnn(weights_of(cell), activation), dtype)


LSTM_OPTIONS = {
    "plain": {},
    "peepholes": {"use_peepholes": True},
    "projection": {"num_proj": 2},
    "clips": {"cell_clip": 0.2, "num_proj": 2, "proj_clip": 0.1},
    "cell_clip_zero": {"cell_clip": 0.0},
    "proj_clip_without_projection": {"proj_clip": 0.01},
    "one_tensor": {"state_is_tuple": False, "num_proj": 2},
    "everything": {"use_peepholes": True, "num_proj": 2, "cell_clip": 0.5, "proj_clip": 0.3, "activation": "relu"},
}


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("options", LSTM_OPTIONS.values(), ids=LSTM_OPTIONS)
def test_the_lstm_cell_follows_its_equations(options, dtype):
    cell = built(nn.TFLiteLSTMCell(U, **options), dtype)
    named = {key: options[key] for key in ("activation", "cell_clip", "proj_clip") if key in options}
    check_cell(cell, reference.TfLiteLstm(weights_of(cell), **named), dtype)


@pytest.mark.parametrize("shards", [{"num_unit_shards": 2}, {"num_proj_shards": 2}], ids=str)
def test_shards_change_no_value(shards):
    cell = built(nn.TFLiteLSTMCell(U, num_proj=2, **shards))
    assert len(cell.variables) > 13
    check_cell(cell, reference.TfLiteLstm(weights_of(cell)))


@pytest.mark.parametrize(
    "cell", [nn.TfLiteRNNCell(U, unnamed_tanh), nn.TFLiteLSTMCell(U, activation=unnamed_tanh)]
)
def test_an_activation_without_a_name_runs_in_an_ordinary_loop(cell):
    built(cell)
    oracle = reference.TfLiteRnn if isinstance(cell, nn.TfLiteRNNCell) else reference.TfLiteLstm
    check_cell(cell, oracle(weights_of(cell)))


def test_the_forget_bias_is_the_initial_value_of_the_variable_and_nothing_else():
    cell = nn.TFLiteLSTMCell(U, forget_bias=0.75)
    cell.ensure_built(tf.TensorSpec([None, D]))
    assert np.all(cell.forget_bias.numpy() == 0.75)
    assert np.all(cell.input_bias.numpy() == 0.0)
    check_cell(cell, reference.TfLiteLstm(weights_of(cell)))
    default = nn.TFLiteLSTMCell(U)
    default.ensure_built(tf.TensorSpec([None, D]))
    assert np.all(default.forget_bias.numpy() == 1.0)


def test_the_weights_of_an_lstm_cell_can_be_taken_over():
    source = built(nn.LSTMCell(U, forget_bias=1.5, use_peepholes=True, num_proj=2))
    target = nn.TFLiteLSTMCell(U, use_peepholes=True, num_proj=2)
    target.ensure_built(tf.TensorSpec([None, D]))
    w = weights_of(source)
    for gate, columns, bias in zip(
        ("input", "cell", "forget", "output"),
        np.split(w["kernel"], 4, axis=1),
        np.split(w["bias"], 4),
        strict=True,
    ):
        getattr(target, f"input_to_{gate}_w").assign(columns[:D].T)
        getattr(target, f"cell_to_{gate}_w").assign(columns[D:].T)
        getattr(target, f"{gate}_bias").assign(bias + (1.5 if gate == "forget" else 0.0))
    for name in ("w_f_diag", "w_i_diag", "w_o_diag"):
        getattr(target, name).assign(w[name])
    target.projection_kernel.assign(w["projection_kernel"].T)
    runs = [nn.dynamic_rnn(cell, inputs(), dtype=tf.float32, time_major=True) for cell in (source, target)]
    check_same(*map(tf.nest.flatten, runs))


@pytest.mark.parametrize("cell_class", [nn.TfLiteRNNCell, nn.TFLiteLSTMCell])
def test_inputs_of_another_type_than_the_weights_are_an_assertion_error(cell_class):
    for activation in (None, unnamed_tanh):
        cell = cell_class(U, activation=activation, dtype=tf.float32)
        with pytest.raises(AssertionError, match="expected inputs of the weights' type float32, got float64"):
            nn.dynamic_rnn(cell, inputs(tf.float64), dtype=tf.float64, time_major=True)
        built(cell)
        with pytest.raises(AssertionError, match="expected inputs of the weights' type float32, got float64"):
            cell(np.zeros([B, D]), cell.zero_state(B, tf.float64))
        with pytest.raises(ValueError, match="must be of one type"):
            cell(np.zeros([B, D], np.float32), cell.zero_state(B, tf.float64))


def test_a_projection_of_depth_zero_is_refused_at_the_first_step():
    cell = nn.TFLiteLSTMCell(U, num_proj=0)
    with pytest.raises(ValueError, match="num_proj must be at least 1"):
        cell(np.zeros([B, D], np.float32), cell.zero_state(B, tf.float32))
