"""Every cell that has a fused op, converted: the op it becomes, and parity on every installed runtime."""

from __future__ import annotations

import pytest
import tensorflow as tf

import tflite_rnn as rnn
from tests.nn.families import D, U, built
from tflite_rnn.testing import assert_parity

LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"


def nested_stack():
    upper = rnn.MultiRNNCell([rnn.TFLiteLSTMCell(D), rnn.ResidualWrapper(rnn.TfLiteRNNCell(D))])
    lower = rnn.DropoutWrapper(rnn.BasicLSTMCell(D), 1.0, tf.constant(1.0), 1)
    return rnn.MultiRNNCell([lower, rnn.DeviceWrapper(rnn.ResidualWrapper(upper), "/cpu:0"), rnn.BasicRNNCell(U)])


CELLS = {
    "basic_lstm": (lambda: rnn.BasicLSTMCell(U, forget_bias=0.5), {LSTM: 1}),
    "basic_lstm_relu_one_tensor": (
        lambda: rnn.BasicLSTMCell(U, state_is_tuple=False, activation=tf.nn.relu6),
        {LSTM: 1},
    ),
    "lstm_shards": (
        lambda: rnn.LSTMCell(U, use_peepholes=True, num_proj=2, num_unit_shards=3, num_proj_shards=2),
        {LSTM: 1},
    ),
    "lstm_one_tensor": (lambda: rnn.LSTMCell(U, cell_clip=0.5, num_proj=3, state_is_tuple=False), {LSTM: 1}),
    "tflite_lstm": (lambda: rnn.TFLiteLSTMCell(U), {LSTM: 1}),
    "tflite_lstm_everything": (
        lambda: rnn.TFLiteLSTMCell(U, True, cell_clip=0.6, num_proj=2, proj_clip=0.3, activation="relu"),
        {LSTM: 1},
    ),
    "tflite_rnn": (lambda: rnn.TfLiteRNNCell(U), {RNN: 1}),
    "tflite_rnn_linear": (lambda: rnn.TfLiteRNNCell(U, activation="linear"), {RNN: 1}),
    "coupled": (lambda: rnn.CoupledInputForgetGateLSTMCell(U), {LSTM: 1}),
    "coupled_everything": (
        lambda: rnn.CoupledInputForgetGateLSTMCell(U, True, num_proj=2, proj_clip=0.3, num_unit_shards=2),
        {LSTM: 1},
    ),
    "layer_norm_off": (lambda: rnn.LayerNormBasicLSTMCell(U, layer_norm=False), {LSTM: 1}),
    "residual": (lambda: rnn.ResidualWrapper(rnn.LSTMCell(D)), {LSTM: 1, "ADD": 3}),  # 2 write the initial state
    "dropout_that_keeps_all": (lambda: rnn.DropoutWrapper(rnn.LSTMCell(U), 1.0), {LSTM: 1}),
    "device": (lambda: rnn.DeviceWrapper(rnn.LSTMCell(U), "/gpu:7"), {LSTM: 1}),
    "nested_stack": (nested_stack, {LSTM: 2, RNN: 2}),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_becomes_its_fused_op_and_computes_the_same(name, pool):
    make, expected = CELLS[name]
    cell = make()
    built(cell)
    for variable in cell.variables:
        variable.assign(0.5 * variable)  # a linear network must not explode

    @tf.function(input_signature=[tf.TensorSpec([None, None, D], tf.float32, name="x")])
    def network(x):
        outputs, state = rnn.dynamic_rnn(cell, x, dtype=tf.float32)
        return {"outputs": outputs, "state": tf.nest.flatten(state)}

    converted = rnn.convert(network)
    counts = converted.report.op_counts
    assert {op: counts.get(op) for op in expected} == expected
    assert "WHILE" not in counts
    assert_parity(converted, network, pool=pool)
