"""Every marked cell, through TFLiteConverter and the importer: the program computes what TensorFlow computes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from converter.importers.tf_function import flatten_function
from converter.importers.tflite_model import import_tflite
from converter.ir import GruCell, LayerNormLstmCell, LstmCell, Recurrence, RnnCell, TfliteOp, evaluate, verify
from tflite_rnn import nn

T, B, D, U = 5, 3, 4, 4
LENGTHS = np.array([3, 0, 9], np.int32)


def stack():
    upper = nn.MultiRNNCell([nn.GRUCell(D), nn.ResidualWrapper(nn.BasicLSTMCell(D))])
    return nn.MultiRNNCell([nn.ResidualWrapper(nn.LSTMCell(D)), nn.ResidualWrapper(upper)])


CELLS = {
    "basic_rnn": (lambda: nn.BasicRNNCell(U, "softsign"), [RnnCell]),
    "tflite_rnn": (lambda: nn.TfLiteRNNCell(U, "relu"), [RnnCell]),
    "gru": (lambda: nn.GRUCell(U), [GruCell]),
    "cudnn_gru": (lambda: nn.CudnnCompatibleGRUCell(U, activation="elu"), [GruCell]),
    "basic_lstm": (lambda: nn.BasicLSTMCell(U, forget_bias=0.25), [LstmCell]),
    "lstm": (
        lambda: nn.LSTMCell(
            U, True, cell_clip=0.4, num_proj=2, proj_clip=0.2, num_unit_shards=2, num_proj_shards=2
        ),
        [LstmCell],
    ),
    "tflite_lstm": (lambda: nn.TFLiteLSTMCell(U, True, cell_clip=0.4, num_proj=2, proj_clip=0.2), [LstmCell]),
    "coupled": (
        lambda: nn.CoupledInputForgetGateLSTMCell(U, True, num_proj=2, proj_clip=0.2, num_unit_shards=2),
        [LstmCell],
    ),
    "coupled_layer_norm": (
        lambda: nn.CoupledInputForgetGateLSTMCell(U, True, num_proj=2, layer_norm=True, forget_bias=0.5),
        [LayerNormLstmCell],
    ),
    "layer_norm": (lambda: nn.LayerNormBasicLSTMCell(U, forget_bias=0.5), [LayerNormLstmCell]),
    "residual": (lambda: nn.ResidualWrapper(nn.GRUCell(D)), [GruCell]),
    "residual_twice": (lambda: nn.ResidualWrapper(nn.ResidualWrapper(nn.BasicRNNCell(D))), [RnnCell]),
    "stack": (stack, [LstmCell, GruCell, LstmCell]),
}


def network(cell, *, lengths, stateful, time_major):
    rng = np.random.default_rng(1)
    cell.ensure_built(tf.TensorSpec([None, D]))
    for variable in cell.variables:
        variable.assign(rng.normal(size=variable.shape))
    specs = [tf.TensorSpec([None, None, D], tf.float32, "x")]
    specs += [tf.TensorSpec([None], tf.int32, "lengths")] if lengths else []
    sizes = tf.nest.flatten(cell.state_size) if stateful else []
    specs += [tf.TensorSpec([None, size], tf.float32, f"s{index}") for index, size in enumerate(sizes)]

    def run(x, *rest):
        rest = list(rest)
        given = rest.pop(0) if lengths else None
        state = tf.nest.pack_sequence_as(cell.state_size, rest) if stateful else None
        outputs, final = nn.dynamic_rnn(cell, x, given, state, tf.float32, time_major=time_major)
        return {"outputs": outputs, "state": tf.nest.flatten(final)}

    return flatten_function(tf.function(run, input_signature=specs), keepalive=cell)


def example(program, time_major):
    rng = np.random.default_rng(2)
    values = {"x": rng.normal(size=[T, B, D] if time_major else [B, T, D]).astype(np.float32), "lengths": LENGTHS}
    for name, value in zip(program.signature.inputs, program.main.inputs, strict=True):
        if name not in values:
            values[name] = rng.normal(size=[B, value.type.shape[1]]).astype(np.float32)
    return {name: values[name] for name in program.signature.inputs}


# All of it for every cell; less of it, in the other layout, for some.
CASES = [
    *((name, True, True, True) for name in CELLS),
    *((name, False, False, True) for name in ("lstm", "gru", "stack")),
    *((name, True, False, False) for name in ("layer_norm", "residual", "stack")),
]


@pytest.mark.parametrize(("name", "lengths", "stateful", "time_major"), CASES)
def test_a_marked_cell_means_in_the_ir_what_it_means_in_tensorflow(name, lengths, stateful, time_major):
    make, kinds = CELLS[name]
    function = network(make(), lengths=lengths, stateful=stateful, time_major=time_major)
    program = verify(import_tflite(function.to_tflite(), source="test"), after="import")
    assert [type(op.cell) for op in program.recurrences()] == kinds
    assert not any(isinstance(op, TfliteOp) and op.custom_code for op in program.ops())
    inputs = example(program, time_major)
    if lengths:  # what is in the padding must not show, even if it is not a number
        inputs["x"][(4, 0) if time_major else (0, 4)] = np.nan
    expected, got = function(inputs), evaluate(program, inputs)
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=2e-4, atol=2e-5, err_msg=key)


def test_recurrences_are_called_by_the_scopes_of_their_cells():
    function = network(stack(), lengths=False, stateful=False, time_major=True)
    program = import_tflite(function.to_tflite(), source="test")
    inner = "rnn/multi_rnn_cell/cell_1/multi_rnn_cell"
    assert [op.name for op in program.recurrences()] == [
        "rnn/multi_rnn_cell/cell_0/lstm_cell",
        f"{inner}/cell_0/gru_cell",
        f"{inner}/cell_1/basic_lstm_cell",
    ]


def test_a_residual_is_one_add_and_with_lengths_only_the_last_is_masked():
    for lengths, adds, selects in ((False, 3, 0), (True, 4, 1)):  # the mask counts time from ones, by an ADD
        function = network(stack(), lengths=lengths, stateful=False, time_major=True)
        counts = import_tflite(function.to_tflite(), source="test").op_counts()
        assert (counts["ADD"], counts.get("SELECT_V2", 0), counts["RECURRENCE"]) == (adds, selects, 3)


def test_cells_around_a_cell_that_change_no_value_leave_no_trace():
    plain = network(nn.LSTMCell(U), lengths=False, stateful=False, time_major=True).to_tflite()
    inner = nn.DropoutWrapper(nn.DeviceWrapper(nn.LSTMCell(U), "/cpu:0"), 1.0, 1.0, 1.0)
    wrapped = network(
        nn.DeviceWrapper(inner, "/cpu:0"), lengths=False, stateful=False, time_major=True
    ).to_tflite()
    (one,), (other,) = (import_tflite(data, source="test").main.ops for data in (plain, wrapped))
    assert isinstance(one, Recurrence)
    assert (one.name, str(one.cell)) == (other.name, str(other.cell))


def test_a_cell_that_no_fused_op_computes_becomes_a_loop_that_says_why():
    from converter.convert import compile_program

    for cell, rule in (
        (nn.GRUCell(U), "gru-no-fused-op"),
        (nn.LayerNormBasicLSTMCell(U), "layer-norm-no-fused-op"),
    ):
        function = network(cell, lengths=False, stateful=False, time_major=True)
        (record,) = compile_program(import_tflite(function.to_tflite(), source="test")).report.lowerings
        assert (record.lowering, [reason.rule for reason in record.refused]) == ("while", [rule])


@pytest.mark.parametrize("steps", [None, 5])
def test_a_number_of_steps_that_is_known_stays_known(steps):
    cell = nn.LSTMCell(3)
    spec = tf.TensorSpec([steps, 2, 4], tf.float32, name="x")
    function = tf.function(
        lambda x: {"y": nn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=True)[0]}, input_signature=[spec]
    )
    cell.ensure_built(tf.TensorSpec([None, 4], tf.float32))
    program = import_tflite(flatten_function(function).to_tflite(), source="test")
    (recurrence,) = program.recurrences()
    assert recurrence.output.type.shape == (steps, 2, 3)
