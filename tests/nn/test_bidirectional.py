"""bidirectional_dynamic_rnn and stack_bidirectional_dynamic_rnn."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import LENGTHS, B, D, Duck, T, U, X, check, unnamed_tanh, v1, weights
from tflite_rnn import nn

ACTIVATIONS = pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
FLAVOURS = pytest.mark.parametrize("flavour", [nn, nn.lite], ids=["nn", "lite"])
WHOLE = [T] * B


def reverse_rows(x, lengths):
    """Turn every row of [T, B, ...] round up to its length."""
    result = x.copy()
    for row, length in enumerate(np.clip(lengths, 0, T)):
        result[:length, row] = x[:length, row][::-1]
    return result


def backwards(oracle, x, lengths, state=None):
    outputs, final = reference.unroll(oracle, reverse_rows(x, lengths), lengths, state)
    return reverse_rows(outputs, lengths), final


def pair(activation, **options):
    cells = nn.LSTMCell(U, activation=activation, **options), nn.BasicRNNCell(2, activation)
    for cell in cells:
        cell.ensure_built(tf.TensorSpec([None, D], tf.float32))
        for variable in cell.variables:
            variable.assign(np.random.default_rng(4).normal(size=variable.shape))
    return cells


def oracles(cells):
    return reference.Lstm(weights(cells[0])), reference.Rnn(weights(cells[1]))


# bidirectional_dynamic_rnn ------------------------------------------------------------------------


def test_the_signature_is_tensorflows_and_lite_differs_in_the_default_of_time_major():
    names = [
        *("cell_fw", "cell_bw", "inputs", "sequence_length", "initial_state_fw", "initial_state_bw"),
        *("dtype", "parallel_iterations", "swap_memory", "time_major", "scope"),
    ]
    for function, time_major in ((nn.bidirectional_dynamic_rnn, False), (nn.lite.bidirectional_dynamic_rnn, True)):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == names
        assert parameters["time_major"].default is time_major
        defaults = [parameters[name].default for name in names[3:] if name != "time_major"]
        assert defaults == [None, None, None, None, None, False, None]


@FLAVOURS
@ACTIVATIONS
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
def test_the_backward_cell_reads_each_row_from_its_last_element_to_its_first(flavour, activation, lengths, traced):
    cells = pair(activation)
    states = [
        [np.random.default_rng(5).normal(size=[B, size]).astype(np.float32) for size in s] for s in ((U, U), (2,))
    ]

    def run(x):
        return flavour.bidirectional_dynamic_rnn(
            *cells, x, lengths, tuple(states[0]), states[1][0], dtype=tf.float32, time_major=True
        )

    function = tf.function(run, input_signature=[tf.TensorSpec([None, None, D])]) if traced else run
    (forward, backward), (state_fw, state_bw) = function(X)
    lstm, rnn = oracles(cells)
    check((forward, state_fw), reference.unroll(lstm, X, lengths, states[0]))
    check((backward, [state_bw]), backwards(rnn, X, lengths or WHOLE, states[1]))
    assert isinstance(state_fw, nn.LSTMStateTuple)


@FLAVOURS
def test_batch_major_is_the_same_transposed(flavour):
    cells = pair(None)
    outputs, states = flavour.bidirectional_dynamic_rnn(
        *cells, X.swapaxes(0, 1), LENGTHS, dtype=tf.float32, time_major=False
    )
    expected, expected_states = flavour.bidirectional_dynamic_rnn(
        *cells, X, LENGTHS, dtype="float32", time_major=True
    )
    for seen, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(tf.transpose(seen, [1, 0, 2]), wanted, 1e-6, 1e-6)
    for seen, wanted in zip(tf.nest.flatten(states), tf.nest.flatten(expected_states), strict=True):
        np.testing.assert_allclose(seen, wanted, 1e-6, 1e-6)


@ACTIVATIONS
def test_padding_stays_at_the_end_and_shows_nowhere(activation):
    cells, poisoned = pair(activation), X.copy()
    for row, length in enumerate(LENGTHS):
        poisoned[max(length, 0) :, row] = np.nan
    outputs, states = nn.bidirectional_dynamic_rnn(*cells, poisoned, LENGTHS, dtype="float32", time_major=True)
    expected = nn.bidirectional_dynamic_rnn(*cells, X, LENGTHS, dtype="float32", time_major=True)
    for seen, wanted in zip(tf.nest.flatten((outputs, states)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(seen, wanted)
    for output in outputs:
        for row, length in enumerate(LENGTHS):
            assert np.all(output.numpy()[max(length, 0) :, row] == 0.0)


def test_the_scopes_are_fw_and_bw():
    with v1.Graph().as_default():
        x = v1.placeholder(tf.float32, [B, T, D])
        nn.bidirectional_dynamic_rnn(nn.BasicRNNCell(U), nn.BasicRNNCell(U), x, dtype=tf.float32)
        nn.bidirectional_dynamic_rnn(nn.BasicRNNCell(U), nn.BasicRNNCell(U), x, dtype=tf.float32, scope="named")
        names = [variable.op.name for variable in v1.global_variables() if "kernel" in variable.op.name]
    assert names == [
        f"{scope}/basic_rnn_cell/kernel"
        for scope in ("bidirectional_rnn/fw", "bidirectional_rnn/bw", "named/fw", "named/bw")
    ]


@FLAVOURS
def test_each_cell_is_checked_by_its_name(flavour):
    cell = nn.BasicRNNCell(U)
    with pytest.raises(TypeError, match=r"The argument 'cell_fw' \(3\) is not an RNNCell"):
        flavour.bidirectional_dynamic_rnn(3, 4, None)
    with pytest.raises(TypeError, match=r"The argument 'cell_bw' \(4\) is not an RNNCell"):
        flavour.bidirectional_dynamic_rnn(cell, 4, None)
    with pytest.raises(ValueError, match="inputs must be a tensor or a non-empty nest"):
        flavour.bidirectional_dynamic_rnn(cell, cell, None)
    with pytest.raises(TypeError, match="sequence_length must hold integers"):
        flavour.bidirectional_dynamic_rnn(cell, cell, X, [0.5] * 4, dtype=tf.float32)
    with pytest.raises(ValueError, match="must give a dtype"):
        flavour.bidirectional_dynamic_rnn(cell, cell, X)
    with pytest.raises(ValueError, match="Dimension 0 of sequence_length"):
        flavour.bidirectional_dynamic_rnn(cell, cell, X, [1], dtype=tf.float32)


def test_nested_inputs_and_outputs_are_reversed_leaf_by_leaf():
    x = X[:, :, :2]
    (forward, backward), _ = nn.bidirectional_dynamic_rnn(
        Duck(), Duck(), {"a": x, "b": 2 * x}, [3, 0, 5, 1], dtype=tf.float32, time_major=True
    )
    for seen, wanted in zip(backward, forward, strict=True):
        np.testing.assert_allclose(seen, wanted, 1e-6, 1e-6)  # the cell has no memory in its outputs


def test_gradients_flow_through_both_directions():
    cells, x = pair(None), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs, _ = nn.bidirectional_dynamic_rnn(*cells, x, [2, 5, 5, 5], dtype=tf.float32, time_major=True)
        loss = tf.reduce_sum(outputs[0]) + tf.reduce_sum(outputs[1])
    gradients = tape.gradient(loss, [x, *cells[0].variables, *cells[1].variables])
    assert all(np.any(gradient != 0.0) for gradient in gradients)
    assert np.all(gradients[0].numpy()[2:, 0] == 0.0)


# stack_bidirectional_dynamic_rnn ------------------------------------------------------------------


def test_the_stacks_signature_is_that_of_tf_contrib():
    assert list(inspect.signature(nn.stack_bidirectional_dynamic_rnn).parameters) == [
        *("cells_fw", "cells_bw", "inputs", "initial_states_fw", "initial_states_bw", "dtype"),
        *("sequence_length", "parallel_iterations", "time_major", "scope", "swap_memory"),
    ]


@ACTIVATIONS
@pytest.mark.parametrize("given", [False, True], ids=["zero states", "initial states"])
@pytest.mark.parametrize("time_major", [True, False])
def test_every_layer_reads_both_directions_of_the_one_below(activation, given, time_major):
    cells_fw = [nn.LSTMCell(U, activation=activation), nn.BasicRNNCell(2, activation)]
    cells_bw = [nn.BasicRNNCell(3, activation), nn.LSTMCell(U, activation=activation)]
    rng = np.random.default_rng(6)
    starts = [
        [[rng.normal(size=[B, n]).astype(np.float32) for n in cell] for cell in row]
        for row in ([[U, U], [2]], [[3], [U, U]])
    ]
    initial = [[tuple(parts) if len(parts) > 1 else parts[0] for parts in row] for row in starts]
    if not given:
        starts, initial = [[None, None]] * 2, [None, None]
    outputs, states_fw, states_bw = nn.stack_bidirectional_dynamic_rnn(
        cells_fw,
        cells_bw,
        X if time_major else X.swapaxes(0, 1),
        *initial,
        dtype=tf.float32,
        sequence_length=LENGTHS,
        time_major=time_major,
    )
    x = X
    for layer in range(2):
        oracle_fw, oracle_bw = (
            reference.Lstm(weights(cell)) if isinstance(cell, nn.LSTMCell) else reference.Rnn(weights(cell))
            for cell in (cells_fw[layer], cells_bw[layer])
        )
        forward, final_fw = reference.unroll(oracle_fw, x, LENGTHS, starts[0][layer])
        backward, final_bw = backwards(oracle_bw, x, LENGTHS, starts[1][layer])
        for seen, wanted in ((states_fw[layer], final_fw), (states_bw[layer], final_bw)):
            for part, expected in zip(tf.nest.flatten(seen), wanted, strict=True):
                np.testing.assert_allclose(part, expected, 1e-5, 1e-5)
        x = np.concatenate([forward, backward], axis=2)
    np.testing.assert_allclose(outputs, x if time_major else x.swapaxes(0, 1), 1e-5, 1e-5)
    assert isinstance(states_fw, tuple)
    assert isinstance(states_bw, tuple)


def test_the_stacks_variables_are_named_as_in_tf_contrib():
    with v1.Graph().as_default():
        x = v1.placeholder(tf.float32, [B, T, D])
        cells = [[nn.BasicRNNCell(U), nn.BasicRNNCell(U)] for _ in range(2)]
        nn.stack_bidirectional_dynamic_rnn(*cells, x, dtype=tf.float32)
        names = [variable.op.name for variable in v1.global_variables() if "kernel" in variable.op.name]
    assert names == [
        f"stack_bidirectional_rnn/cell_{layer}/bidirectional_rnn/{direction}/basic_rnn_cell/kernel"
        for layer in range(2)
        for direction in ("fw", "bw")
    ]


def test_a_stack_of_unequal_or_missing_layers_is_refused():
    cell = nn.BasicRNNCell(U)
    run = nn.stack_bidirectional_dynamic_rnn
    with pytest.raises(ValueError, match="cells_fw must be a list of at least one cell"):
        run([], [cell], X, dtype=tf.float32)
    with pytest.raises(ValueError, match="cells_bw must be a list of at least one cell"):
        run([cell], cell, X, dtype=tf.float32)
    with pytest.raises(ValueError, match="must have the same depth, but saw 2 and 1 cells"):
        run([cell, cell], [cell], X, dtype=tf.float32)
    with pytest.raises(ValueError, match="initial_states_fw must be a list of 1 states"):
        run([cell], [cell], X, initial_states_fw=np.zeros([B, U]), dtype=tf.float32)
    with pytest.raises(ValueError, match="initial_states_bw must be a list of 1 states"):
        run([cell], [cell], X, initial_states_bw=[None, None], dtype=tf.float32)
    with pytest.raises(TypeError, match="'cell_bw'"):
        run([cell], [3], X, dtype=tf.float32)
