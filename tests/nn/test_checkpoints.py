"""Checkpoints of TensorFlow's own TensorFlow 1 cells: restored by name, they give equal values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.families import LENGTHS, B, D, U, inputs
from tflite_rnn import nn

# TensorFlow's own old cells announce their age.
pytestmark = pytest.mark.filterwarnings("ignore:.*legacy.*|.*deprecated.*")
v1 = tf.compat.v1


def nested_stack(cells):
    residual = cells.ResidualWrapper(cells.MultiRNNCell([cells.BasicLSTMCell(U), cells.GRUCell(U)]))
    return cells.MultiRNNCell([cells.BasicRNNCell(U), residual, cells.DeviceWrapper(cells.LSTMCell(2), "/cpu:0")])


CELLS = {
    "basic_rnn": lambda cells: cells.BasicRNNCell(U, activation="softsign"),
    "basic_lstm": lambda cells: cells.BasicLSTMCell(U, forget_bias=0.5),
    "basic_lstm_one_tensor": lambda cells: cells.BasicLSTMCell(U, state_is_tuple=False, activation=tf.nn.relu),
    "lstm_everything": lambda cells: cells.LSTMCell(
        U,
        use_peepholes=True,
        cell_clip=0.5,
        num_proj=2,
        proj_clip=0.2,
        num_unit_shards=3,
        num_proj_shards=2,
        forget_bias=0.3,
        activation="softsign",
    ),
    "lstm_one_tensor": lambda cells: cells.LSTMCell(U, use_peepholes=True, num_proj=2, state_is_tuple=False),
    "gru": lambda cells: cells.GRUCell(U),
    "gru_relu": lambda cells: cells.GRUCell(U, activation=tf.nn.relu, name="named"),
    "stack_one_tensor": lambda cells: cells.MultiRNNCell(
        [cells.LSTMCell(U, state_is_tuple=False), cells.GRUCell(2)], state_is_tuple=False
    ),
    "nested_stack": nested_stack,
    "residual": lambda cells: cells.ResidualWrapper(cells.GRUCell(D)),
    "residual_function": lambda cells: cells.ResidualWrapper(cells.GRUCell(U), lambda x, y: y * tf.reduce_sum(x)),
    "dropout_that_keeps_all": lambda cells: cells.DropoutWrapper(cells.LSTMCell(U), 1.0, tf.constant(1.0)),
    "dropout": lambda cells: cells.DropoutWrapper(cells.BasicLSTMCell(U), 0.5, 0.6, 0.7, seed=3),
    "dropout_in_a_stack": lambda cells: cells.MultiRNNCell(
        [cells.DropoutWrapper(cells.GRUCell(U), state_keep_prob=0.5, seed=n) for n in range(2)]
    ),
    "dropout_variational": lambda cells: cells.DropoutWrapper(
        cells.LSTMCell(U), 0.5, 0.6, 0.7, variational_recurrent=True, input_size=D, dtype=tf.float32, seed=3
    ),
    "dropout_with_a_filter": lambda cells: cells.DropoutWrapper(
        cells.MultiRNNCell([cells.LSTMCell(U), cells.GRUCell(U)]),
        state_keep_prob=0.5,
        seed=3,
        dropout_state_filter_visitor=lambda state: (
            (True, True) if isinstance(state, tuple) and not hasattr(state, "c") else not hasattr(state, "c")
        ),
    ),
}


def fetches(cells, dynamic_rnn, make, given):
    """Outputs, final state, and gradients to inputs, variables and initial state."""
    v1.set_random_seed(5)
    cell, x = make(cells), tf.constant(inputs().transpose(1, 0, 2))
    state = None
    if given:
        rng = np.random.default_rng(6)
        state = tf.nest.map_structure(
            lambda size: tf.constant(rng.normal(size=[B, size]), tf.float32), cell.state_size
        )
    # One step at a time: the order of the steps is that of the random numbers.
    lengths = LENGTHS if given else None
    outputs, final = dynamic_rnn(cell, x, lengths, state, dtype=tf.float32, parallel_iterations=1)
    loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in [outputs, *tf.nest.flatten(final)]])
    sources = [x, *v1.trainable_variables(), *(tf.nest.flatten(state) if given else [])]
    return outputs, final, v1.gradients(loss, sources)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("given", [False, True], ids=["plain", "lengths_and_state"])
def test_a_checkpoint_of_tensorflow_1_restores_by_name(make, given, tmp_path):
    from tensorflow.python.ops import rnn_cell_impl

    with v1.Graph().as_default(), v1.Session() as session:
        expected = fetches(rnn_cell_impl, v1.nn.dynamic_rnn, make, given)
        names = [v.name for v in v1.global_variables()]
        session.run(v1.global_variables_initializer())
        rng = np.random.default_rng(4)
        for variable in v1.global_variables():
            variable.load(rng.normal(size=variable.shape).astype(np.float32), session)
        v1.train.Saver().save(session, str(tmp_path / "model"))
        expected = session.run(expected)
    with v1.Graph().as_default(), v1.Session() as session:
        seen = fetches(nn, nn.dynamic_rnn, make, given)
        assert sorted(v.name for v in v1.global_variables()) == sorted(names)
        v1.train.Saver().restore(session, str(tmp_path / "model"))
        seen = session.run(seen)
    for ours, theirs in zip(tf.nest.flatten(seen), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-5)
