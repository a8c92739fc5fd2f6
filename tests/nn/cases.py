"""Networks, inputs and ways to run them that several test modules share."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.nn import reference
from tflite_rnn import nn

v1 = tf.compat.v1

RNG = np.random.default_rng(11)
T, B, D, U = 5, 4, 3, 4
X = RNG.normal(size=[T, B, D]).astype(np.float32)
LENGTHS = [3, 0, 9, -2]


def unnamed_tanh(x):
    """No activation the compiler knows: a cell with it runs in an ordinary loop."""
    return tf.tanh(x)


def make_stack(activation=None):
    cell = nn.MultiRNNCell(
        [nn.LSTMCell(U, use_peepholes=True, num_proj=2, activation=activation), nn.BasicRNNCell(U, activation)]
    )
    cell(X[0], cell.zero_state(B, tf.float32))
    for variable in cell.variables:
        variable.assign(RNG.normal(size=variable.shape))
    return cell


# The marked function and the plain loop are two ways to one meaning: every test of values runs both.
STACKS = {"marked": make_stack(), "plain": make_stack(unnamed_tanh)}
STATE_SIZES = (U, 2, U)


def weights(cell):
    return {name: value.numpy() for name, value in cell.weights_by_name().items()}


def oracle(stack):
    lstm, rnn = (weights(cell) for cell in stack.cells)
    return reference.Stack(reference.Lstm(lstm), reference.Rnn(rnn))


def flat_states():
    return [RNG.normal(size=[B, size]).astype(np.float32) for size in STATE_SIZES]


def run_eagerly(cell, x, lengths, state, **options):
    return nn.dynamic_rnn(cell, x, lengths, state, dtype=tf.float32, **options)


def run_in_a_function(cell, x, lengths, state, **options):
    function = tf.function(lambda: nn.dynamic_rnn(cell, x, lengths, state, dtype=tf.float32, **options))
    return function()


def run_with_unknown_sizes(cell, x, lengths, state, **options):
    """Run in a function that knows neither time nor batch."""
    given = {"x": x, "lengths": None if lengths is None else np.int32(lengths), "state": state}
    given = tf.nest.map_structure(tf.constant, {key: value for key, value in given.items() if value is not None})
    specs = tf.nest.map_structure(
        lambda t: tf.TensorSpec([None, None, D] if t.shape.rank == 3 else [None, *t.shape[1:]], t.dtype), given
    )

    @tf.function(autograph=False)
    def function(given):
        lengths, state = given.get("lengths"), given.get("state")
        return nn.dynamic_rnn(cell, given["x"], lengths, state, dtype=tf.float32, **options)

    return function.get_concrete_function(specs)(given)


MODES = [run_eagerly, run_in_a_function, run_with_unknown_sizes]


def check(result, expected, tolerance=1e-5):
    outputs, state = result
    expected_outputs, expected_state = expected
    np.testing.assert_allclose(outputs, expected_outputs, tolerance, tolerance)
    for seen, wanted in zip(tf.nest.flatten(state), expected_state, strict=True):
        np.testing.assert_allclose(seen, wanted, tolerance, tolerance)


class Duck:
    """No RNNCell, but like one: nested inputs and outputs, a row counter and a step counter in the state.

    Inputs {"a", "b"}: [B, 2] each. Outputs (a + b [B, 2], b a^T [B, 2, 2]).
    """

    def __init__(self):
        self.state_size = {"rows": tf.TensorShape([]), "steps": tf.TensorShape([])}
        self.output_size = (2, tf.TensorShape([2, 2]))

    def zero_state(self, batch_size, dtype):
        return {"rows": tf.zeros([batch_size], dtype), "steps": tf.zeros([], dtype)}

    def __call__(self, inputs, state):
        outputs = (inputs["a"] + inputs["b"], inputs["b"][:, :, tf.newaxis] * inputs["a"][:, tf.newaxis, :])
        return outputs, {"rows": state["rows"] + 1.0, "steps": state["steps"] + 1.0}


class Sum:
    """Cell of one number per row: the sum of the inputs so far, [B, n] -> [B, n]."""

    def __init__(self, size):
        self.state_size = self.output_size = size

    def zero_state(self, batch_size, dtype):
        return tf.zeros([batch_size, self.state_size], dtype)

    def __call__(self, inputs, state):
        total = inputs + state
        return total, total
