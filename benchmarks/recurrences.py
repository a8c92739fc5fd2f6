"""The fused op of this project against the loop that TFLiteConverter makes of the same Keras 3 layer.

``python -m benchmarks.recurrences`` builds an LSTM layer twice per size, runs both files in turn on each runtime,
and prints how many times faster the fused one is: the median over rounds of the ratio of the two best times.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from rich.console import Console
from rich.table import Table

import tflite_rnn as rnn
from tflite_rnn.runtime import AI_EDGE_LITERT, TFLITE_RUNTIME, Runtime, WorkerPool
from tflite_rnn.runtime.signature import Array

SIZES = ((32, 1), (64, 1), (128, 1), (256, 1), (64, 8))
TIME = 100
ROUNDS = 7
RUNS = 10
RUNTIMES = (Runtime(AI_EDGE_LITERT), Runtime(TFLITE_RUNTIME))


def fused_model(units: int, batch: int) -> bytes:
    """Return an LSTM layer as this project converts it."""
    import tensorflow as tf

    cell = rnn.LSTMCell(units)

    @tf.function(input_signature=[tf.TensorSpec([batch, TIME, units], tf.float32, name="x")])
    def layer(x: Any) -> dict[str, Any]:
        return {"y": rnn.nn.dynamic_rnn(cell, x, dtype=tf.float32)[0]}

    return rnn.convert(layer).model


def loop_model(units: int, batch: int) -> bytes:
    """Return the same layer of Keras 3 as TFLiteConverter converts it."""
    import keras
    import tensorflow as tf

    inputs = keras.Input(batch_shape=(batch, TIME, units), name="x")
    model = keras.Model(inputs, keras.layers.LSTM(units, return_sequences=True)(inputs))
    with contextlib.redirect_stdout(io.StringIO()):  # Keras describes every export
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def ratio(pool: WorkerPool, runtime: Runtime, models: tuple[bytes, bytes], x: Array) -> float:
    """Return how many times longer the second model takes than the first."""
    with pool.open(runtime, models[0]) as first, pool.open(runtime, models[1]) as second:
        names = [running.signature.inputs[0].name for running in (first, second)]
        ratios = []
        for _ in range(ROUNDS):
            ours = min(first.time({names[0]: x}, runs=RUNS))
            theirs = min(second.time({names[1]: x}, runs=RUNS))
            ratios.append(theirs / ours)
    return statistics.median(ratios)


def main() -> None:
    """Measure every size and print the table."""
    table = Table(title=f"LSTM over {TIME} steps: time of TFLiteConverter's loop / time of our fused op")
    for column in ("units", "batch", *(runtime.label for runtime in RUNTIMES)):
        table.add_column(column, justify="right")
    with WorkerPool() as pool:
        for units, batch in SIZES:
            models = fused_model(units, batch), loop_model(units, batch)
            x = np.random.default_rng(0).standard_normal((batch, TIME, units)).astype(np.float32)
            cells = [f"{ratio(pool, runtime, models, x):.2f}x" for runtime in RUNTIMES]
            table.add_row(str(units), str(batch), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
