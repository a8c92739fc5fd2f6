"""Marked recurrences: what the compiler finds in the raw file of TFLiteConverter, by converter.marker."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from converter.marker import MARKER, SPEC, RecurrenceSpec
from tflite_rnn import nn
from tflite_rnn.nn.cell_specs import recurrent_cell

v1 = tf.compat.v1

T, B, D, U = 5, 2, 3, 4
RNG = np.random.default_rng(5)


def convert(directory):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(directory))
    converter.allow_custom_ops = True
    return converter.convert()


class RawFile:
    """The operators of a file of one subgraph, each operand and result as (shape with -1, array or None)."""

    def __init__(self, content):
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        (self.graph,) = self.model.subgraphs
        self.operators = self.graph.operators

    def custom_code(self, operator):
        code = self.model.operatorCodes[operator.opcodeIndex].customCode
        return code.decode() if code else None

    def shape(self, index):
        tensor = self.graph.tensors[index]
        return list(tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)

    def constant(self, index):
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        return None if data is None else np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)


def network(cell, batch, steps, lengths, stateful, time_major):
    """A module whose only function takes x, maybe lengths and states s0.., and gives outputs and n0.. ."""
    module = tf.Module()
    module.cell = cell
    specs = {"x": tf.TensorSpec([steps, batch, D] if time_major else [batch, steps, D])}
    if lengths:
        specs["lengths"] = tf.TensorSpec([batch], tf.int32)
    if stateful:
        for index, size in enumerate(tf.nest.flatten(cell.state_size)):
            specs[f"s{index}"] = tf.TensorSpec([batch, size])

    def run(operands):
        states = [operands[name] for name in sorted(operands) if name.startswith("s")]
        state = tf.nest.pack_sequence_as(cell.state_size, states) if states else None
        outputs, final = nn.dynamic_rnn(
            cell, operands["x"], operands.get("lengths"), state, tf.float32, time_major=time_major
        )
        return {"outputs": outputs, **{f"n{i}": part for i, part in enumerate(tf.nest.flatten(final))}}

    module.run = tf.function(run, autograph=False, input_signature=[specs])
    module.run.get_concrete_function()
    return module


def make_stack():
    return nn.MultiRNNCell(
        [nn.LSTMCell(U, use_peepholes=True, num_proj=2), nn.BasicRNNCell(U, "relu", name="top")]
    )


WEIGHTS = [
    *([D + 2, 4 * U], [4 * U], [U], [U], [U], [U, 2]),  # kernel, bias, peepholes, projection
    *([2 + U, U], [U]),
]


@pytest.mark.parametrize(
    ("batch", "steps", "lengths", "stateful", "time_major"),
    [(B, T, False, False, True), (B, None, True, True, True), (None, None, True, False, False)],
)
def test_a_recurrence_is_one_custom_op_by_the_contract(batch, steps, lengths, stateful, time_major, tmp_path):
    cell = make_stack()
    module = network(cell, batch, steps, lengths, stateful, time_major)
    tf.saved_model.save(module, str(tmp_path))
    file = RawFile(convert(tmp_path))

    (marked,) = file.operators
    assert file.custom_code(marked) == MARKER
    options = flexbuffers.Loads(bytes(marked.customOptions))
    assert list(options) == [SPEC]
    spec = RecurrenceSpec.from_json(options[SPEC])
    assert spec == RecurrenceSpec("rnn", recurrent_cell(cell), time_major, lengths, stateful)

    batch, steps = (-1 if size is None else size for size in (batch, steps))
    lead = [steps, batch] if time_major else [batch, steps]
    state = [[batch, U], [batch, 2], [batch, U]]
    assert [file.shape(index) for index in marked.inputs] == [
        [*lead, D],
        *([[batch]] if lengths else []),
        *(state if stateful else []),
        *WEIGHTS,
    ]
    assert [file.shape(index) for index in marked.outputs] == [[*lead, U], *state]
    weights = [weight.numpy() for inner in cell.cells for weight in inner.weights_by_name().values()]
    for index, expected in zip(marked.inputs[-len(weights) :], weights, strict=True):
        np.testing.assert_array_equal(file.constant(index), expected)


def test_an_lstm_says_all_its_attributes():
    cell = nn.LSTMCell(
        U, cell_clip=0, num_proj=2, proj_clip=0.5, forget_bias=np.float32(0.25), activation=tf.nn.relu6
    )
    spec = recurrent_cell(cell)
    assert (spec.kind, spec.name) == ("lstm", "lstm_cell")
    assert dict(spec.attributes) == {
        "units": U,
        "activation": "relu6",
        "forget_bias": 0.25,
        "cell_clip": 0.0,
        "proj_clip": 0.5,
    }
    assert spec.weights == ("kernel", "bias", "projection_kernel")


def test_a_keras_function_is_known_by_its_name():
    assert recurrent_cell(nn.BasicRNNCell(U, tf.keras.activations.softsign)).attribute("activation") == "softsign"
    assert recurrent_cell(nn.BasicRNNCell(U, tf.identity)).attribute("activation") == "linear"


class Subclass(nn.BasicRNNCell):
    """May compute anything."""


@pytest.mark.parametrize(
    "cell",
    [
        nn.BasicRNNCell(U, lambda x: 0.5 * tf.tanh(x)),
        Subclass(U),
        nn.LSTMCell(U, activation=tf.sin),
        nn.LSTMCell(U, cell_clip=-1.0),
        nn.LSTMCell(U, forget_bias=float("inf")),
        nn.MultiRNNCell([nn.LSTMCell(U), Subclass(U)]),
    ],
    ids=["lambda", "subclass", "sin", "negative clip", "infinite forget bias", "stack with a subclass"],
)
def test_what_the_compiler_cannot_express_is_an_ordinary_loop(cell, tmp_path):
    assert recurrent_cell(cell) is None
    function = tf.function(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)[0], autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([B, T, D])).graph
    assert any(op.type in {"While", "StatelessWhile"} for op in graph.get_operations())


def test_converted_bytes_do_not_depend_on_what_else_was_traced(tmp_path):
    cell = make_stack()
    module = network(cell, B, T, True, True, True)
    tf.saved_model.save(module, str(tmp_path / "first"))
    first = convert(tmp_path / "first")
    for _ in range(2):
        nn.dynamic_rnn(make_stack(), np.zeros([B, T, D], np.float32), dtype=tf.float32)
    again = network(cell, B, T, True, True, True)
    tf.saved_model.save(again, str(tmp_path / "second"))
    assert convert(tmp_path / "second") == first


def test_the_marker_survives_a_tensorflow_1_graph(tmp_path):
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [T, B, D])
        outputs, _ = nn.lite.dynamic_rnn(nn.LSTMCell(U), x, dtype=tf.float32)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path), {"x": x}, {"outputs": outputs})
    file = RawFile(convert(tmp_path))
    assert [file.custom_code(operator) for operator in file.operators] == [MARKER]
