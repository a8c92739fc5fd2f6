"""Every cell of the package beside its oracle in numpy, and what the tests of all families do with them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.nn import reference
from tflite_rnn import nn

v1 = tf.compat.v1

T, B, D, U = 5, 3, 3, 4
LENGTHS = [3, 0, 9]
TOLERANCE = {tf.float32: 2e-5, tf.float64: 1e-11, tf.float16: 2e-2}


def unnamed_tanh(x):
    return tf.tanh(x)


def graph_variables(cell):
    """Names (without ":0") and shapes of the variables of dynamic_rnn(cell) in a TensorFlow 1 graph, in order."""
    with v1.Graph().as_default():
        nn.dynamic_rnn(cell, v1.placeholder(tf.float32, [None, None, D]), dtype=tf.float32)
        return [(v.op.name, v.shape.as_list()) for v in v1.global_variables()]


def built(cell, dtype=tf.float32, depth=D, seed=0):
    """Return the cell with random weights."""
    rng = np.random.default_rng(seed)
    cell.ensure_built(tf.TensorSpec([None, depth], dtype))
    for variable in cell.variables:
        if variable.dtype == dtype:
            variable.assign(rng.normal(size=variable.shape))
    return cell


def weights_of(cell):
    return {name: value.numpy() for name, value in cell.weights_by_name().items()}


def inputs(dtype=tf.float32, seed=1, depth=D):
    return np.random.default_rng(seed).normal(size=[T, B, depth]).astype(dtype.as_numpy_dtype)


def random_state(sizes, dtype=tf.float32, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=[B, size]).astype(dtype.as_numpy_dtype) for size in sizes]


def check_cell(cell, oracle, dtype=tf.float32):
    """The loop with lengths and a given state, and the first step by hand, against the oracle."""
    x, flat = inputs(dtype), random_state(oracle.sizes, dtype)
    state = packed(cell, flat)
    outputs, final = nn.dynamic_rnn(cell, x, LENGTHS, state, time_major=True)
    expected, expected_state = reference.unroll(oracle, x, LENGTHS, [np.float64(part) for part in flat])
    check_same([outputs, *flattened(cell, final, oracle)], [expected, *expected_state], dtype)
    output, stepped = cell(x[0], state)
    expected, expected_state = reference.unroll(oracle, x[:1], None, [np.float64(part) for part in flat])
    check_same([output, *flattened(cell, stepped, oracle)], [expected[0], *expected_state], dtype)


def packed(cell, flat):
    single = not tf.nest.is_nested(cell.state_size)
    return np.concatenate(flat, axis=1) if single else tf.nest.pack_sequence_as(cell.state_size, flat)


def flattened(cell, state, oracle):
    tf.nest.assert_same_structure(cell.state_size, state)
    if tf.nest.is_nested(cell.state_size):
        return tf.nest.flatten(state)
    return np.split(state, np.cumsum(oracle.sizes)[:-1], axis=1)


def check_same(seen, expected, dtype=tf.float32):
    for one, other in zip(seen, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, TOLERANCE[dtype], TOLERANCE[dtype])
