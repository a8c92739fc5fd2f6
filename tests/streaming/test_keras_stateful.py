"""Keras' own stateful models called chunk after chunk: a file that keeps its states gives the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import tflite_rnn as rnn
from tests.runtimes import QUICK
from tflite_rnn.runtime import Stream, WorkerPool, read_metadata

LAYERS = {"lstm": layers.LSTM, "gru": layers.GRU, "rnn": layers.SimpleRNN}


@pytest.mark.parametrize("time", [None, 4])
@pytest.mark.parametrize("state", ["streaming", "explicit"])
@pytest.mark.parametrize("kind", LAYERS)
def test_chunks_give_what_a_stateful_model_gives(
    kind: str, state: str, time: int | None, pool: WorkerPool
) -> None:
    keras.utils.set_random_seed(5)
    x = keras.Input((time, 3), batch_size=2, name="x")
    h = LAYERS[kind](4, return_sequences=True, stateful=True)(x)
    h = LAYERS[kind](3, return_sequences=True, stateful=True)(layers.Dense(5, activation="tanh")(h))
    model = keras.Model(x, layers.Dense(2)(h))
    data = np.random.default_rng(0).standard_normal((2, 12, 3)).astype(np.float32)
    model(data[:, :4])  # what it keeps before the conversion is not part of the file
    converted = rnn.convert(model, state=state, verify=False)
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=read_metadata(converted.model), batch=2)
            for _ in range(2):
                for layer in model.layers:
                    if isinstance(layer, layers.RNN):
                        layer.reset_states()
                stream.reset()
                for start in (0, 4, 8):
                    chunk = data[:, start : start + 4]
                    (found,) = stream.feed({"x": chunk}).values()
                    np.testing.assert_allclose(found, model(chunk), atol=1e-5)
