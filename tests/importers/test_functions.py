"""Functions and SavedModels: what they are called, how they are refused, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tflite_rnn as rnn
from converter.flatbuffer import read_model
from converter.importers.tf_function import flatten_function
from converter.opening import open_source
from tests.runtimes import QUICK
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

X = tf.TensorSpec([None, None, 3], tf.float32, name="x")


def function(cell: object, spec: tf.TensorSpec = X, **options: object) -> object:
    @tf.function(input_signature=[spec])
    def model(x):
        outputs, state = rnn.dynamic_rnn(cell, x, dtype=spec.dtype, **options)
        return {"outputs": outputs, "state": state}

    return model


# --- names -----------------------------------------------------------------------------------------------------


def test_nested_outputs_are_called_by_their_path() -> None:
    cells = rnn.MultiRNNCell([rnn.LSTMCell(2), rnn.BasicRNNCell(2)])
    flat = flatten_function(function(cells))
    assert flat.input_names == ("x",)
    assert flat.output_names == ("outputs", "state_0_c", "state_0_h", "state_1")


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (lambda x: x + 1.0, ("output_0",)),
        (lambda x: (x + 1.0, [x + 2.0, x + 3.0]), ("output_0", "output_1_0", "output_1_1")),
        (lambda x: {"b": x + 1.0, "a": {"odd name!": x + 2.0}}, ("a_odd_name_", "b")),
    ],
)
def test_outputs_without_names_get_numbers(returned: object, names: tuple[str, ...]) -> None:
    flat = flatten_function(tf.function(returned, input_signature=[X]))
    assert flat.output_names == names
    inputs = {"x": np.ones((1, 1, 3), np.float32)}
    assert set(flat(inputs)) == set(names)


def test_nested_inputs_are_called_by_their_specifications() -> None:
    pair = {"left": tf.TensorSpec([2], name="left"), "right": tf.TensorSpec([2], name="right")}
    flat = flatten_function(tf.function(lambda pair: pair["left"] - pair["right"], input_signature=[pair]))
    assert flat.input_names == ("left", "right")
    got = flat({"left": np.array([3, 4], np.float32), "right": np.array([1, 1], np.float32)})
    np.testing.assert_array_equal(got["output_0"], [2, 3])


def test_arguments_that_are_no_tensors_keep_the_values_of_the_signature() -> None:
    def scaled(x, factor=3.0, *, offset=1.0):
        return x * factor + offset

    flat = flatten_function(tf.function(scaled, input_signature=[X]))
    inputs = {"x": np.ones((1, 1, 3), np.float32)}
    np.testing.assert_array_equal(flat(inputs)["output_0"], [[[4, 4, 4]]])
    assert len(flat.to_tflite()) > 0


def test_a_converted_file_keeps_the_names(pool: WorkerPool) -> None:
    cells = rnn.MultiRNNCell([rnn.LSTMCell(2), rnn.BasicRNNCell(2)])
    converted = rnn.convert(function(cells))
    with pool.open(Runtime(AI_EDGE_LITERT), converted.model) as running:
        assert [spec.name for spec in running.signature.inputs] == ["x"]
        assert {spec.name for spec in running.signature.outputs} == {
            "outputs",
            "state_0_c",
            "state_0_h",
            "state_1",
        }
    assert [value.name for value in converted.program.main.inputs] == ["x"]
    assert [record.name for record in converted.report.lowerings] == [
        "rnn/multi_rnn_cell/cell_0/lstm_cell",
        "rnn/multi_rnn_cell/cell_1/basic_rnn_cell",
    ]


# --- refusals --------------------------------------------------------------------------------------------------


def test_a_function_without_an_input_signature_is_refused() -> None:
    with pytest.raises(rnn.SourceError, match="no input_signature; add one"):
        rnn.convert(tf.function(lambda x: x))


def test_something_that_is_no_model_is_refused() -> None:
    with pytest.raises(rnn.SourceError, match="expected a model to read, got 3"):
        rnn.convert(3)


def test_a_function_without_outputs_is_refused() -> None:
    with pytest.raises(rnn.SourceError, match="returns no tensor"):
        rnn.convert(tf.function(lambda _: None, input_signature=[X]))


def test_outputs_of_one_name_are_refused() -> None:
    clash = tf.function(lambda x: {"a b": x, "a_b": x}, input_signature=[X])
    with pytest.raises(rnn.SourceError, match="several outputs are called a_b"):
        rnn.convert(clash)


REFUSED = {
    "linear": ({"activation": "linear"}, "lstm-activation"),
    "cell_clip": ({"cell_clip": 0.0}, "lstm-zero-clip"),
    "proj_clip": ({"num_proj": 2, "proj_clip": 0.0}, "lstm-zero-clip"),
    "wide": ({"num_proj": 5}, "lstm-wide-projection"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_lstm_that_the_fused_op_gets_wrong_becomes_a_loop_or_is_refused(name: str, pool: WorkerPool) -> None:
    options, rule = REFUSED[name]
    model = function(rnn.LSTMCell(4, **options))
    with pytest.raises(rnn.ConversionError) as caught:
        rnn.convert(model, lowering="fused")
    assert [rejection.rule for rejection in caught.value.rejections] == [rule]
    assert "rnn/lstm_cell" in str(caught.value)
    converted = rnn.convert(model)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in converted.report.op_counts
    rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16])
def test_another_float_than_float32_is_refused(dtype: tf.DType) -> None:
    with pytest.raises(rnn.ConversionError, match=f"the weight kernel is {dtype.name}") as caught:
        rnn.convert(function(rnn.LSTMCell(4), tf.TensorSpec([None, None, 3], dtype, name="x")))
    assert caught.value.rejections[0].rule == "float32-only"


@pytest.mark.parametrize("time_major", [True, False])
def test_sequence_length_is_exact(time_major: bool, pool: WorkerPool) -> None:
    cells = rnn.MultiRNNCell([rnn.LSTMCell(4), rnn.BasicRNNCell(3)])
    lengths = tf.TensorSpec([None], tf.int32, name="lengths")

    @tf.function(input_signature=[X, lengths])
    def model(x, lengths):
        outputs, state = rnn.dynamic_rnn(
            cells, x, sequence_length=lengths, dtype=tf.float32, time_major=time_major
        )
        return {"outputs": outputs, "state": state}

    rng = np.random.default_rng(0)
    cases = []
    for time, batch in ((5, 3), (1, 1), (45, 4), (5, 3)):
        leading = (time, batch) if time_major else (batch, time)
        x = rng.standard_normal((*leading, 3)).astype(np.float32)
        cases.append({"x": x, "lengths": rng.integers(0, time + 3, batch).astype(np.int32)})
    padded = cases[-1]["x"].copy()
    padded[2:] = np.nan
    if time_major:
        cases.append({"x": padded, "lengths": np.array([2, 0, 1], np.int32)})
    rnn.testing.assert_parity(rnn.convert(model), model, inputs=cases, pool=pool, runtimes=QUICK)


def test_a_step_that_no_cell_describes_is_a_loop_of_its_own(pool: WorkerPool) -> None:
    cell = rnn.LSTMCell(4, activation=tf.math.sin)
    for spec in (X, tf.TensorSpec([5, 2, 3], name="x")):
        model = function(cell, spec)
        converted = rnn.convert(model)
        assert "unrecognised step" in str(converted.report)
        rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


@pytest.mark.parametrize("spec", [X, tf.TensorSpec([5, 2, 3], name="x")], ids=["open", "fixed"])
def test_a_loop_that_writes_from_the_end_is_a_loop_over_a_buffer(spec: tf.TensorSpec, pool: WorkerPool) -> None:
    def backwards(x):
        outputs = tf.TensorArray(tf.float32, size=tf.shape(x)[0], element_shape=x.shape[1:])

        def body(t, outputs):
            return t - 1, outputs.write(t, x[t] * 2.0)

        _, outputs = tf.while_loop(lambda t, _: t >= 0, body, (tf.shape(x)[0] - 1, outputs))
        return outputs.stack()

    model = tf.function(backwards, input_signature=[spec], autograph=False)
    converted = rnn.convert(model)
    assert converted.report.op_counts["WHILE"] == 1
    rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


def test_an_op_that_tflite_lacks_is_refused_by_name() -> None:
    model = tf.function(tf.math.bessel_i0, input_signature=[X])
    with pytest.raises(rnn.ConversionError, match="no TFLite equivalent") as caught:
        rnn.convert(model)
    assert "BesselI0" in str(caught.value)


# --- what becomes of them --------------------------------------------------------------------------------------


def test_everything_at_once_is_exact(pool: WorkerPool) -> None:
    cells = rnn.MultiRNNCell(
        [
            rnn.LSTMCell(5, use_peepholes=True, num_proj=3, cell_clip=0.5, proj_clip=0.4),
            rnn.BasicRNNCell(4, activation=tf.nn.relu6),
            rnn.LSTMCell(3, activation=tf.nn.relu, forget_bias=0.5, state_is_tuple=True),
        ]
    )
    model = function(cells)
    converted = rnn.convert(model)
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 2
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_RNN"] == 1
    rnn.testing.assert_parity(converted, model, pool=pool)


def test_the_other_flavour_is_batch_major(pool: WorkerPool) -> None:
    cell = rnn.LSTMCell(4)

    @tf.function(input_signature=[X])
    def model(x):
        outputs, state = rnn.nn.dynamic_rnn(cell, x, dtype=tf.float32)
        return outputs, state

    converted = rnn.convert(model)
    assert "TRANSPOSE" not in converted.report.op_counts
    rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


def test_a_given_initial_state_is_an_input(pool: WorkerPool) -> None:
    cell = rnn.LSTMCell(4)
    state = rnn.LSTMStateTuple(*(tf.TensorSpec([None, 4], name=name) for name in "ch"))

    @tf.function(input_signature=[X, state])
    def model(x, state):
        outputs, final = rnn.dynamic_rnn(cell, x, initial_state=state)
        return {"outputs": outputs, "final": final}

    converted = rnn.convert(model)
    rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


def test_a_zero_state_spelled_out_costs_nothing() -> None:
    cell = rnn.LSTMCell(4)

    @tf.function(input_signature=[X])
    def spelled(x):
        return rnn.dynamic_rnn(cell, x, initial_state=cell.zero_state(tf.shape(x)[1], tf.float32))[0]

    @tf.function(input_signature=[X])
    def plain(x):
        return rnn.dynamic_rnn(cell, x, dtype=tf.float32)[0]

    assert rnn.convert(spelled).report.op_counts == rnn.convert(plain).report.op_counts


def test_two_recurrences_with_layers_around_them_are_exact(pool: WorkerPool) -> None:
    table = tf.Variable(tf.random.stateless_normal([11, 6], seed=[1, 2]))
    dense = tf.Variable(tf.random.stateless_normal([4, 3], seed=[3, 4]))
    first, second = rnn.LSTMCell(4, name="first"), rnn.BasicRNNCell(5, name="second")

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name="tokens")])
    def model(tokens):
        outputs, state = rnn.nn.dynamic_rnn(first, tf.gather(table, tokens), dtype=tf.float32, scope="encoder")
        between = tf.nn.relu(tf.matmul(outputs, dense))
        _, last = rnn.nn.dynamic_rnn(second, between, dtype=tf.float32, scope="decoder")
        return {"classes": tf.nn.softmax(last), "cell": 2.0 * state.c}

    converted = rnn.convert(model)
    assert [record.name for record in converted.report.lowerings] == ["encoder/first", "decoder/second"]
    rnn.testing.assert_parity(converted, model, pool=pool, runtimes=QUICK)


def test_a_fixed_batch_behind_a_computed_shape_is_exact(pool: WorkerPool) -> None:
    cell = rnn.LSTMCell(8)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 6], name="x")])
    def model(x):
        split = tf.reshape(x, [tf.shape(x)[0], 2, tf.shape(x)[2] // 2, 2])
        return rnn.dynamic_rnn(cell, tf.reshape(split[..., 0], [-1, 2, 3]), dtype=tf.float32)

    rnn.testing.assert_parity(rnn.convert(model), model, pool=pool, runtimes=QUICK)


BEFORE = {
    "a reshape of computed shape": (
        lambda x: tf.reduce_sum(tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 3, 2]), -1),
        "while",
    ),
    "a dense layer as tensordot": (lambda x: tf.tensordot(x, tf.ones([6, 3]) / 6.0, 1), "fused"),
    "a dense layer as matmul": (lambda x: tf.matmul(x, tf.ones([6, 3]) / 6.0), "fused"),
    "a convolution": (lambda x: tf.nn.conv1d(x, tf.ones([3, 6, 3]) / 9.0, 1, "SAME"), "fused"),
}


@pytest.mark.parametrize("name", BEFORE)
def test_layers_before_a_recurrence_are_exact_for_any_batch(name: str, pool: WorkerPool) -> None:
    before, lowering = BEFORE[name]
    cell = rnn.LSTMCell(8)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 6], name="x")], autograph=False)
    def model(x):
        return rnn.nn.dynamic_rnn(cell, before(x), dtype=tf.float32)

    converted = rnn.convert(model)
    assert [record.lowering for record in converted.report.lowerings] == [lowering]
    rng = np.random.default_rng(0)
    sizes = ((2, 5), (9, 2), (2, 9), (20, 20), (1, 1), (20, 20))
    cases = [{"x": rng.standard_normal((*size, 6)).astype(np.float32)} for size in sizes]
    rnn.testing.assert_parity(converted, model, inputs=cases, pool=pool, runtimes=QUICK)


def test_a_bidirectional_recurrence_with_lengths_and_one_loop_is_exact(pool: WorkerPool) -> None:
    forward, backward = rnn.LSTMCell(4), rnn.GRUCell(3)
    lengths = tf.TensorSpec([None], tf.int32, name="lengths")

    @tf.function(input_signature=[X, lengths])
    def model(x, lengths):
        return rnn.bidirectional_dynamic_rnn(forward, backward, x, sequence_length=lengths, dtype=tf.float32)

    rng = np.random.default_rng(0)
    cases = [
        {
            "x": rng.standard_normal((time, batch, 3)).astype(np.float32),
            "lengths": rng.integers(0, time + 1, batch).astype(np.int32),
        }
        for time, batch in ((5, 2), (1, 1), (23, 7), (5, 9))
    ]
    rnn.testing.assert_parity(rnn.convert(model), model, inputs=cases, pool=pool, runtimes=QUICK)


def test_one_source_gives_the_same_bytes_twice() -> None:
    model = function(rnn.LSTMCell(4))
    first = rnn.convert(model).model
    function(rnn.LSTMCell(9)).get_concrete_function()
    assert rnn.convert(model).model == first
    assert rnn.convert(model.get_concrete_function()).model == first


def test_a_conversion_is_saved_whole(tmp_path: Path) -> None:
    converted = rnn.convert(function(rnn.BasicRNNCell(2)))
    path = converted.save(tmp_path / "model.tflite")
    assert path.read_bytes() == converted.model
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(rnn.TfliteRnnError, match="cannot write the file"):
        converted.save(tmp_path / "nowhere" / "model.tflite")


# --- SavedModels -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "saved"
    module = tf.Module()
    module.cell = rnn.LSTMCell(4)

    @tf.function(input_signature=[X])
    def last(x):
        return {"last": rnn.dynamic_rnn(module.cell, x, dtype=tf.float32)[0][-1]}

    @tf.function(input_signature=[X])
    def all_steps(x):
        return {"all": rnn.dynamic_rnn(module.cell, x, dtype=tf.float32)[0]}

    tf.saved_model.save(module, str(directory), signatures={"last": last, "all_steps": all_steps})
    return directory


@pytest.mark.parametrize(("key", "output"), [("last", "last"), ("all_steps", "all")])
def test_a_saved_model_converts_by_signature(saved_model: Path, key: str, output: str, pool: WorkerPool) -> None:
    source = rnn.SavedModel(saved_model, signature_key=key)
    converted = rnn.convert(source)
    assert converted.program.signature.outputs == (output,)
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    report = rnn.check(converted, source, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_a_choice_of_signatures_must_be_made(saved_model: Path) -> None:
    with pytest.raises(rnn.SourceError, match=r"cannot choose a signature \(available: all_steps, last\)"):
        rnn.convert(saved_model)


def test_an_unknown_signature_is_refused_with_the_known_ones(saved_model: Path) -> None:
    with pytest.raises(rnn.SourceError, match="unknown signature 'first'; the signatures are: all_steps, last"):
        open_source(rnn.SavedModel(saved_model, signature_key="first"))


def test_a_directory_that_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rnn.SourceError, match=r"has no saved_model\.pb"):
        rnn.convert(tmp_path)


def test_a_damaged_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer at all")
    with pytest.raises(rnn.SourceError, match="not a SavedModel, or damaged"):
        rnn.convert(tmp_path)


# --- check -----------------------------------------------------------------------------------------------------


def test_check_sees_another_models_weights(pool: WorkerPool) -> None:
    ours, theirs = function(rnn.LSTMCell(4)), function(rnn.LSTMCell(4))
    report = rnn.check(rnn.convert(ours), theirs, pool=pool, runtimes=QUICK)
    assert not report.ok
    assert len(report.failures) == 3 * len(QUICK)
    with pytest.raises(AssertionError, match="the model and its reference disagree"):
        rnn.testing.assert_parity(rnn.convert(ours), theirs, pool=pool, runtimes=QUICK)


def test_check_refuses_a_reference_with_other_inputs() -> None:
    other = function(rnn.LSTMCell(4), tf.TensorSpec([None, None, 3], name="frames"))
    with pytest.raises(
        rnn.TfliteRnnError, match=r"the inputs of the model \(x\) differ from those of the reference \(frames\)"
    ):
        rnn.check(rnn.convert(function(rnn.LSTMCell(4))), other)


def test_check_takes_a_plain_function_and_a_path(tmp_path: Path, pool: WorkerPool) -> None:
    model = function(rnn.LSTMCell(4))
    path = rnn.convert(model).save(tmp_path / "model.tflite")
    flat = flatten_function(model)
    report = rnn.check(path, flat.__call__, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_input_shapes_fix_what_the_signature_leaves_open() -> None:
    network = function(rnn.LSTMCell(4))
    converted = rnn.convert(rnn.Function(network, input_shapes={"x": (5, 1, 3)}), target="tflm")
    assert read_model(converted.model).main.inputs[0].type.shape == (5, 1, 3)
    with pytest.raises(
        rnn.SourceError, match=r"cannot fix the shape of x: expected one compatible with .*, got \(5, 1, 4\)"
    ):
        rnn.convert(rnn.Function(network, input_shapes={"x": (5, 1, 4)}))
    with pytest.raises(rnn.SourceError, match="unknown input y; the inputs are x"):
        rnn.convert(rnn.Function(network, input_shapes={"y": (1,)}))
