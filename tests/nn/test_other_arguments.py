"""parallel_iterations, swap_memory, scope and the reuse of variables."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.cases import LENGTHS, STACKS, B, D, T, U, X, unnamed_tanh, v1
from tflite_rnn import nn


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


# parallel_iterations ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STACKS)
def test_parallel_iterations_change_no_value(dynamic_rnn, kind):
    expected = dynamic_rnn(STACKS[kind], X)[0]
    for iterations in (None, 0, 1, 64):
        seen = dynamic_rnn(STACKS[kind], X, parallel_iterations=iterations)[0]
        np.testing.assert_allclose(seen, expected, 1e-6, 1e-6)


@pytest.mark.parametrize(("given", "used"), [(None, 32), (0, 32), (7, 7)])
@pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
def test_the_loop_is_told_parallel_iterations_32_by_default(given, used, activation):
    cell = nn.LSTMCell(U, activation=activation)
    function = tf.function(lambda x: nn.dynamic_rnn(cell, x, dtype="float32", parallel_iterations=given)[0])
    definition = function.get_concrete_function(tf.TensorSpec([B, T, D])).graph.as_graph_def()
    nodes = [*definition.node, *(node for body in definition.library.function for node in body.node_def)]
    loops = [node for node in nodes if node.op in {"While", "StatelessWhile"}]
    assert [loop.attr["parallel_iterations"].i for loop in loops] == [used]


def test_parallel_iterations_must_be_an_integer(dynamic_rnn):
    for wrong in (2.5, "3"):
        with pytest.raises(AssertionError, match="parallel_iterations must be int"):
            dynamic_rnn(STACKS["marked"], X, parallel_iterations=wrong)


# swap_memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "function"])
def test_swap_memory_changes_neither_values_nor_gradients(dynamic_rnn, kind, traced):
    cell, x = STACKS[kind], tf.constant(X)

    def train(swap_memory):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, state = dynamic_rnn(cell, x, LENGTHS, swap_memory=swap_memory)
            loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in [outputs, *tf.nest.flatten(state)]])
        return outputs, state, tape.gradient(loss, [x, *cell.variables])

    results = [tf.function(train, autograph=False)(swap) if traced else train(swap) for swap in (False, True)]
    for seen, expected in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_allclose(seen, expected, 1e-6, 1e-6)


def kept_numbers(swap_memory):
    """How many floats per row and step a marked LSTM keeps for the gradient."""
    cell = nn.LSTMCell(U)

    def train(x):
        with tf.GradientTape() as tape:
            outputs, _ = nn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=True, swap_memory=swap_memory)
            loss = tf.reduce_sum(outputs**2)
        return tape.gradient(loss, cell.trainable_variables)

    cell.ensure_built(tf.TensorSpec([None, D], tf.float32))
    library = tf.function(train).get_concrete_function(tf.TensorSpec([T, B, D])).graph.as_graph_def().library
    kept = 0
    for body in library.function:
        nodes = {node.name: node for node in body.node_def}
        for node in nodes.values():
            if node.op == "EmptyTensorList" and node.attr["element_dtype"].type == tf.float32.as_datatype_enum:
                shape = nodes[node.input[0].split(":")[0]].attr["value"].tensor
                kept += int(np.prod(tf.make_ndarray(shape))) // B
    return kept


def test_swap_memory_keeps_only_inputs_and_state_of_each_step_of_a_marked_cell():
    assert kept_numbers(swap_memory=False) >= 7 * U + D
    assert kept_numbers(swap_memory=True) == 2 * U + D


# scope and variables ------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
def test_variables_and_ops_are_under_the_scope(dynamic_rnn, activation):
    with v1.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [T, None, D])
        dynamic_rnn(nn.LSTMCell(U, activation=activation), x)
        dynamic_rnn(nn.LSTMCell(U, activation=activation), x, scope="named")
        with v1.variable_scope("outer"), v1.variable_scope("object") as scope:
            pass
        dynamic_rnn(nn.LSTMCell(U, activation=activation), x, scope=scope)
        names = [variable.op.name for variable in v1.global_variables()]
        loops = [op.name for op in graph.get_operations() if op.type in {"While", "StatelessWhile"}]
    assert names == [
        f"{scope}/lstm_cell/{weight}"
        for scope in ("rnn", "named", "outer/object")
        for weight in ("kernel", "bias")
    ]
    if activation is not None:
        assert [name.rsplit("/", 1)[0] for name in loops] == ["rnn", "named", "object"]


def test_a_second_new_cell_in_one_scope_is_refused_unless_the_scope_reuses(dynamic_rnn):
    with v1.Graph().as_default():
        x = v1.placeholder(tf.float32, [T, None, D])
        dynamic_rnn(nn.BasicRNNCell(U), x)
        with pytest.raises(ValueError, match="Variable rnn/basic_rnn_cell/kernel already exists, disallowed"):
            dynamic_rnn(nn.BasicRNNCell(U), x)
        with v1.variable_scope("", reuse=True):
            dynamic_rnn(nn.BasicRNNCell(U), x)
        with v1.variable_scope("", reuse=v1.AUTO_REUSE):
            dynamic_rnn(nn.BasicRNNCell(U), x)
            dynamic_rnn(nn.BasicRNNCell(U), x, scope="new")
        assert len(v1.global_variables()) == 4


@pytest.mark.parametrize("activation", [None, unnamed_tanh], ids=["marked", "plain"])
def test_one_cell_object_keeps_its_first_variables_in_another_scope(dynamic_rnn, activation):
    with v1.Graph().as_default(), v1.Session() as session:
        x, cell = v1.placeholder(tf.float32, [T, None, D]), nn.BasicRNNCell(U, activation)
        results = [dynamic_rnn(cell, x, scope=scope)[0] for scope in ("first", "second")]
        assert [variable.op.name for variable in v1.global_variables()] == [
            "first/basic_rnn_cell/kernel",
            "first/basic_rnn_cell/bias",
        ]
        session.run(v1.global_variables_initializer())
        first, second = session.run(results, {x: X})
    np.testing.assert_array_equal(first, second)


def caching_devices(build):
    """Which devices the variables were to be cached on, True or False each, in the scope that `build` opens."""
    seen = []

    class Spy(nn.BasicRNNCell):
        def build(self, inputs_shape):
            seen.append(v1.get_variable_scope().caching_device is not None)
            super().build(inputs_shape)

    build(Spy(U))
    return seen


def test_a_tensorflow_1_graph_caches_variables_outside_loops_only():
    def graph(cell):
        with v1.Graph().as_default():
            nn.dynamic_rnn(cell, X, dtype=tf.float32)

    def loop(cell):
        with v1.Graph().as_default():
            tf.while_loop(
                lambda i, _: i < 2,
                lambda i, _: (i + 1, nn.dynamic_rnn(cell, X, dtype=tf.float32)[0]),
                (0, tf.zeros([T, B, U])),
            )

    def function(cell):
        tf.function(lambda: nn.dynamic_rnn(cell, X, dtype=tf.float32)[0], autograph=False)()

    assert caching_devices(graph) == [True]
    assert caching_devices(loop) == [False]
    assert caching_devices(function) == [False]
    assert caching_devices(lambda cell: nn.dynamic_rnn(cell, X, dtype=tf.float32)) == [False]
