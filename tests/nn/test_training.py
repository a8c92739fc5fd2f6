"""Life of a cell in TensorFlow 2: variables, functions, checkpoints, SavedModels, strategies, training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tflite_rnn import nn
from tflite_rnn.nn import cell_specs, marking

v1 = tf.compat.v1


def unnamed_tanh(x):
    return tf.tanh(x)


RNG = np.random.default_rng(9)
X = RNG.normal(size=[3, 5, 2]).astype(np.float32)


def run(cell, x=X):
    return nn.dynamic_rnn(cell, x, dtype=tf.float32)[0]


def expected(cell, x=X):
    weights = {name: value.numpy() for name, value in cell.weights_by_name().items()}
    return reference.unroll(reference.Lstm(weights), x.transpose(1, 0, 2))[0].transpose(1, 0, 2)


ACTIVATIONS = pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])


@ACTIVATIONS
def test_a_cell_first_used_inside_a_function_makes_its_variables_once(activation):
    cell = nn.LSTMCell(4, activation=activation)
    function = tf.function(lambda x: run(cell, x), autograph=False)
    first = function(X)
    kernel = cell.kernel
    np.testing.assert_allclose(function(X[:2])[:2], first[:2], 1e-6, 1e-6)
    assert cell.kernel is kernel
    assert kernel.name == "rnn/lstm_cell/kernel:0"
    np.testing.assert_allclose(first, expected(cell), 1e-5, 1e-6)


@ACTIVATIONS
def test_autograph_leaves_the_library_alone(activation, caplog):
    cell = nn.LSTMCell(4, activation=activation)

    @tf.function
    def function(x):
        return run(cell, x), cell(x[:, 0], cell.zero_state(3, tf.float32))[0]

    outputs, first = function(X)
    np.testing.assert_allclose(outputs[:, 0], first, 1e-6)
    assert not caplog.records


@ACTIVATIONS
def test_a_checkpoint_restores_a_cell(activation, tmp_path):
    cells = [nn.MultiRNNCell([nn.LSTMCell(4, activation=activation), nn.BasicRNNCell(3)]) for _ in range(2)]
    outputs = run(cells[0])
    path = tf.train.Checkpoint(cell=cells[0]).save(str(tmp_path / "model"))
    checkpoint = tf.train.Checkpoint(cell=cells[1])
    status = checkpoint.restore(path)  # before the variables exist: they are made with the restored values
    np.testing.assert_array_equal(run(cells[1]), outputs)
    status.assert_consumed()


def test_a_saved_model_holds_the_cell_and_still_runs(tmp_path):
    module = tf.Module()
    module.cell = nn.LSTMCell(4)
    module.run = tf.function(lambda x: run(module.cell, x), input_signature=[tf.TensorSpec([None, None, 2])])
    outputs = module.run(X)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.run(X), outputs, 1e-6, 1e-6)


def test_a_distribution_strategy_mirrors_the_variables():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    cell = nn.LSTMCell(4)
    with strategy.scope():
        run(cell)
    assert type(cell.kernel).__name__ == "MirroredVariable"
    replicated = strategy.run(tf.function(lambda: run(cell), autograph=False))
    np.testing.assert_allclose(replicated, expected(cell), 1e-5, 1e-6)


def test_wrap_function_owns_the_variables_of_a_cell_made_inside():
    wrapped = v1.wrap_function(lambda x: run(nn.LSTMCell(4), x), [tf.TensorSpec(X.shape)])
    assert wrapped(X).shape == (3, 5, 4)
    assert [v.name for v in wrapped.variables] == ["rnn/lstm_cell/kernel:0", "rnn/lstm_cell/bias:0"]


def test_eager_training_learns_without_tracing_every_step():
    cell = nn.LSTMCell(8, name="trained")
    optimizer_steps, losses, traces = 12, [], []
    for step in range(optimizer_steps):
        x = RNG.normal(size=[4, 3 + step % 4, 2]).astype(np.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((run(cell, x)[:, -1, 0] - 0.5) ** 2)
        for variable, gradient in zip(cell.variables, tape.gradient(loss, cell.variables), strict=True):
            variable.assign_sub(0.5 * gradient)
        losses.append(float(loss))
        traces.append(traced_functions(cell))
    assert losses[-1] < 0.2 * losses[0]
    assert traces[-1] == traces[4] <= 3, "a new number of steps must not mean a new trace"


def traced_functions(cell):
    """Number of traces of the function that eager calls of this cell share."""
    spec = marking.RecurrenceSpec("rnn", cell_specs.recurrent_cell(cell), time_major=False)
    recurrence = marking.Recurrence(spec, cell_specs.leaves(cell), marking.LoopOptions())
    return marking._eager_function(recurrence).experimental_get_tracing_count()
