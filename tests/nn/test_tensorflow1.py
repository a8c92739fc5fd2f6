"""Against TensorFlow's own TensorFlow 1 cells and loop: the same weights, outputs, states and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflite_rnn import nn

v1 = tf.compat.v1

T, B, D, U = 6, 3, 3, 4
RNG = np.random.default_rng(3)
X = RNG.normal(size=[B, T, D]).astype(np.float32)
STATES = {size: RNG.normal(size=[B, size]).astype(np.float32) for size in (2, U)}

CELLS = {
    "basic_rnn": lambda cells: cells.BasicRNNCell(U, activation=tf.nn.relu),
    "lstm": lambda cells: cells.LSTMCell(U),
    "lstm_peepholes_projection_clips": lambda cells: cells.LSTMCell(
        U, use_peepholes=True, cell_clip=0.5, num_proj=2, proj_clip=0.2, forget_bias=0.3
    ),
    "lstm_shards": lambda cells: cells.LSTMCell(U, num_proj=2, num_unit_shards=3, num_proj_shards=2),
    "lstm_one_tensor": lambda cells: cells.LSTMCell(U, state_is_tuple=False),
    "lstm_unnamed_activation": lambda cells: cells.LSTMCell(U, activation=lambda x: tf.tanh(x) * 0.5),
    "stack": lambda cells: cells.MultiRNNCell([cells.LSTMCell(U, num_proj=2), cells.BasicRNNCell(U)]),
}


def initial_state(cell):
    return tf.nest.map_structure(
        lambda size: np.concatenate([STATES[U]] * (size // U), axis=1) if size > U else STATES[size],
        cell.state_size,
    )


def build(cells, dynamic_rnn, make, lengths, stateful):
    """Return fetches: outputs, final state, and gradients to inputs and variables."""
    cell = make(cells)
    x = tf.constant(X)
    state = initial_state(cell) if stateful else None
    state = None if state is None else tf.nest.map_structure(tf.constant, state)
    outputs, final = dynamic_rnn(cell, x, lengths, state, dtype=tf.float32)
    loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in [outputs, *tf.nest.flatten(final)]])
    sources = [x, *v1.trainable_variables(), *([] if state is None else tf.nest.flatten(state))]
    return outputs, final, v1.gradients(loss, sources)


@pytest.mark.filterwarnings("ignore:.*legacy.*|.*deprecated.*")  # TensorFlow's own old cells announce their age
@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize(("lengths", "stateful"), [(None, False), ([4, 0, 6], True)])
def test_a_checkpoint_of_tensorflow_1_gives_the_same_network(make, lengths, stateful, tmp_path):
    from tensorflow.python.ops import rnn_cell_impl

    with v1.Graph().as_default(), v1.Session() as session:
        expected = build(rnn_cell_impl, v1.nn.dynamic_rnn, make, lengths, stateful)
        names = [v.name for v in v1.global_variables()]
        session.run(v1.global_variables_initializer())
        for variable in v1.global_variables():
            variable.load(RNG.normal(size=variable.shape).astype(np.float32), session)
        v1.train.Saver().save(session, str(tmp_path / "model"))
        expected = session.run(expected)
    with v1.Graph().as_default(), v1.Session() as session:
        seen = build(nn, nn.dynamic_rnn, make, lengths, stateful)
        assert [v.name for v in v1.global_variables()] == names
        v1.train.Saver().restore(session, str(tmp_path / "model"))
        seen = session.run(seen)
    for ours, theirs in zip(tf.nest.flatten(seen), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-5)
