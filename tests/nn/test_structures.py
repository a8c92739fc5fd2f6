"""Whole networks: recurrences among other layers, several of them, shared, stacked, mixed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tflite_rnn as rnn
from tests.nn.test_own_cells import Leaky
from tests.runtimes import QUICK
from tflite_rnn.testing import assert_parity

SIZES = ((2, 6), (1, 1), (3, 24))
LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"


def weights(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape, scale=0.4).astype(np.float32))


def recur(cell, x):
    return rnn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=False)


def words_to_labels():
    """Embedding, convolution, dense, a stack with residuals and dropout, dense, softmax."""
    table, filters, squeeze, labels = weights(20, 6), weights(3, 6, 5), weights(5, 4), weights(4, 3)
    inner = [rnn.DropoutWrapper(rnn.LSTMCell(4), 1.0), rnn.ResidualWrapper(rnn.BasicRNNCell(4)), rnn.LSTMCell(4)]
    cell = rnn.MultiRNNCell(inner)

    def run(x):
        embedded = tf.gather(table, tf.cast(tf.abs(x[..., 0]) * 5.0, tf.int32))
        convolved = tf.nn.relu(tf.nn.conv1d(embedded, filters, 1, "SAME"))
        outputs, _ = recur(cell, tf.tensordot(convolved, squeeze, 1))
        return tf.nn.softmax(tf.tensordot(outputs, labels, 1))

    return run, {LSTM: 2, RNN: 1}


def one_cell_twice():
    cell = rnn.LSTMCell(4)

    def run(x):
        forward, state = recur(cell, x)
        again, _ = rnn.dynamic_rnn(cell, 0.5 * x, initial_state=state, time_major=False)
        return forward, again, state

    return run, {LSTM: 2}


def encoder_and_decoder():
    encoder, decoder, bridge = rnn.GRUCell(5), rnn.LSTMCell(4), weights(5, 4)

    def run(x):
        _, summary = recur(encoder, x)
        told = tf.tanh(summary @ bridge)
        start = rnn.nn.LSTMStateTuple(told, told)
        return rnn.dynamic_rnn(decoder, x, initial_state=start, time_major=False)

    return run, {"WHILE": None}


def own_among_known():
    below, own, above, mix = rnn.LSTMCell(4), Leaky(), rnn.BasicRNNCell(3), weights(5, 5)

    def run(x):
        outputs, _ = recur(own, recur(below, x)[0])
        return recur(above, tf.nn.relu(tf.tensordot(outputs, mix, 1)) + outputs)

    return run, {"WHILE": None}


NETWORKS = [words_to_labels, one_cell_twice, encoder_and_decoder, own_among_known]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("sizes", [(None, None), (2, 6)], ids=["unknown sizes", "fixed sizes"])
def test_a_network_is_exact(make, sizes, pool):
    run, expected = make()

    @tf.function(input_signature=[tf.TensorSpec([*sizes, 4], tf.float32, name="x")], autograph=False)
    def network(x):
        return {f"r{index}": part for index, part in enumerate(tf.nest.flatten(run(x)))}

    converted = rnn.convert(network)
    counts = converted.report.op_counts
    assert all(counts.get(kind, 0) == number if number else kind in counts for kind, number in expected.items())
    rng = np.random.default_rng(0)
    shapes = [sizes] if sizes[0] else SIZES
    cases = [{"x": rng.normal(size=(*shape, 4)).astype(np.float32)} for shape in shapes]
    assert_parity(converted, network, inputs=cases, runtimes=QUICK, pool=pool)
