"""input_shapes that open a size which the source fixes: exact at other lengths, or refused by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tflite_rnn as rnn
from tests.runtimes import QUICK
from tflite_rnn.runtime import MICRO, Runtime, WorkerPool


def layers(library: Any) -> Any:
    made = library.Sequential(
        [
            library.layers.Input((9, 5), name="x"),
            library.layers.Conv1D(6, 3, padding="same"),
            library.layers.LSTM(4, return_sequences=True),
            library.layers.Dense(3),
        ]
    )
    made.set_weights([np.random.default_rng(1).standard_normal(w.shape) * 0.4 for w in made.get_weights()])
    return made


def functional(library: Any) -> Any:
    x = library.Input((9, 5), batch_size=1, name="x")
    ids = library.Input((9,), dtype="int32", name="ids")
    y = library.layers.Concatenate()([x, library.layers.Embedding(7, 3)(ids)])
    return library.Model([x, ids], library.layers.GRU(4)(y))


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "tf_keras"])
def test_a_sequential_model_opens(library: Any, pool: WorkerPool) -> None:
    model = layers(library)
    converted = rnn.convert(rnn.KerasModel(model, input_shapes={"x": (None, None, 5)}))
    conv, lstm, dense = (layer for layer in model.layers if layer.weights)
    for steps in (9, 4, 17):
        x = np.random.default_rng(steps).standard_normal((2, steps, 5)).astype(np.float32)
        wanted = dense(lstm(conv(x))).numpy()
        for runtime in QUICK:
            with pool.open(runtime, converted.model) as running:
                (found,) = running.run({"x": x}).values()
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "tf_keras"])
def test_a_model_of_two_inputs_opens(library: Any, pool: WorkerPool) -> None:
    model = functional(library)
    shapes = {"x": (1, None, 5), "ids": (None, None)}
    converted = rnn.convert(rnn.KerasModel(model, input_shapes=shapes))
    embedding, gru = (layer for layer in model.layers if layer.weights)
    for steps in (9, 3):
        rng = np.random.default_rng(steps)
        x = rng.standard_normal((1, steps, 5)).astype(np.float32)
        ids = rng.integers(0, 7, (1, steps)).astype(np.int32)
        wanted = gru(tf.concat([x, embedding(ids)], -1)).numpy()
        for runtime in QUICK:
            with pool.open(runtime, converted.model) as running:
                (found,) = running.run({"x": x, "ids": ids}).values()
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_a_fixed_time_becomes_a_chunk(pool: WorkerPool) -> None:
    model = keras.Sequential(
        [
            keras.Input((9, 5), name="x"),
            keras.layers.Conv1D(6, 3, padding="causal"),
            keras.layers.LSTM(4, return_sequences=True),
        ]
    )
    converted = rnn.convert(rnn.KerasModel(model, input_shapes={"x": (1, 3, 5)}), state="streaming", target="tflm")
    x = np.random.default_rng(3).standard_normal((1, 9, 5)).astype(np.float32)
    for runtime in (*QUICK, Runtime(MICRO)):
        with pool.open(runtime, converted.model) as running:
            chunks = [running.run({"x": x[:, at : at + 3]}) for at in (0, 3, 6)]
        found = np.concatenate([next(iter(chunk.values())) for chunk in chunks], 1)
        np.testing.assert_allclose(found, model(x).numpy(), rtol=0, atol=1e-5)


def test_a_subclassed_model_opens(pool: WorkerPool) -> None:
    class Words(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.lstm = keras.layers.Embedding(7, 3), keras.layers.LSTM(4)

        def call(self, ids: Any) -> Any:
            return self.lstm(self.embedding(ids))

    model = Words()
    model(np.zeros((1, 3), np.float32))
    converted = rnn.convert(rnn.KerasModel(model, input_shapes={"input": (None, None)}))
    for steps in (3, 8):
        ids = np.arange(steps, dtype=np.float32)[None] % 7
        with pool.open(QUICK[0], converted.model) as running:
            (found,) = running.run({"input": ids}).values()
        np.testing.assert_allclose(found, model(ids).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "tf_keras"])
def test_a_layer_that_needs_the_size_keeps_it(library: Any) -> None:
    x = library.Input((9, 5), name="x")
    y = library.layers.LSTM(4, return_sequences=True)(x)
    model = library.Model(x, library.layers.Dense(2)(library.layers.Flatten()(y)))
    with pytest.raises(rnn.SourceError, match=r"cannot open the size in input_shapes \(--input-shapes\)"):
        rnn.convert(rnn.KerasModel(model, input_shapes={"x": (None, None, 5)}))


def test_a_model_that_computes_another_thing_keeps_the_size() -> None:
    class Weighted(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * float(x.shape[1] or 1)

    x = keras.Input((9, 5), name="x")
    model = keras.Model(x, keras.layers.LSTM(4)(Weighted()(x)))
    with pytest.raises(rnn.SourceError, match="the model then computes another lstm"):
        rnn.convert(rnn.KerasModel(model, input_shapes={"x": (None, None, 5)}))


@pytest.mark.parametrize("source", ["function", "saved_model"])
def test_a_trace_keeps_its_sizes(source: str, tmp_path: Any) -> None:
    def call(x: Any) -> Any:
        return {"y": tf.nn.relu(x)}

    function = tf.function(call, input_signature=[tf.TensorSpec([None, 495], tf.float32, name="x")])
    given: object = rnn.Function(function, input_shapes={"x": (1, None)})
    if source == "saved_model":
        tf.saved_model.save(tf.Module(), str(tmp_path / "m"), signatures=function.get_concrete_function())
        given = rnn.SavedModel(tmp_path / "m", input_shapes={"x": (1, None)})
    with pytest.raises(rnn.SourceError, match="cannot open dimension 1 of x: the source fixes it to 495"):
        rnn.convert(given)
