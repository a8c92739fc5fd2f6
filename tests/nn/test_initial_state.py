"""initial_state and dtype: what is given, what is inferred, what must agree."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import (
    LENGTHS,
    MODES,
    STACKS,
    B,
    Duck,
    Sum,
    T,
    U,
    X,
    check,
    flat_states,
    oracle,
    unnamed_tanh,
    weights,
)
from tflite_rnn import nn

ACTIVATIONS = pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


# initial_state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("given", [False, True], ids=["zero state", "initial state"])
def test_the_network_starts_from_zeros_or_from_the_initial_state(run, kind, lengths, given):
    cell, flat = STACKS[kind], flat_states()
    initial = tf.nest.pack_sequence_as(cell.state_size, flat) if given else None
    expected = reference.unroll(oracle(cell), X, lengths, flat if given else None)
    check(run(cell, X, lengths, initial, time_major=True), expected)


@ACTIVATIONS
def test_states_that_are_one_tensor(activation):
    lstm = nn.LSTMCell(U, num_proj=2, state_is_tuple=False, activation=activation)
    cell = nn.MultiRNNCell([lstm, nn.BasicRNNCell(U)], state_is_tuple=False)
    initial = np.random.default_rng(3).normal(size=[B, 10]).astype(np.float32)
    outputs, state = nn.dynamic_rnn(cell, X, LENGTHS, initial, time_major=True)
    expected, flat = reference.unroll(oracle(cell), X, LENGTHS, np.split(initial, [U, U + 2], axis=1))
    check((outputs, [state]), (expected, [np.concatenate(flat, axis=1)]))


@pytest.mark.parametrize("convert", [tf.constant, np.float32, tf.Variable], ids=["tensor", "numpy", "variable"])
def test_the_initial_state_may_be_tensors_variables_or_numpy(dynamic_rnn, convert):
    cell, flat = STACKS["marked"], flat_states()
    initial = tf.nest.pack_sequence_as(cell.state_size, [convert(part) for part in flat])
    check(dynamic_rnn(cell, X, None, initial), reference.unroll(oracle(cell), X, None, flat))


@pytest.mark.parametrize("kind", STACKS)
def test_lists_and_tuples_stand_for_each_other_and_the_cells_structure_comes_back(dynamic_rnn, kind):
    cell, (c, h, top) = STACKS[kind], flat_states()
    for initial in ([[c, h], top], ((c, h), top), [nn.LSTMStateTuple(c, h), top]):
        outputs, state = dynamic_rnn(cell, X, LENGTHS, initial)
        assert type(state) is tuple
        assert isinstance(state[0], nn.LSTMStateTuple)
        check((outputs, state), reference.unroll(oracle(cell), X, LENGTHS, [c, h, top]))


@pytest.mark.parametrize("kind", STACKS)
def test_an_initial_state_that_does_not_fit_is_refused(dynamic_rnn, kind):
    zeros = np.zeros([B, U], np.float32)
    with pytest.raises(ValueError, match="initial_state must have 3 tensors, as the state of the cell, but saw 1"):
        dynamic_rnn(STACKS[kind], X, initial_state=zeros)
    with pytest.raises(ValueError, match="initial_state must have the structure"):
        dynamic_rnn(STACKS[kind], X, initial_state=(zeros, zeros[:, :2], zeros))
    with pytest.raises(ValueError, match=r"initial_state must have shape \(4, 2\), but saw \(4, 4\)"):
        dynamic_rnn(STACKS[kind], X, initial_state=((zeros, zeros), zeros))
    with pytest.raises(ValueError, match=r"initial_state must have shape \(4, 4\), but saw \(3, 4\)"):
        dynamic_rnn(STACKS[kind], X, initial_state=((zeros[:3], zeros[:, :2]), zeros))


def test_the_keys_of_a_dict_must_be_those_of_the_cell(dynamic_rnn):
    x = {"a": X[:, :, :2], "b": X[:, :, :2]}
    rows, steps = np.zeros([B], np.float32), np.float32(7)
    assert dynamic_rnn(Duck(), x, initial_state={"steps": steps, "rows": rows})[1]["steps"] == 7 + T
    for wrong in ({"rows": rows, "stepz": steps}, (rows, steps)):
        with pytest.raises(ValueError, match="initial_state must have the structure"):
            dynamic_rnn(Duck(), x, initial_state=wrong)


def test_an_initial_state_of_the_wrong_batch_is_refused_when_it_is_run():
    function = tf.function(
        lambda x, h: nn.dynamic_rnn(STACKS["marked"].cells[1], x, None, h)[0],
        input_signature=[tf.TensorSpec([None, None, 2]), tf.TensorSpec([None, U])],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="ConcatOp"):
        function(np.zeros([B, T, 2], np.float32), np.zeros([B - 1, U], np.float32))


@pytest.mark.parametrize("kind", STACKS)
def test_gradients_flow_to_the_initial_state(kind):
    cell = STACKS[kind]
    state = tf.nest.map_structure(lambda size: tf.ones([B, size]), cell.state_size)
    with tf.GradientTape() as tape:
        tape.watch(state)
        _, final = nn.dynamic_rnn(cell, X, LENGTHS, state, time_major=True)
        loss = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(final)])
    for gradient in tf.nest.flatten(tape.gradient(loss, state)):
        np.testing.assert_array_equal(gradient.numpy()[[1, 3]], 1.0)  # rows of length zero pass the state through
        assert np.all(gradient.numpy()[0] != 1.0)


# dtype --------------------------------------------------------------------------------------------


def test_dtype_is_needed_without_an_initial_state(dynamic_rnn):
    with pytest.raises(
        ValueError, match=r"If there is no initial_state, you must give a dtype.*must be specified"
    ):
        dynamic_rnn(nn.BasicRNNCell(U), X, dtype=None)


def test_dtype_may_be_a_name(dynamic_rnn):
    outputs, state = dynamic_rnn(nn.BasicRNNCell(U), X, dtype="float32")
    assert outputs.dtype == state.dtype == tf.float32


@ACTIVATIONS
def test_dtype_is_inferred_from_the_initial_state(dynamic_rnn, activation):
    x, zeros = np.float64(X), np.zeros([B, U])
    outputs, state = dynamic_rnn(nn.LSTMCell(U, activation=activation), x, None, (zeros, zeros), dtype=None)
    assert outputs.dtype == state.c.dtype == state.h.dtype == tf.float64


def test_no_dtype_is_inferred_from_none_or_from_several(dynamic_rnn):
    mixed = (np.zeros([B, U], np.float32), np.zeros([B, U], np.float64))
    with pytest.raises(ValueError, match=r"different inferred dtypes \(float32, float64\)"):
        dynamic_rnn(nn.LSTMCell(U), X, initial_state=mixed, dtype=None)
    with pytest.raises(ValueError, match="Unable to infer dtype from an empty"):
        dynamic_rnn(nn.LSTMCell(U), X, initial_state=(), dtype=None)


class Mixed(Sum):
    """A sum, and a number of rows seen: a state of two types."""

    def __init__(self, size):
        super().__init__(size)
        self.state_size = (size, 1)

    def __call__(self, inputs, state):
        total, count = state
        return inputs, (total + inputs, count + 1)


def test_with_a_dtype_the_parts_of_the_state_may_differ_in_type(dynamic_rnn):
    initial = (np.zeros([B, 3], np.float32), np.zeros([B, 1], np.int64))
    outputs, (total, count) = dynamic_rnn(Mixed(3), X, [1, 2, 3, 0], initial, dtype=tf.float32)
    assert (outputs.dtype, total.dtype, count.dtype) == (tf.float32, tf.float32, tf.int64)
    np.testing.assert_array_equal(count, [[1], [2], [3], [0]])


@ACTIVATIONS
def test_the_inputs_are_not_cast_to_dtype(dynamic_rnn, activation):
    with pytest.raises(ValueError, match="must be of one type, but saw float32, float64"):
        dynamic_rnn(nn.BasicRNNCell(U, activation), X, dtype=tf.float64)
    with pytest.raises(ValueError, match="must be of one type, but saw float32, float64"):
        dynamic_rnn(nn.BasicRNNCell(U, activation), X, None, np.zeros([B, U], np.float64), dtype=None)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-12), (tf.float16, 2e-2)])
@ACTIVATIONS
def test_other_float_types(dtype, tolerance, activation):
    cell = nn.LSTMCell(U, use_peepholes=True, num_proj=2, activation=activation)
    x = X.astype(dtype.as_numpy_dtype)
    outputs, state = nn.dynamic_rnn(cell, x, LENGTHS, dtype=dtype, time_major=True)
    assert outputs.dtype == state.c.dtype == dtype
    check((outputs, state), reference.unroll(reference.Lstm(weights(cell)), x, LENGTHS), tolerance)
