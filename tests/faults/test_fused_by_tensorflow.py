"""tf_keras marks its functions with ``api_implements``, and TFLiteConverter fuses them by itself at a fixed batch.

What it makes keeps its state from one invoke to the next and clips the cell at 10: it must not get there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tflite_rnn as rnn
from converter.flatbuffer import read_model
from converter.ir import Array
from tests.importers.keras.networks import randomized
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

pytestmark = [pytest.mark.tensorflow, pytest.mark.runtime]

LITERT = Runtime(AI_EDGE_LITERT)
LAYERS = tf_keras.layers
DEPTH, UNITS, TIME = 5, 7, 9


def network(*layers: Any, batch: int | None = None, time: int | None = None, depth: int = DEPTH) -> Any:
    return randomized(tf_keras.Sequential([LAYERS.Input((time, depth), batch_size=batch), *layers]))


def lstm(**options: Any) -> Any:
    return LAYERS.LSTM(UNITS, **{"return_sequences": True, **options})


def traced(model: Any, *shape: int | None) -> Any:
    return tf.function(model, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])


def sequences(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def proven(converted: rnn.Converted, reference: Any, pool: WorkerPool, *shapes: tuple[int, ...]) -> None:
    """Three invokes of each shape are what the reference says, and no state tensor is left to itself."""
    (name,) = converted.program.signature.inputs
    cases = [{name: x} for x in sequences(*shapes)]
    report = rnn.check(converted, reference, inputs=cases, pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)
    for graph in read_model(converted.model).graphs:
        written = {*graph.inputs, *graph.producers()}
        assert [value.name for value in graph.values() if value.is_variable and value not in written] == []


LAYER_KINDS: dict[str, tuple[Callable[[], Any], int]] = {
    "lstm": (lstm, 1),
    "lstm last": (lambda: lstm(return_sequences=False), 1),
    "lstm backwards": (lambda: lstm(go_backwards=True), 1),
    "bidirectional": (lambda: LAYERS.Bidirectional(lstm()), 2),
    "bidirectional last": (lambda: LAYERS.Bidirectional(lstm(return_sequences=False), merge_mode="sum"), 2),
}


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_a_layer_at_a_fixed_batch_is_seen_and_lowered(kind: str, pool: WorkerPool) -> None:
    build, count = LAYER_KINDS[kind]
    function = traced(network(build(), batch=1), 1, TIME, DEPTH)
    converted = rnn.convert(function)
    assert len(converted.report.lowerings) == count
    assert all("cell_clip" not in record.cell for record in converted.report.lowerings)
    proven(converted, function, pool, (1, TIME, DEPTH))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_saved_model_with_a_fixed_batch(batch: int, tmp_path: Path, pool: WorkerPool) -> None:
    network(lstm(), batch=batch).export(str(tmp_path))
    converted = rnn.convert(tmp_path)
    assert [record.lowering for record in converted.report.lowerings] == ["fused"]
    proven(converted, tmp_path, pool, (batch, TIME, DEPTH), (batch, 4, DEPTH))


def test_a_saved_model_with_an_open_batch_that_the_user_fixes(tmp_path: Path, pool: WorkerPool) -> None:
    network(lstm()).export(str(tmp_path))
    (name,) = rnn.convert(tmp_path).program.signature.inputs
    converted = rnn.convert(rnn.SavedModel(tmp_path, input_shapes={name: (1, TIME, DEPTH)}))
    assert len(converted.report.lowerings) == 1
    proven(converted, tmp_path, pool, (1, TIME, DEPTH))


def test_a_bidirectional_saved_model_that_the_user_fixes(tmp_path: Path, pool: WorkerPool) -> None:
    network(LAYERS.Bidirectional(lstm())).export(str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    (name,) = loaded.structured_input_signature[1]
    converted = rnn.convert(rnn.SavedModel(tmp_path, input_shapes={name: (1, TIME, DEPTH)}))
    assert len(converted.report.lowerings) == 2
    proven(converted, tmp_path, pool, (1, TIME, DEPTH))


@pytest.mark.parametrize("shape", [(1, None, DEPTH), (3, None, DEPTH)])
def test_a_function_with_open_time(shape: tuple[int | None, ...], pool: WorkerPool) -> None:
    function = traced(network(lstm()), *shape)
    converted = rnn.convert(function)
    assert len(converted.report.lowerings) == 1
    proven(converted, function, pool, (shape[0] or 1, TIME, DEPTH), (shape[0] or 1, 2, DEPTH))


@pytest.mark.parametrize("options", [{"use_bias": False}, {"recurrent_activation": "hard_sigmoid"}], ids=str)
def test_a_layer_that_tf_keras_does_not_mark(options: dict[str, Any], pool: WorkerPool) -> None:
    function = traced(network(lstm(**options), batch=1), 1, TIME, DEPTH)
    converted = rnn.convert(function)
    assert len(converted.report.lowerings) == 1
    proven(converted, function, pool, (1, TIME, DEPTH))


def test_a_stateful_layer_in_a_function_keeps_variables_and_is_refused() -> None:
    model = network(lstm(stateful=True), batch=1)
    with pytest.raises(rnn.ConversionError, match="it changes its own variables"):
        rnn.convert(traced(model, 1, TIME, DEPTH))


def test_states_that_the_layer_returns_are_final_states(pool: WorkerPool) -> None:
    x = LAYERS.Input((TIME, DEPTH), batch_size=1)
    model = randomized(tf_keras.Model(x, lstm(return_state=True)(x)))
    function = traced(model, 1, TIME, DEPTH)
    converted = rnn.convert(function)
    assert len(converted.report.lowerings) == 1
    proven(converted, function, pool, (1, TIME, DEPTH))


def test_states_that_are_given_stay_given(pool: WorkerPool) -> None:
    x = LAYERS.Input((TIME, DEPTH), batch_size=1)
    states = [LAYERS.Input((UNITS,), batch_size=1) for _ in range(2)]
    model = randomized(tf_keras.Model([x, *states], lstm()(x, initial_state=states)))
    specs = [tf.TensorSpec(shape, tf.float32, name) for name, shape in {
        "x": (1, TIME, DEPTH), "h": (1, UNITS), "c": (1, UNITS)
    }.items()]  # fmt: skip
    function = tf.function(lambda *given: model(list(given)), input_signature=specs)
    converted = rnn.convert(function)
    assert len(converted.report.lowerings) == 1
    case = dict(zip(("x", "h", "c"), sequences((1, TIME, DEPTH), (1, UNITS), (1, UNITS)), strict=True))
    report = rnn.check(converted, function, inputs=[case], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_mask_at_a_fixed_batch(kind: str, pool: WorkerPool) -> None:
    layers = [LAYERS.Embedding(11, DEPTH, mask_zero=True), getattr(LAYERS, kind)(UNITS, return_sequences=True)]
    model = randomized(tf_keras.Sequential([LAYERS.Input((TIME,), batch_size=1, dtype="int32"), *layers]))
    signature = [tf.TensorSpec([1, TIME], tf.int32, name="ids")]
    function = tf.function(model, input_signature=signature)
    case = {"ids": np.array([[3, 0, 5, 1, 0, 0, 2, 0, 0]], np.int32)}
    report = rnn.check(rnn.convert(function), function, inputs=[case], pool=pool, runtimes=[LITERT])
    assert report.ok, str(report)


def test_options_have_their_effect(pool: WorkerPool) -> None:
    function = traced(network(lstm(), batch=1), 1, TIME, DEPTH)
    assert rnn.convert(function, lowering="while").report.op_counts["WHILE"] >= 1
    assert set(rnn.convert(function, state="explicit").program.signature.inputs) > {"x"}
    counts = rnn.convert(function, target="litert-compiled").report.op_counts
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in counts


def test_any_function_that_is_marked_as_an_lstm_is_computed_as_it_is_written(pool: WorkerPool) -> None:
    """The mark is a word of its author's: what the function computes is in its graph."""
    inner = lstm()
    model = network(inner, batch=1)

    @tf.function(
        input_signature=[tf.TensorSpec([1, TIME, DEPTH], tf.float32, name="x")],
    )
    def doubled(x: Any) -> Any:
        return 2.0 * model(x) + model(-x)

    converted = rnn.convert(doubled)
    assert len(converted.report.lowerings) == 2
    proven(converted, doubled, pool, (1, TIME, DEPTH))
