"""Files of TFLiteConverter whose layers return their last output: each step replaces a list of one element."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from converter.convert import compile_source
from converter.ir import Recurrence
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

TIME, DEPTH, UNITS = 6, 5, 3
LAYERS = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU, "SimpleRNN": keras.layers.SimpleRNN}


def file_of(model: Any) -> bytes:
    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


@pytest.mark.parametrize(
    ("kind", "batch", "returns_state", "backwards"),
    list(itertools.product(LAYERS, (1, 3), (False, True), (False, True))),
)
def test_a_layer_that_returns_its_last_output_is_a_recurrence(
    kind: str, batch: int, returns_state: bool, backwards: bool, pool: WorkerPool
) -> None:
    keras.utils.set_random_seed(5)
    x = keras.Input((TIME, DEPTH), batch_size=batch, name="x")
    layer = LAYERS[kind](UNITS, return_state=returns_state, go_backwards=backwards, bias_initializer="normal")
    model = keras.Model(x, layer(x))
    converted = compile_source(file_of(model))
    assert any(isinstance(op, Recurrence) for op in converted.program.main.ops)
    if kind == "LSTM":
        assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    (given,) = converted.program.signature.inputs
    outputs = converted.program.signature.outputs

    def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = [np.asarray(value) for value in tf.nest.flatten(model(inputs[given]))]
        return dict(zip(outputs, found, strict=True))

    rng = np.random.default_rng(2)
    cases = [{given: rng.standard_normal((batch, TIME, DEPTH)).astype(np.float32)} for _ in range(2)]
    report = compare(converted.model, reference, cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_an_element_that_the_next_step_reads_stays_a_state(pool: WorkerPool) -> None:
    @tf.function(input_signature=[tf.TensorSpec([4, 2], name="x")])
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        def body(t: tf.Tensor, last: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return t + 1, tf.expand_dims(tf.tanh(x[t]), 0), last

        _, last, before = tf.while_loop(
            lambda t, *_: t < 4, body, (0, tf.zeros([1, 2]), tf.zeros([1, 2])), maximum_iterations=4
        )
        return {"last": last, "before": before}

    converted = compile_source(run)
    x = np.random.default_rng(3).standard_normal((4, 2)).astype(np.float32)

    def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"last": np.tanh(inputs["x"][3:]), "before": np.tanh(inputs["x"][2:3])}

    report = compare(converted.model, reference, [{"x": x}], pool=pool, runtimes=QUICK)
    assert report.ok, str(report)
