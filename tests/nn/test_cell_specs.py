"""What the compiler is told about a cell, and which cells it is told nothing about."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests.nn.families import D, U, graph_variables, inputs
from tflite_rnn import nn
from tflite_rnn.nn.cell_specs import cell_weights, leaves, recurrent_cell

LEAVES = {
    "basic_rnn": (nn.BasicRNNCell(U, "relu"), "basic_rnn", {"activation": "relu"}),
    "tflite_rnn": (nn.TfLiteRNNCell(U), "tflite_rnn", {}),
    "gru": (nn.GRUCell(U, "softsign"), "gru", {"activation": "softsign", "reset_after": False}),
    "cudnn_gru": (nn.CudnnCompatibleGRUCell(U), "gru", {"reset_after": True}),
    "basic_lstm": (
        nn.BasicLSTMCell(U, forget_bias=0.5),
        "lstm",
        {"forget_bias": 0.5, "cell_clip": None, "proj_clip": None},
    ),
    "lstm": (
        nn.LSTMCell(U, cell_clip=0, proj_clip=2.0),
        "lstm",
        {"forget_bias": 1.0, "cell_clip": 0.0, "proj_clip": None},
    ),
    "tflite_lstm": (
        nn.TFLiteLSTMCell(U, forget_bias=3.0, num_proj=2, cell_clip=1, proj_clip=2),
        "tflite_lstm",
        {"cell_clip": 1.0, "proj_clip": 2.0},
    ),
    "coupled": (
        nn.CoupledInputForgetGateLSTMCell(U, use_peepholes=True),
        "coupled_lstm",
        {"forget_bias": 1.0, "proj_clip": None, "epsilon": None},
    ),
    "coupled_layer_norm": (
        nn.CoupledInputForgetGateLSTMCell(U, layer_norm=True),
        "coupled_lstm",
        {"forget_bias": 1.0, "proj_clip": None, "epsilon": 1e-12},
    ),
    "layer_norm": (nn.LayerNormBasicLSTMCell(U), "layer_norm_lstm", {"forget_bias": 1.0, "epsilon": 1e-12}),
    "layer_norm_off": (
        nn.LayerNormBasicLSTMCell(U, layer_norm=False),
        "lstm",
        {"forget_bias": 1.0, "cell_clip": None, "proj_clip": None},
    ),
}


@pytest.mark.parametrize(("cell", "kind", "attributes"), LEAVES.values(), ids=LEAVES)
def test_a_leaf_cell_says_its_kind_its_attributes_and_its_weights(cell, kind, attributes):
    spec = recurrent_cell(cell)
    assert (spec.kind, spec.name, spec.cells) == (kind, cell.name, ())
    assert dict(spec.attributes) == {"units": U, "activation": "tanh", **attributes}
    assert spec.weights == cell.weight_names
    cell.ensure_built(tf.TensorSpec([None, D]))
    assert len(cell_weights(cell)) == len(spec.weights)


def test_every_cell_has_the_name_of_its_class_as_tensorflow_1_spells_it():
    assert {cell.name for cell, _, _ in LEAVES.values()} == {
        "basic_lstm_cell",
        "basic_rnn_cell",
        "coupled_input_forget_gate_lstm_cell",
        "cudnn_compatible_gru_cell",
        "gru_cell",
        "layer_norm_basic_lstm_cell",
        "lstm_cell",
        "tf_lite_lstm_cell",
        "tf_lite_rnn_cell",
    }


def test_stacks_and_residuals_are_trees_of_cells():
    lstm, gru = nn.LSTMCell(D), nn.GRUCell(D)
    inner = nn.MultiRNNCell([nn.ResidualWrapper(gru), nn.DeviceWrapper(lstm, "/cpu:0")])
    spec = recurrent_cell(nn.MultiRNNCell([lstm, nn.ResidualWrapper(inner)]))
    assert [cell.kind for cell in spec.cells] == ["lstm", "residual"]
    (stack,) = spec.cells[1].cells
    assert [cell.kind for cell in stack.cells] == ["residual", "lstm"]
    assert stack.cells[0].cells == (recurrent_cell(gru),)
    assert [leaf.kind for leaf in spec.leaves()] == ["lstm", "gru", "lstm"]


def test_wrappers_that_change_no_value_are_not_seen_but_devices_are_kept_for_the_loop():
    lstm = nn.LSTMCell(U)
    cell = nn.DeviceWrapper(
        nn.DropoutWrapper(nn.DeviceWrapper(lstm, "/cpu:0"), 1, tf.constant(1.0), 1.0), "/cpu:1"
    )
    assert recurrent_cell(cell) == recurrent_cell(lstm)
    (leaf,) = leaves(cell)
    assert leaf.devices == ("/cpu:1", "/cpu:0")
    assert leaf.state_sizes == (U, U)


class Subclass(nn.GRUCell):
    """May compute anything."""


class Own:
    state_size = output_size = U

    def zero_state(self, batch_size, dtype):
        return tf.zeros([batch_size, U], dtype)

    def __call__(self, inputs, state):
        return state, state


UNKNOWN = {
    "user's own": Own,
    "subclass": lambda: Subclass(U),
    "subclass inside": lambda: nn.MultiRNNCell([nn.ResidualWrapper(nn.MultiRNNCell([Subclass(D)]))]),
    "dropout": lambda: nn.DropoutWrapper(nn.LSTMCell(U), 0.5),
    "dropout by a variable": lambda: nn.DropoutWrapper(nn.LSTMCell(U), tf.Variable(1.0, trainable=False)),
    "residual function": lambda: nn.ResidualWrapper(nn.LSTMCell(D), lambda x, y: x + y),
    "recurrent dropout": lambda: nn.LayerNormBasicLSTMCell(U, dropout_keep_prob=0.9),
    "sin": lambda: nn.GRUCell(U, activation=tf.sin),
    "negative clip": lambda: nn.TFLiteLSTMCell(U, cell_clip=-1.0),
    "infinite clip": lambda: nn.CoupledInputForgetGateLSTMCell(U, num_proj=2, proj_clip=float("inf")),
    "forget bias of a tensor": lambda: nn.BasicLSTMCell(U, forget_bias=tf.constant(1.0)),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_what_the_compiler_cannot_express_is_an_ordinary_loop(make):
    cell = make()
    assert recurrent_cell(cell) is None
    function = tf.function(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)[0], autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec(inputs().shape)).graph
    assert any(op.type in {"While", "StatelessWhile"} for op in graph.get_operations())


def test_a_wrapper_is_built_where_a_stack_puts_it():
    stack = nn.MultiRNNCell([nn.DropoutWrapper(nn.GRUCell(U)), nn.DropoutWrapper(nn.GRUCell(U), 0.5)])
    names = [name for name, _ in graph_variables(stack)]
    assert len(names) == 8
    assert all(
        name.startswith(f"rnn/multi_rnn_cell/cell_{index // 4}/gru_cell/") for index, name in enumerate(names)
    )
