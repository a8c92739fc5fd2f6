"""raw_rnn: a loop that a function drives."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.cases import B, D, Sum, T, U, X, check, v1, weights
from tflite_rnn import nn

LENGTHS = [3, 0, 5, 1]
MODES = pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])


def run(function, traced):
    return tf.function(function, autograph=False)() if traced else function()


def reader(cell, x=X, lengths=LENGTHS, emit=lambda output: output, structure=None, initial_state=None):
    """Return the loop function that makes raw_rnn a dynamic_rnn over x."""
    steps = tf.TensorArray(tf.float32, size=T, element_shape=x.shape[1:]).unstack(x)

    def loop_fn(time, cell_output, cell_state, loop_state):
        if cell_output is None:
            assert cell_state is None
            assert loop_state is None
            cell_state, emitted = initial_state or cell.zero_state(x.shape[1], tf.float32), structure
        else:
            emitted = emit(cell_output)
        finished = time >= lengths
        next_input = tf.cond(
            tf.reduce_all(finished), lambda: tf.zeros(x.shape[1:]), lambda: steps.read(tf.minimum(time, T - 1))
        )
        return finished, next_input, cell_state, emitted, None

    return loop_fn


def test_the_signature_is_tensorflows():
    assert list(inspect.signature(nn.raw_rnn).parameters) == [
        *("cell", "loop_fn", "parallel_iterations", "swap_memory", "scope")
    ]


@MODES
def test_it_can_do_what_dynamic_rnn_does(traced):
    cell = nn.LSTMCell(U)
    cell.ensure_built(tf.TensorSpec([None, D], tf.float32))

    def network():
        outputs, state, loop_state = nn.raw_rnn(cell, reader(cell))
        assert loop_state is None
        assert isinstance(state, nn.LSTMStateTuple)
        return outputs.stack(), state

    check(run(network, traced), reference.unroll(reference.Lstm(weights(cell)), X, LENGTHS))


@MODES
def test_finished_rows_emit_zeros_and_keep_their_state_whatever_the_cell_makes_of_them(traced):
    poisoned = X.copy()
    for row, length in enumerate(LENGTHS):
        poisoned[length:, row] = np.nan

    def network():
        emits, state, _ = nn.raw_rnn(Sum(D), reader(Sum(D), poisoned))
        return emits.stack(), state

    outputs, state = run(network, traced)
    valid = (np.arange(T)[:, np.newaxis] < LENGTHS)[:, :, np.newaxis]
    np.testing.assert_allclose(outputs, np.where(valid, np.cumsum(X, axis=0), 0), 1e-5, 1e-6)
    np.testing.assert_allclose(state, np.where(valid, X, 0).sum(axis=0), 1e-5, 1e-6)


@MODES
def test_the_loop_ends_when_all_rows_are_finished(traced):
    def network():
        emits, _, _ = nn.raw_rnn(Sum(D), reader(Sum(D), lengths=[2, 1, 0, 2]))
        return emits.stack()

    assert run(network, traced).shape == (2, B, D)


def test_rows_that_are_finished_at_once_run_no_step():
    def network():
        emits, state, _ = nn.raw_rnn(Sum(D), reader(Sum(D), lengths=[0] * B))
        return emits.stack(), state

    emits, state = run(network, traced=True)
    assert emits.shape == (0, B, D)
    assert not np.any(state)


@MODES
def test_what_is_emitted_has_the_structure_of_the_first_call(traced):
    structure = {"twice": tf.zeros([D]), "count": tf.zeros([], tf.int32)}

    def network():
        loop_fn = reader(Sum(D), emit=lambda y: {"twice": 2 * y, "count": tf.fill([B], 7)}, structure=structure)
        emits, _, _ = nn.raw_rnn(Sum(D), loop_fn)
        return {name: sink.stack() for name, sink in emits.items()}

    emits = run(network, traced)
    valid = np.arange(T)[:, np.newaxis] < LENGTHS
    np.testing.assert_allclose(
        emits["twice"], np.where(valid[:, :, np.newaxis], 2 * np.cumsum(X, axis=0), 0), 1e-5
    )
    np.testing.assert_array_equal(emits["count"], np.where(valid, 7, 0))


@MODES
def test_the_loop_state_belongs_to_the_function_and_none_leaves_it_as_it_is(traced):
    def loop_fn(time, cell_output, cell_state, loop_state):
        if cell_output is None:
            log = tf.TensorArray(tf.int32, size=T, element_shape=[])
            return tf.fill([B], False), tf.ones([B, D]), tf.zeros([B, D]), None, (log, tf.constant(0))
        log, _ = loop_state
        return tf.fill([B], time >= T), tf.ones([B, D]), cell_state, cell_output, (log.write(time - 1, time), time)

    def network():
        _, _, (log, last) = nn.raw_rnn(Sum(D), loop_fn)
        return log.stack(), last

    log, last = run(network, traced)
    np.testing.assert_array_equal(log, np.arange(1, T + 1))
    assert last == T


@MODES
def test_a_loop_state_of_none_leaves_it_as_it_is(traced):
    def loop_fn(time, cell_output, cell_state, loop_state):
        state = tf.zeros([B, D]) if cell_output is None else cell_state
        new = tf.constant(5) if cell_output is None else None
        return tf.fill([B], time >= 2), tf.ones([B, D]), state, cell_output, new

    assert run(lambda: nn.raw_rnn(Sum(D), loop_fn)[2], traced) == 5


def test_a_decoder_feeds_its_outputs_back():
    cell = nn.BasicRNNCell(D, "linear")
    cell.ensure_built(tf.TensorSpec([None, D], tf.float32))

    def loop_fn(time, cell_output, cell_state, _):
        if cell_output is None:
            return tf.fill([B], False), tf.constant(X[0]), tf.zeros([B, D]), None, None
        return tf.fill([B], time >= 3), cell_output, cell_state, cell_output, None

    outputs, _, _ = nn.raw_rnn(cell, loop_fn)
    step, x, h, expected = reference.Rnn(weights(cell), "linear"), np.float64(X[0]), np.zeros([B, D]), []
    for _ in range(3):
        x = h = np.stack([step.step(x[row], [h[row]])[0] for row in range(B)])
        expected.append(h)
    np.testing.assert_allclose(outputs.stack(), expected, 1e-4, 1e-5)


def test_it_works_in_a_session_and_gradients_flow():
    with v1.Graph().as_default(), v1.Session() as session:
        cell, x = nn.LSTMCell(U), tf.constant(X)
        outputs, _, _ = nn.raw_rnn(cell, reader(cell, x))
        assert [variable.op.name for variable in v1.global_variables()] == [
            "rnn/lstm_cell/kernel",
            "rnn/lstm_cell/bias",
        ]
        gradients = v1.gradients(tf.reduce_sum(outputs.stack() ** 2), [x, cell.kernel])
        session.run(v1.global_variables_initializer())
        to_x, to_kernel = session.run(gradients)
    assert np.any(to_kernel != 0.0)
    assert np.all(to_x[3:, 0] == 0.0)
    assert np.any(to_x[:3, 0] != 0.0)


def test_what_cannot_run_is_refused():
    with pytest.raises(TypeError, match="'cell'"):
        nn.raw_rnn(3, reader(Sum(D)))
    with pytest.raises(TypeError, match="loop_fn must be callable, but saw 3"):
        nn.raw_rnn(Sum(D), 3)
    with pytest.raises(AssertionError, match="parallel_iterations must be int"):
        nn.raw_rnn(Sum(D), reader(Sum(D)), parallel_iterations=0.5)


def fixed(**changes):
    """Return a loop function of one step, some of whose results are replaced: name=(first call, later calls)."""

    def loop_fn(time, cell_output, cell_state, _):
        first = cell_output is None
        results = {
            "finished": (tf.fill([B], False), tf.fill([B], True)),
            "inputs": (tf.zeros([B, D]), tf.zeros([B, D])),
            "state": (tf.zeros([B, D]), cell_state),
            "emit": (None, cell_output),
            "loop_state": (None, None),
        }
        return tuple(value[0 if first else 1] for value in {**results, **changes}.values())

    return loop_fn


ZEROS = np.zeros([B, D], np.float32)
REFUSALS = {
    "no inputs": ({"inputs": (None, ZEROS)}, "inputs must be a tensor or a non-empty nest"),
    "inputs of rank 0": ({"inputs": (np.float32(1), ZEROS)}, "next_input of loop_fn must be of known rank"),
    "batches": ({"inputs": ((ZEROS, ZEROS[1:]), ZEROS)}, r"must be of one batch size, but saw \[3, 4\]"),
    "state": ({"state": (ZEROS[:, 1:], ZEROS)}, "initial_state must have shape"),
    "state structure": ({"state": ((ZEROS, ZEROS), ZEROS)}, "initial_state must have . tensors"),
    "later inputs": ({"inputs": (ZEROS, (ZEROS,))}, "next_input of loop_fn must have the structure"),
    "later state": ({"state": (ZEROS, (ZEROS,))}, "next_cell_state of loop_fn must have the structure"),
    "later emit": ({"emit": (None, (ZEROS,))}, "emit_output of loop_fn must have the structure"),
    "late loop state": ({"loop_state": (None, ZEROS)}, "next_loop_state of loop_fn must stay None"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSALS.values(), ids=REFUSALS)
@MODES
def test_a_function_that_changes_its_mind_is_refused(changes, message, traced):
    with pytest.raises(ValueError, match=message):
        run(lambda: nn.raw_rnn(Sum(D), fixed(**changes))[1], traced)
