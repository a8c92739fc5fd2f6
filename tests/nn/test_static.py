"""static_rnn and static_bidirectional_rnn: sequences as Python lists."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import LENGTHS, STACKS, B, D, Duck, T, U, X, check, flat_states, oracle, v1
from tflite_rnn import nn

STEPS = list(X)


def test_the_signatures_are_tensorflows():
    assert list(inspect.signature(nn.static_rnn).parameters) == [
        *("cell", "inputs", "initial_state", "dtype", "sequence_length", "scope")
    ]
    assert list(inspect.signature(nn.static_bidirectional_rnn).parameters) == [
        *("cell_fw", "cell_bw", "inputs", "initial_state_fw", "initial_state_bw"),
        *("dtype", "sequence_length", "scope"),
    ]


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("mode", ["eager", "function", "unknown batch"])
def test_a_list_gives_a_list_of_outputs_and_the_final_state(kind, lengths, mode):
    cell, flat = STACKS[kind], flat_states()
    initial = tf.nest.pack_sequence_as(cell.state_size, flat)

    def run(*steps):
        return nn.static_rnn(cell, steps, initial, sequence_length=lengths)

    if mode != "eager":
        run = tf.function(run, input_signature=[tf.TensorSpec([B if mode == "function" else None, D])] * T)
    outputs, state = run(*STEPS)
    assert isinstance(outputs, list)
    check((np.stack(outputs), state), reference.unroll(oracle(cell), X, lengths, flat))


def test_the_variables_are_those_of_dynamic_rnn():
    names = []
    for run in (
        lambda x: nn.static_rnn(nn.LSTMCell(U), tf.unstack(x, num=T), dtype=tf.float32),
        lambda x: nn.dynamic_rnn(nn.LSTMCell(U), x, dtype=tf.float32, time_major=True),
        lambda x: nn.static_rnn(nn.LSTMCell(U), tf.unstack(x, num=T), dtype=tf.float32, scope="rnn"),
    ):
        with v1.Graph().as_default():
            run(v1.placeholder(tf.float32, [T, None, D]))
            names.append([variable.op.name for variable in v1.global_variables()])
    assert names == [["rnn/lstm_cell/kernel", "rnn/lstm_cell/bias"]] * 3


def test_steps_may_be_nested_and_of_rank_one():
    steps = [{"a": x[:, :2], "b": 2 * x[:, :2]} for x in STEPS]
    outputs, state = nn.static_rnn(Duck(), steps, dtype=tf.float32, sequence_length=[3, 0, 5, 1])
    assert len(outputs) == T
    assert isinstance(outputs[0], tuple)
    np.testing.assert_allclose(outputs[2][0].numpy()[[0, 2]], 3 * X[2, [0, 2], :2], 1e-6)
    np.testing.assert_array_equal(state["rows"], [3, 0, 5, 1])

    class Numbers(Duck):
        state_size = output_size = tf.TensorShape([])

        def __init__(self):
            pass

        def zero_state(self, batch_size, dtype):
            return tf.zeros([batch_size], dtype)

        def __call__(self, inputs, state):
            return inputs + state, inputs + state

    _, total = nn.static_rnn(Numbers(), list(X[:, :, 0]), dtype=tf.float32)
    np.testing.assert_allclose(total, X[:, :, 0].sum(axis=0), 1e-5, 1e-6)


def test_no_sequence_is_a_type_error_and_an_empty_one_a_value_error():
    cell = nn.BasicRNNCell(U)
    for run in (
        nn.static_rnn,
        lambda cell, *rest, **options: nn.static_bidirectional_rnn(cell, cell, *rest, **options),
    ):
        for inputs in (None, tf.constant(X), X, {"a": X}):
            with pytest.raises(TypeError, match="inputs must be a sequence, a list or tuple"):
                run(cell, inputs, dtype=tf.float32)
        with pytest.raises(ValueError, match="inputs must not be empty"):
            run(cell, [], dtype=tf.float32)
        with pytest.raises(ValueError, match=r"but saw \(4, 3\) in step 0 and \(4, 2\) in step 1"):
            run(cell, [X[0], X[1, :, :2]], dtype=tf.float32)
        with pytest.raises(ValueError, match="every step of inputs must have the structure"):
            run(cell, [X[0], (X[1],)], dtype=tf.float32)
        with pytest.raises(ValueError, match="inputs must be a tensor or a non-empty nest"):
            run(cell, [X[0], None], dtype=tf.float32)
        with pytest.raises(ValueError, match="must be a vector of length batch_size"):
            run(cell, STEPS, dtype=tf.float32, sequence_length=3)
        with pytest.raises(TypeError, match="sequence_length must hold integers"):
            run(cell, STEPS, dtype=tf.float32, sequence_length=[0.5] * B)
        with pytest.raises(ValueError, match="must give a dtype"):
            run(cell, STEPS)


def test_an_unknown_depth_and_a_missing_cell_are_refused():
    with v1.Graph().as_default(), pytest.raises(ValueError, match="Input size"):
        nn.static_rnn(nn.BasicRNNCell(U), [v1.placeholder(tf.float32, [B, None])], dtype=tf.float32)
    with pytest.raises(TypeError, match="'cell'"):
        nn.static_rnn(3, None)
    with pytest.raises(TypeError, match="'cell_fw'"):
        nn.static_bidirectional_rnn(3, 3, None)
    with pytest.raises(TypeError, match="'cell_bw'"):
        nn.static_bidirectional_rnn(nn.BasicRNNCell(U), 3, None)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_static_bidirectional_rnn_joins_the_directions_and_gives_three_values(lengths):
    cells = nn.LSTMCell(U), nn.BasicRNNCell(2)
    outputs, state_fw, state_bw = nn.static_bidirectional_rnn(
        *cells, STEPS, dtype=tf.float32, sequence_length=lengths
    )
    (forward, backward), states = nn.bidirectional_dynamic_rnn(
        *cells, X, lengths, dtype=tf.float32, time_major=True
    )
    np.testing.assert_allclose(np.stack(outputs), np.concatenate([forward, backward], axis=2), 1e-6, 1e-6)
    assert isinstance(state_fw, nn.LSTMStateTuple)
    for seen, wanted in zip(tf.nest.flatten((state_fw, state_bw)), tf.nest.flatten(states), strict=True):
        np.testing.assert_allclose(seen, wanted, 1e-6, 1e-6)


def test_static_bidirectional_rnn_names_its_variables_like_the_dynamic_function():
    with v1.Graph().as_default():
        x = v1.placeholder(tf.float32, [T, None, D])
        nn.static_bidirectional_rnn(nn.BasicRNNCell(U), nn.BasicRNNCell(U), tf.unstack(x, num=T), dtype=tf.float32)
        assert [variable.op.name for variable in v1.global_variables()] == [
            f"bidirectional_rnn/{direction}/basic_rnn_cell/{weight}"
            for direction in ("fw", "bw")
            for weight in ("kernel", "bias")
        ]
