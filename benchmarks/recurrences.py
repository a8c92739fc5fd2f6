"""How forms of an LSTM layer compare: our fused op, our loop, and the loop that TFLiteConverter makes of Keras 3.

``python -m benchmarks.recurrences`` prints ratios of times only: the files that are compared run in turn in one
process, and a ratio is the median over rounds of the ratio of their best times.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from rich.console import Console
from rich.table import Table

import tflite_rnn as rnn
from tflite_rnn.runtime import AI_EDGE_LITERT, TFLITE_RUNTIME, LoadedModel, Runtime, WorkerPool
from tflite_rnn.runtime.signature import Array

SIZES = ((32, 1), (64, 1), (128, 1), (256, 1), (64, 8), (256, 8))
TIME = 100
LONG = 1000
ROUNDS = 7
RUNS = 10
RUNTIMES = (Runtime(AI_EDGE_LITERT), Runtime(TFLITE_RUNTIME))


def our_model(units: int, batch: int, time: int, lowering: str) -> bytes:
    """Return an LSTM layer as this project converts it."""
    import tensorflow as tf

    cell = rnn.LSTMCell(units)

    @tf.function(input_signature=[tf.TensorSpec([batch, time, units], tf.float32, name="x")])
    def layer(x: Any) -> dict[str, Any]:
        return {"y": rnn.nn.dynamic_rnn(cell, x, dtype=tf.float32)[0]}

    return rnn.convert(layer, lowering=lowering, verify=False).model


def keras_model(units: int, batch: int, time: int) -> bytes:
    """Return the same layer of Keras 3 as TFLiteConverter converts it."""
    import keras
    import tensorflow as tf

    inputs = keras.Input(batch_shape=(batch, time, units), name="x")
    model = keras.Model(inputs, keras.layers.LSTM(units, return_sequences=True)(inputs))
    with contextlib.redirect_stdout(io.StringIO()):  # Keras describes every export
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def compare_times(pool: WorkerPool, runtime: Runtime, first: Timed, second: Timed) -> float:
    """Return how many times longer the first takes than the second, per step."""
    with pool.open(runtime, first.model) as one, pool.open(runtime, second.model) as other:
        ratios = []
        for _ in range(ROUNDS):
            ratios.append(_seconds_per_step(one, first.x) / _seconds_per_step(other, second.x))
    return statistics.median(ratios)


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """A model and its input, [batch, time, units]."""

    model: bytes
    x: Array


def _seconds_per_step(running: LoadedModel, x: Array) -> float:
    name = running.signature.inputs[0].name
    steps: int = x.shape[1]
    return min(running.time({name: x}, runs=RUNS)) / steps


def _input(units: int, batch: int, time: int) -> Array:
    return np.random.default_rng(0).standard_normal((batch, time, units)).astype(np.float32)


def main() -> None:
    """Measure every size and print the table."""
    table = Table(title=f"An LSTM layer over {TIME} steps, units = depth: ratios of times (more is better for us)")
    for column in ("units", "batch", "runtime", "Keras 3 / fused", "fused / loop", f"loop: {TIME} / {LONG} steps"):
        table.add_column(column, justify="right")
    with WorkerPool() as pool:
        for units, batch in SIZES:
            x, long = _input(units, batch, TIME), _input(units, batch, LONG)
            keras = Timed(keras_model(units, batch, TIME), x)
            fused, loop = (Timed(our_model(units, batch, TIME, form), x) for form in ("fused", "while"))
            endless = Timed(our_model(units, batch, LONG, "while"), long)
            for runtime in RUNTIMES:
                pairs = ((keras, fused), (fused, loop), (loop, endless))
                ratios = [f"{compare_times(pool, runtime, *pair):.2f}x" for pair in pairs]
                table.add_row(str(units), str(batch), runtime.label, *ratios)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
