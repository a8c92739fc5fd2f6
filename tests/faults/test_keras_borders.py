"""Keras models around the usual case: sizes, precision, masks, ids, and what `check` makes of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from converter.convert import Converted, compile_source
from converter.errors import ConversionError, OptionError
from converter.flatbuffer import read_model
from converter.ir import as_tflite, attributes
from converter.options import ConvertOptions
from tests.runtimes import QUICK
from tflite_rnn import check, nn
from tflite_rnn.runtime import MICRO, CheckError, Runtime, WorkerPool


def sequential(shape: tuple[int | None, ...], *body: Any, batch: int | None = None, dtype: str = "float32") -> Any:
    given = (
        keras.Input(shape, dtype=dtype) if batch is None else keras.Input(batch_shape=(batch, *shape), dtype=dtype)
    )
    return keras.Sequential([given, *body])


def fused(converted: Converted) -> int:
    return sum(count for op, count in converted.report.op_counts.items() if "SEQUENCE" in op)


def assert_equal(converted: Converted, model: Any, pool: WorkerPool, **options: Any) -> None:
    report = check(converted, model, runtimes=QUICK, pool=pool, **options)
    assert report.ok, str(report)


@pytest.mark.parametrize("shaping", ["reshape", "open", "flatten"])
def test_convolutions_before_recurrences_fuse_with_an_open_batch(shaping: str, pool: WorkerPool) -> None:
    steps = {
        "reshape": layers.Reshape((16, 32)),
        "open": layers.Reshape((-1, 32)),
        "flatten": layers.TimeDistributed(layers.Flatten()),
    }[shaping]
    recurrent = [layers.Bidirectional(layers.LSTM(4, return_sequences=True)) for _ in range(2)]
    body = [layers.Conv2D(4, 3, padding="same"), layers.Permute((2, 1, 3)), steps, *recurrent, layers.Dense(3)]
    model = sequential((8, 16, 1), *body)
    converted = compile_source(model)
    assert converted.report.op_counts["BIDIRECTIONAL_SEQUENCE_LSTM"] == 2
    inputs = [{"input": np.random.default_rng(0).standard_normal((batch, 8, 16, 1))} for batch in (1, 3, 2)]
    name = converted.program.signature.inputs[0]
    assert_equal(converted, model, pool, inputs=[{name: case["input"].astype(np.float32)} for case in inputs])


@pytest.mark.parametrize("halves", [False, True])
def test_a_size_that_reshape_finds_is_a_number_beside_an_open_batch(halves: bool, pool: WorkerPool) -> None:
    conv, recurrent = (
        layers.Conv2D(8, 3, padding="same"),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
    )

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 4, 3], tf.float32, name="x")])
    def network(x: Any) -> Any:
        y = tf.reshape(conv(x), [tf.shape(x)[0], -1, 32])
        return recurrent(tf.concat(tf.split(y, 2, axis=-1)[::-1], -1) if halves else y)

    network(tf.zeros([1, 16, 4, 3]))
    converted = compile_source(network)
    assert fused(converted) == 1
    assert "WHILE" not in converted.report.op_counts
    report = check(converted.model, network, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_a_random_op_is_refused_as_random() -> None:
    @tf.function(input_signature=[tf.TensorSpec([1, 4, 3], tf.float32, name="x")])
    def network(x: Any) -> Any:
        return x * tf.random.stateless_uniform(tf.shape(x), [1, 2])

    with pytest.raises(ConversionError, match=r"draws random numbers[\s\S]*without its random layers"):
        compile_source(network)


class AlwaysDropout(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = layers.Dropout(0.5)

    def call(self, x: Any) -> Any:
        return self.dropout(x, training=True)


def test_a_random_layer_is_named_where_its_seed_is_a_variable() -> None:
    with pytest.raises(ConversionError, match="a random layer, such as Dropout with training=True"):
        compile_source(sequential((4, 3), AlwaysDropout(), layers.LSTM(2)))


@pytest.mark.parametrize("layer", [layers.LSTM, layers.SimpleRNN])
def test_a_layer_at_batch_one_is_recognised_from_a_function(layer: Any, pool: WorkerPool) -> None:
    model = sequential((9, 5), layer(7, return_sequences=True), batch=1)
    function = tf.function(model, input_signature=[tf.TensorSpec([1, 9, 5], name="x")])
    converted = compile_source(function)
    assert fused(converted) == 1
    assert_equal(converted, function, pool)


@pytest.mark.parametrize(
    "function",
    [
        tf.function(lambda x: tf.reshape(x, []), input_signature=[tf.TensorSpec([1], name="x")]),
        tf.function(
            lambda x: tf.scan(lambda a, b: a * 0.5 + b, x, 0.0), input_signature=[tf.TensorSpec([None], name="x")]
        ),
    ],
    ids=["scalar", "scan of scalars"],
)
def test_constants_without_elements_are_read(function: Any, pool: WorkerPool) -> None:
    assert_equal(compile_source(function), function, pool)


def test_models_of_mixed_precision_compute_in_float32(pool: WorkerPool) -> None:
    policy = keras.dtype_policies.get("mixed_float16")
    model = keras.Sequential([keras.Input((9, 5)), layers.LSTM(4, dtype=policy), layers.Dense(2, dtype=policy)])
    converted = compile_source(model)
    assert fused(converted) == 1
    assert "layers that compute in float16 in Keras compute in float32" in str(converted.report)
    assert_equal(converted, model, pool)
    assert model.layers[0].compute_dtype == "float16"


@pytest.mark.parametrize("cell", [nn.BasicLSTMCell, nn.GRUCell, nn.BasicRNNCell])
def test_a_cell_of_integers_is_a_value_error(cell: Any) -> None:
    with pytest.raises(ValueError, match="expected a floating type, got int32"):
        cell(3, dtype=tf.int32)


# masks -------------------------------------------------------------------------------------------------------


def masked(*body: Any) -> Any:
    return sequential((None,), layers.Embedding(50, 4, mask_zero=True), *body, dtype="int32")


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        (lambda: [layers.LSTM(4)], 1),
        (lambda: [layers.LSTM(4, return_sequences=True), layers.Dense(3)], 1),
        (lambda: [layers.LSTM(4, return_sequences=True), layers.LSTM(4)], 2),
        (lambda: [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Dense(2)], 1),
        (lambda: [layers.Bidirectional(layers.LSTM(4))], 1),
        (lambda: [layers.GRU(4, return_sequences=True)], 0),
        (lambda: [layers.SimpleRNN(4)], 1),
        (lambda: [layers.LSTM(4, go_backwards=True, return_sequences=True)], 0),
        (lambda: [layers.RNN(layers.LSTMCell(4), return_sequences=True, zero_output_for_mask=True)], 1),
    ],
    ids=["last", "sequence", "stack", "both", "both last", "gru", "rnn", "backwards", "zero"],
)
def test_padding_on_the_right_makes_lengths_of_masks(body: Any, ops: int, pool: WorkerPool) -> None:
    model = masked(*body())
    converted = compile_source(model, ConvertOptions.parse(mask_padding="right"))
    assert fused(converted) == ops
    assert_equal(converted, model, pool)


def test_check_says_where_padding_is_not_on_the_right(pool: WorkerPool) -> None:
    model = masked(layers.LSTM(4))
    converted = compile_source(model, ConvertOptions.parse(mask_padding="right"))
    (name,) = converted.program.signature.inputs
    report = check(converted, model, inputs=[{name: np.array([[1, 0, 3]], np.int32)}], runtimes=QUICK, pool=pool)
    assert not report.ok
    assert f"{name} has zero steps before others: masks must be padding on the right" in str(report)


def test_the_word_on_padding_is_for_whole_sequences() -> None:
    with pytest.raises(OptionError, match="mask_padding: 'right' makes lengths of masks, for whole sequences"):
        ConvertOptions.parse(mask_padding="right", state="streaming")


# check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_ids_are_drawn_from_the_table(dtype: str, pool: WorkerPool) -> None:
    model = sequential((None,), layers.Embedding(50, 4), layers.LSTM(4), dtype=dtype)
    assert_equal(compile_source(model), model, pool)


@pytest.mark.parametrize("options", [{"state": "streaming"}, {"state": "explicit"}], ids=str)
@pytest.mark.parametrize("padding", ["causal", "same"])
def test_models_on_chunks_are_compared_with_the_whole(
    options: dict[str, str], padding: str, pool: WorkerPool
) -> None:
    body = [layers.Conv1D(6, 3, padding=padding), layers.LSTM(4, return_sequences=True)]
    model = sequential((None, 5), *body, batch=1)
    given = {**options, "lookahead": "delay"} if padding == "same" else options
    report = check(compile_source(model, ConvertOptions.parse(**given)), model, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)
    assert len(report.rows) == 3 * len(QUICK)
    assert {row.worst_case.rpartition(", fed ")[2] for row in report.rows} == {
        "as little as the model takes",
        "uneven pieces",
        "all at once",
    }


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("name", ["atol", "rtol"])
def test_a_tolerance_that_nothing_can_miss_is_refused(name: str, tolerance: float, pool: WorkerPool) -> None:
    model = sequential((3, 5), layers.LSTM(2))
    with pytest.raises(CheckError, match=f"{name}: expected a finite number"):
        check(compile_source(model), model, runtimes=QUICK, pool=pool, **{name: tolerance})


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ({"z": np.zeros((1, 3, 5), np.float32)}, "inputs: expected the names"),
        ({"x": np.zeros((1, 3, 4), np.float32)}, r"expected float32 \[\?, 3, 5\], got float32 \[1, 3, 4\]"),
        ({"x": np.zeros((1, 3, 5))}, "expected float32 .*, got float64"),
    ],
    ids=["name", "shape", "type"],
)
def test_inputs_that_do_not_fit_are_refused(case: dict[str, Any], complaint: str, pool: WorkerPool) -> None:
    model = keras.Sequential([keras.Input((3, 5), name="x"), layers.LSTM(2)])
    with pytest.raises(CheckError, match=complaint):
        check(compile_source(model), model, inputs=[case], runtimes=QUICK, pool=pool)


def test_a_seed_counts_from_zero(pool: WorkerPool) -> None:
    model = sequential((3, 5), layers.LSTM(2))
    with pytest.raises(OptionError, match="seed: expected an integer from 0 on, got -1"):
        check(compile_source(model), model, seed=-1, runtimes=QUICK, pool=pool)


# states and names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_unrolled_layers_in_both_directions_mask_as_keras_does(layer: Any, pool: WorkerPool) -> None:
    """Keras masks the reversed outputs with the mask in its own order."""
    inner = layer(4, return_sequences=True, unroll=True)
    model = sequential((6,), layers.Embedding(9, 3, mask_zero=True), layers.Bidirectional(inner), dtype="int32")
    converted = compile_source(model)
    (name,), (output,) = converted.program.signature.inputs, converted.program.signature.outputs
    rows = np.array([[1, 2, 3, 4, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]], np.int32)
    report = check(
        converted,
        lambda inputs: {output: model.predict(inputs[name], verbose=0)},
        inputs=[{name: rows}],
        runtimes=QUICK,
        pool=pool,
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("state", ["explicit", "streaming"])
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_a_chunk_that_begins_masked_holds_the_output_before(layer: Any, state: str, pool: WorkerPool) -> None:
    model = sequential((None, 3), layers.Masking(), layer(4, return_sequences=True), batch=1)
    converted = compile_source(model, ConvertOptions.parse(state=state))
    name = next(name for name in converted.program.signature.inputs if name.startswith("input"))
    x = np.random.default_rng(0).standard_normal((1, 9, 3)).astype(np.float32)
    x[0, 2:5] = x[0, 7:] = 0
    assert_equal(converted, model, pool, inputs=[{name: x}])


@pytest.mark.parametrize(
    ("shape", "first"), [((7, 3), layers.Masking()), ((7,), layers.Embedding(9, 3, mask_zero=True))]
)
def test_masks_run_on_microcontrollers(shape: tuple[int, ...], first: Any, pool: WorkerPool) -> None:
    """They have no GATHER of flags, and no REDUCE_ANY."""
    pytest.importorskip("tflite_micro")
    model = sequential(shape, first, layers.GRU(4, return_sequences=True), batch=1)
    x = np.random.default_rng(0).integers(0, 3, (1, *shape)).astype(np.float32)
    x[0, 1:3] = x[0, 6:] = 0
    converted = compile_source(model, ConvertOptions.parse(target="tflm"))
    (name,) = converted.program.signature.inputs
    report = check(converted, model, inputs=[{name: x}], runtimes=[Runtime(MICRO)], pool=pool)
    assert report.ok, str(report)


def test_graphs_have_names_of_their_own_and_values_those_of_layers() -> None:
    model = sequential((None, 3), layers.GRU(4, return_sequences=True), layers.LSTM(4), batch=1)
    program = read_model(compile_source(model, ConvertOptions.parse(lowering="while")).model)
    names = [graph.name for graph in program.graphs]
    assert len(names) == len(set(names)) > 3
    assert not [value.name for value in program.main.values() if value.name.startswith("tfl.custom")]


def test_the_reset_is_a_graph_that_call_once_does_not_run() -> None:
    """What CALL_ONCE has run is released: an interpreter that allocates once could not run it again."""
    model = sequential((None, 3), layers.LSTM(4), batch=1)
    program = read_model(compile_source(model, ConvertOptions.parse(state="streaming")).model)
    resets = {signature.graph for signature in program.signatures if signature.key == "reset"}
    once = {n for op in program.main.ops if as_tflite(op, "CALL_ONCE") for n in attributes.graphs(op)}
    assert len(resets) == len(once) == 1
    assert not resets & once


def test_a_refusal_of_open_sizes_names_the_option() -> None:
    with pytest.raises(ConversionError, match="--input-shapes"):
        compile_source(sequential((None, 3), layers.LSTM(4)), ConvertOptions.parse(target="litert-web"))


def test_a_mask_of_ones_for_recurrent_dropout_hides_no_cell(pool: WorkerPool) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    layer = tf_keras.layers.LSTM(4, recurrent_dropout=0.2, return_sequences=True)
    model = tf_keras.Sequential([tf_keras.Input((9, 5)), layer])
    function = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec([None, 9, 5], name="x")]
    )
    converted = compile_source(function)
    assert fused(converted) == 1
    assert_equal(converted, function, pool)
