"""DropoutWrapper, ResidualWrapper, DeviceWrapper; cells of a user's own class inside them."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import tensorflow as tf

from tests.nn import reference
from tests.nn.families import LENGTHS, B, D, T, U, built, check_cell, graph_variables, inputs, weights_of
from tflite_rnn import nn
from tflite_rnn.nn import cell as cell_module

v1 = tf.compat.v1


class Accumulator:
    """No RNNCell, but like one: adds up its inputs [B, D]; output and state are dicts or tuples around the sum."""

    def __init__(self, size=D):
        self.state_size = (size, {"again": size})
        self.output_size = size

    def get_initial_state(self, inputs, batch_size, dtype):
        return tf.nest.map_structure(lambda size: tf.ones([batch_size, size], dtype), self.state_size)

    def __call__(self, inputs, state):
        total = state[0] + inputs
        return total, (total, {"again": state[1]["again"] + inputs})


def run(cell, x=None, **options):
    return nn.dynamic_rnn(cell, inputs() if x is None else x, dtype=tf.float32, time_major=True, **options)


def ones(*shape):
    return np.ones(shape, np.float32)


# a user's own cell --------------------------------------------------------------------------------


def test_the_examples_of_the_protocol_run():
    result = doctest.testmod(cell_module)
    assert (result.failed, result.attempted) == (0, 9)


WRAPPERS = {
    "dropout": lambda cell: nn.DropoutWrapper(cell, 1.0),
    "residual": nn.ResidualWrapper,
    "device": lambda cell: nn.DeviceWrapper(cell, "/cpu:0"),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_take_any_cell_and_are_cells_like_it(wrap):
    inner = Accumulator()
    cell = wrap(inner)
    assert cell.wrapped_cell is inner
    assert (cell.state_size, cell.output_size) == (inner.state_size, inner.output_size)
    outputs, state = run(nn.MultiRNNCell([cell, nn.BasicRNNCell(U)]))
    assert outputs.shape == (T, B, U)
    np.testing.assert_allclose(state[0][0], inputs().sum(axis=0) + 1, 1e-5, 1e-6)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_add_no_scope(wrap):
    assert [name for name, _ in graph_variables(wrap(nn.LSTMCell(D)))] == [
        "rnn/lstm_cell/kernel",
        "rnn/lstm_cell/bias",
    ]
    stack = nn.MultiRNNCell([wrap(nn.GRUCell(D)), wrap(nn.MultiRNNCell([nn.BasicRNNCell(D)]))])
    assert [name for name, _ in graph_variables(stack)][::2] == [
        "rnn/multi_rnn_cell/cell_0/gru_cell/gates/kernel",
        "rnn/multi_rnn_cell/cell_0/gru_cell/candidate/kernel",
        "rnn/multi_rnn_cell/cell_1/multi_rnn_cell/cell_0/basic_rnn_cell/kernel",
    ]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_refuse_what_is_no_cell(wrap):
    with pytest.raises(TypeError, match=r"The argument 'cell' \(3\) is not an RNNCell"):
        wrap(3)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_the_variables_and_checkpoints_of_a_wrapper_are_those_of_its_cell(wrap, tmp_path):
    cells = [wrap(nn.LSTMCell(D)) for _ in range(2)]
    outputs, _ = run(cells[0])
    assert [v.name for v in cells[0].trainable_variables] == ["rnn/lstm_cell/bias:0", "rnn/lstm_cell/kernel:0"]
    path = tf.train.Checkpoint(cell=cells[0]).save(str(tmp_path / "model"))
    status = tf.train.Checkpoint(cell=cells[1]).restore(path)
    np.testing.assert_array_equal(run(cells[1])[0], outputs)
    status.assert_consumed()


# residual -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_a_residual_adds_inputs_and_zeroes_the_sum_where_a_row_has_ended(dtype):
    inner = built(nn.GRUCell(D), dtype)
    check_cell(nn.ResidualWrapper(inner), reference.Residual(reference.Gru(weights_of(inner))), dtype)


def test_residuals_nest_and_stack():
    inner = [built(nn.LSTMCell(D), seed=seed) for seed in range(3)]
    oracles = [reference.Lstm(weights_of(cell)) for cell in inner]
    upper = nn.ResidualWrapper(nn.MultiRNNCell([inner[1], nn.ResidualWrapper(nn.ResidualWrapper(inner[2]))]))
    doubled = reference.Residual(reference.Residual(oracles[2]))
    check_cell(
        nn.MultiRNNCell([nn.ResidualWrapper(inner[0]), upper]),
        reference.Stack(reference.Residual(oracles[0]), reference.Residual(reference.Stack(oracles[1], doubled))),
    )


def test_a_residual_function_makes_the_output():
    cell = nn.ResidualWrapper(Accumulator(), lambda x, y: {"in": x, "out": -y})
    outputs, _ = cell(inputs()[0], (ones(B, D), {"again": ones(B, D)}))
    np.testing.assert_array_equal(outputs["in"], inputs()[0])
    np.testing.assert_array_equal(outputs["out"], -inputs()[0] - 1)
    with pytest.raises(TypeError, match="residual_fn must be callable, but saw 3"):
        nn.ResidualWrapper(nn.GRUCell(D), 3)


@pytest.mark.parametrize(
    "cell", [nn.GRUCell(U), nn.BasicRNNCell(U, activation=lambda x: x)], ids=["marked", "plain"]
)
def test_a_residual_of_another_depth_is_refused(cell):
    with pytest.raises(ValueError, match=r"adds inputs of shape \(3, 3\) to outputs of shape \(3, 4\)"):
        run(nn.ResidualWrapper(cell))


# dropout ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input_keep_prob", "output_keep_prob", "state_keep_prob"])
def test_a_probability_is_between_0_and_1(name):
    for value in (-0.1, 1.1, tf.constant(2.0)):
        with pytest.raises(ValueError, match=f"{name} must be between 0 and 1"):
            nn.DropoutWrapper(nn.GRUCell(U), **{name: value})


def test_a_filter_is_callable():
    with pytest.raises(TypeError, match="dropout_state_filter_visitor must be callable, but saw 3"):
        nn.DropoutWrapper(nn.GRUCell(U), dropout_state_filter_visitor=3)


def test_variational_masks_need_a_type_and_the_size_of_the_inputs():
    with pytest.raises(ValueError, match="When variational_recurrent=True, dtype must be provided"):
        nn.DropoutWrapper(nn.GRUCell(U), variational_recurrent=True)
    with pytest.raises(ValueError, match="input_size must be provided"):
        nn.DropoutWrapper(nn.GRUCell(U), 0.5, variational_recurrent=True, dtype=tf.float32)
    nn.DropoutWrapper(nn.GRUCell(U), variational_recurrent=True, dtype=tf.float32)


def test_inputs_outputs_and_state_are_dropped_in_their_places():
    x, state = ones(B, 1000), (ones(B, 1000), {"again": ones(B, 1000)})

    def share(**keep):
        output, (total, again) = nn.DropoutWrapper(Accumulator(1000), **keep)(x, state)
        assert set(np.unique(np.concatenate([output, total, again["again"]]))) <= {0.0, 1.0, 2.0, 5.0, 8.0}
        return [float(np.mean(part == 2.0)) for part in (output, total, again["again"])], output, total

    means, output, total = share(input_keep_prob=0.25)
    assert means == [0.0, 0.0, 0.0]  # 1 + 0, or 1 + 1 / 0.25
    assert 0.2 < np.mean(output == 5.0) < 0.3
    np.testing.assert_array_equal(output, total)
    means, output, _ = share(output_keep_prob=0.25)
    assert means == [0.0, 1.0, 1.0]
    assert 0.2 < np.mean(output == 8.0) < 0.3
    means, _, total = share(state_keep_prob=0.25)
    assert means == [1.0, 0.0, 0.0]
    assert 0.2 < np.mean(total == 8.0) < 0.3


def test_a_probability_of_zero_drops_everything():
    for variational in (False, True):
        cell = nn.DropoutWrapper(Accumulator(), 0.0, 0.0, 0.0, variational, D, tf.float32)
        output, state = cell(ones(B, D), (ones(B, D), {"again": ones(B, D)}))
        for part in (output, *tf.nest.flatten(state)):
            assert np.all(part.numpy() == 0.0)


def test_the_memory_of_an_lstm_is_spared_unless_a_filter_says_otherwise():
    x = ones(B, D)
    inner = built(nn.LSTMCell(50))
    _, plain = inner(x, inner.zero_state(B, tf.float32))
    _, dropped = nn.DropoutWrapper(inner, state_keep_prob=0.5)(x, inner.zero_state(B, tf.float32))
    np.testing.assert_array_equal(dropped.c, plain.c)
    assert np.any(dropped.h.numpy() == 0.0)
    everything = nn.DropoutWrapper(inner, state_keep_prob=0.5, dropout_state_filter_visitor=lambda _: True)
    _, dropped = everything(x, inner.zero_state(B, tf.float32))
    assert np.any(dropped.c.numpy() == 0.0)
    assert isinstance(dropped, nn.LSTMStateTuple)


def test_a_filter_chooses_parts_of_nested_states():
    def choose(state):
        return (False, True) if isinstance(state, tuple) else True

    cell = nn.DropoutWrapper(Accumulator(50), state_keep_prob=0.5, dropout_state_filter_visitor=choose)
    _, (total, again) = cell(ones(B, 50), (ones(B, 50), {"again": ones(B, 50)}))
    assert np.all(total.numpy() == 2.0)
    assert set(np.unique(again["again"])) == {0.0, 4.0}


def test_a_variational_mask_is_the_same_for_all_steps_and_rows():
    cell = nn.DropoutWrapper(
        Accumulator(50), 0.5, 0.5, 1.0, variational_recurrent=True, input_size=50, dtype=tf.float32, seed=1
    )
    x = ones(T, B, 50)
    outputs, (total, _) = run(cell, x)
    kept = outputs[0, 0].numpy() != 0.0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_array_equal(outputs.numpy() != 0.0, np.broadcast_to(kept, outputs.shape))
    assert set(np.unique(total)) == {1.0, 1.0 + 2 * T}
    for row in total.numpy():
        np.testing.assert_array_equal(row, total[0])


def test_other_masks_differ_between_steps_and_rows():
    outputs, _ = run(nn.DropoutWrapper(Accumulator(50), output_keep_prob=0.5), ones(T, B, 50))
    masks = outputs.numpy().reshape(T * B, 50) != 0.0
    assert len({mask.tobytes() for mask in masks}) == T * B


def test_variational_masks_are_drawn_anew_in_every_run_of_a_tensorflow_1_graph():
    with v1.Graph().as_default(), v1.Session() as session:
        cell = nn.DropoutWrapper(Accumulator(50), 0.5, variational_recurrent=True, input_size=50, dtype=tf.float32)
        outputs, _ = run(cell, ones(T, B, 50))
        assert np.any(session.run(outputs) != session.run(outputs))


def test_a_wrapper_with_variational_masks_can_be_saved(tmp_path):
    module = tf.Module()
    module.cell = nn.DropoutWrapper(
        nn.LSTMCell(U), 0.5, 0.5, 0.5, variational_recurrent=True, input_size=D, dtype=tf.float32
    )
    module.run = tf.function(lambda x: run(module.cell, x)[0], input_signature=[tf.TensorSpec([T, B, D])])
    outputs = module.run(inputs())
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.run(inputs()), outputs)
    tf.train.Checkpoint(cell=module.cell).save(str(tmp_path / "checkpoint"))


def test_a_fed_probability_is_obeyed_and_may_be_fed_as_1():
    with v1.Graph().as_default(), v1.Session() as session:
        keep = v1.placeholder_with_default(0.0, [])
        cell = nn.DropoutWrapper(nn.GRUCell(U), output_keep_prob=keep)
        assert not cell.keeps_everything
        outputs, state = run(cell)
        session.run(v1.global_variables_initializer())
        assert not np.any(session.run(outputs))
        seen, final = session.run([outputs, state], {keep: 1.0})
        np.testing.assert_array_equal(seen[-1], final)


def test_a_variable_probability_is_read_at_every_use():
    keep = tf.Variable(0.0, trainable=False)
    cell = nn.DropoutWrapper(nn.GRUCell(U), output_keep_prob=keep)
    function = tf.function(lambda: run(cell)[0], autograph=False)
    assert not np.any(function())
    keep.assign(1.0)
    assert np.all(function().numpy() != 0.0)


def test_dropout_trains_and_respects_lengths():
    cell = nn.DropoutWrapper(built(nn.LSTMCell(U)), 0.9, 0.9, 0.9)
    x = tf.constant(inputs())
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs, _ = run(cell, x, sequence_length=LENGTHS)
        loss = tf.reduce_sum(outputs**2)
    assert not np.any(outputs[3:, 0])
    gradients = tape.gradient(loss, [x, *cell.trainable_variables])
    assert all(np.all(np.isfinite(gradient)) and np.any(gradient) for gradient in gradients)


# device -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", tf.sin], ids=["marked", "plain"])
def test_variables_states_and_steps_of_a_cell_are_on_its_device(activation):
    devices = []

    def chosen(operation):
        devices.append(operation.type)
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    with v1.Graph().as_default() as graph:
        cell = nn.DeviceWrapper(nn.BasicRNNCell(U, activation=activation), chosen)
        run(cell)
        names = ["rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias"]
        assert all("CPU:0" in graph.get_operation_by_name(name).device for name in names)
    assert "MatMul" in devices


def test_a_device_changes_no_value():
    inner = built(nn.LSTMCell(U))
    check_cell(nn.DeviceWrapper(nn.DeviceWrapper(inner, "/cpu:0"), None), reference.Lstm(weights_of(inner)))
