"""inputs: layouts, ranks, nests, NumPy, and what is refused."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import MODES, STACKS, B, D, Duck, Sum, T, U, X, check, oracle, unnamed_tanh, v1
from tflite_rnn import nn


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
def test_batch_major_is_the_same_transposed(run, kind):
    cell, lengths = STACKS[kind], [3, 0, 9, -2]
    outputs, state = reference.unroll(oracle(cell), X, lengths)
    check(run(cell, X.transpose(1, 0, 2), lengths, None), (outputs.transpose(1, 0, 2), state))


@pytest.mark.parametrize("time_major", [True, False])
def test_numpy_inputs_are_converted_in_both_layouts(dynamic_rnn, time_major):
    expected = dynamic_rnn(STACKS["marked"], tf.constant(X), time_major=time_major)[0]
    np.testing.assert_array_equal(dynamic_rnn(STACKS["marked"], X, time_major=time_major)[0], expected)


class Image:
    """Cell over features of any rank: the running sum of images [B, h, w, c]."""

    def __init__(self, *shape):
        self.state_size = self.output_size = tf.TensorShape(shape)

    def get_initial_state(self, inputs, batch_size, dtype):
        return tf.zeros([batch_size, *self.state_size], dtype)

    def __call__(self, inputs, state):
        return inputs * 2, inputs + state


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("time_major", [True, False])
def test_features_may_be_of_any_rank(dynamic_rnn, graph, time_major):
    x = np.random.default_rng(1).normal(size=[T, B, 2, 3, 1]).astype(np.float32)
    fed = x if time_major else x.swapaxes(0, 1)
    call = lambda: dynamic_rnn(Image(2, 3, 1), fed, [2, 5, 0, 1], time_major=time_major)  # noqa: E731
    outputs, state = tf.function(call, autograph=False)() if graph else call()
    valid = (np.arange(T)[:, np.newaxis] < [2, 5, 0, 1])[..., np.newaxis, np.newaxis, np.newaxis]
    expected = np.where(valid, 2 * x, 0)
    np.testing.assert_allclose(outputs, expected if time_major else expected.swapaxes(0, 1))
    np.testing.assert_allclose(state, np.where(valid, x, 0).sum(axis=0), 1e-5, 1e-6)


Pair = namedtuple("Pair", ["left", "right"])
NESTS = {
    "tuple": lambda a, b, c: (a, (b, c)),
    "list": lambda a, b, c: [a, [b], c],
    "dict": lambda a, b, c: {"z": a, "a": {"x": b}, "m": c},
    "namedtuple": lambda a, b, c: Pair(a, Pair(b, (c,))),
}


class Nested:
    """Cell whose inputs, outputs and state have one and the same nest: inputs a [B, 2], b [B, 3], c [B, 1, 2]."""

    def __init__(self, nest):
        self.nest = nest
        self.state_size = self.output_size = nest(2, 3, tf.TensorShape([1, 2]))

    def zero_state(self, batch_size, dtype):
        return self.nest(*(tf.zeros([batch_size, *shape], dtype) for shape in ([2], [3], [1, 2])))

    def __call__(self, inputs, state):
        tf.nest.assert_same_structure(inputs, self.output_size)
        tf.nest.assert_same_structure(state, self.state_size)
        output = tf.nest.map_structure(lambda x, s: x * s + 1, inputs, state)
        return output, tf.nest.map_structure(lambda x, s: x + s, inputs, state)


@pytest.mark.parametrize("mode", ["eager", "function", "unknown sizes"])
@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_any_nest_of_inputs_states_and_outputs(dynamic_rnn, mode, time_major, nest):
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=[T, B, *shape]).astype(np.float32) for shape in ([2], [3], [1, 2])]
    lengths = [3, 0, 5, 1]
    fed = tf.nest.map_structure(lambda x: tf.constant(x if time_major else x.swapaxes(0, 1)), nest(*arrays))
    specs = tf.nest.map_structure(
        lambda x: tf.TensorSpec(x.shape if mode == "function" else [None, None, *x.shape[2:]]), fed
    )
    call = lambda x: dynamic_rnn(Nested(nest), x, lengths, time_major=time_major)  # noqa: E731
    function = call if mode == "eager" else tf.function(call, input_signature=[specs], autograph=False)
    outputs, state = function(fed)
    tf.nest.assert_same_structure(outputs, nest(0, 0, 0))
    tf.nest.assert_same_structure(state, nest(0, 0, 0))
    for seen, final, x in zip(
        tf.nest.flatten(outputs), tf.nest.flatten(state), tf.nest.flatten(nest(*arrays)), strict=True
    ):
        valid = (np.arange(T)[:, np.newaxis] < lengths).reshape([T, B] + [1] * (x.ndim - 2))
        before = np.cumsum(x, axis=0) - x
        expected = np.where(valid, x * before + 1, 0)
        np.testing.assert_allclose(seen, expected if time_major else expected.swapaxes(0, 1), 1e-5, 1e-5)
        np.testing.assert_allclose(final, np.where(valid, x, 0).sum(axis=0), 1e-5, 1e-6)


def test_the_nest_is_given_to_the_cell_step_by_step():
    x = X[:, :, :2]
    (total, product), _ = nn.dynamic_rnn(Duck(), {"a": x, "b": 2 * x}, dtype=tf.float32, time_major=True)
    np.testing.assert_allclose(total, 3 * x)
    assert product.shape == (T, B, 2, 2)


def test_the_batch_size_is_that_of_the_first_input_that_knows_it():
    function = tf.function(
        lambda a, b: nn.dynamic_rnn(Duck(), {"a": a, "b": b}, dtype=tf.float32, time_major=True)
    )
    concrete = function.get_concrete_function(tf.TensorSpec([T, None, 2]), tf.TensorSpec([None, B, 2]))
    (total, _), _ = concrete.structured_outputs
    assert total.shape[1] == B


@pytest.mark.parametrize("inputs", [None, [], (), {}, [None], {"a": X, "b": None}], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("time_major", [True, False])
def test_missing_inputs_are_a_value_error(dynamic_rnn, inputs, time_major):
    with pytest.raises(ValueError, match="inputs must be a tensor or a non-empty nest"):
        dynamic_rnn(nn.BasicRNNCell(U), inputs, time_major=time_major)


@pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
@pytest.mark.parametrize("time_major", [True, False])
def test_inputs_of_a_wrong_shape_are_refused(dynamic_rnn, activation, time_major):
    def build(shape):
        with v1.Graph().as_default():
            x = v1.placeholder(tf.float32, shape)
            dynamic_rnn(nn.BasicRNNCell(U, activation), x, time_major=time_major)

    with pytest.raises(ValueError, match="rank >= 2"):
        build([T])
    with pytest.raises(ValueError, match="must have rank at least 3"):
        build([T, B])
    with pytest.raises(ValueError, match="known rank"):
        build(None)
    with pytest.raises(ValueError, match=r"Input size \(depth of inputs\) must be accessible .* saw value None"):
        build([T, B, None])
    with pytest.raises(ValueError, match="rank 2"):
        build([T, B, D, D])


@pytest.mark.parametrize("time_major", [True, False])
def test_inputs_that_disagree_are_refused(dynamic_rnn, time_major):
    later, other = (X[1:], X[:, 1:]) if time_major else (X[:, 1:], X[1:])
    with pytest.raises(
        ValueError, match="Time steps is not the same for all the elements in the input in a batch"
    ):
        dynamic_rnn(nn.BasicRNNCell(U), (X, later), time_major=time_major)
    with pytest.raises(ValueError, match="Batch_size is not the same for all the elements in the input"):
        dynamic_rnn(nn.BasicRNNCell(U), (X, other), time_major=time_major)


def test_gradients_flow_to_every_tensor_of_a_nest():
    a, b = tf.constant(X), tf.constant(2 * X)

    class Product(Sum):
        def __call__(self, inputs, state):
            return inputs[0] * inputs[1] + state, state + inputs[0]

    with tf.GradientTape() as tape:
        tape.watch([a, b])
        outputs, state = nn.dynamic_rnn(Product(D), [a, b], [2, 5, 5, 0], dtype=tf.float32, time_major=True)
        loss = tf.reduce_sum(outputs) + tf.reduce_sum(state)
    to_a, to_b = tape.gradient(loss, [a, b])
    length = np.array([2, 5, 5, 0])[np.newaxis, :, np.newaxis]
    time = np.arange(T)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(to_b, np.where(time < length, X, 0), 1e-5)
    np.testing.assert_allclose(to_a, np.where(time < length, 2 * X + length - time, 0), 1e-5)
