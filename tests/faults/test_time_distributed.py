"""TimeDistributed over an open time: masks reach the inner layer, and `check` has a reference that is right.

Keras 3 itself reads beyond the last step where the number of steps is open, so the oracle is the model called on
arrays, whose number of steps it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from converter.convert import compile_source
from tests.runtimes import QUICK
from tflite_rnn import check
from tflite_rnn.runtime import WorkerPool, compare

DEPTH, UNITS, STEPS = 5, 4, 6
LIBRARIES = {"keras": keras, "tf_keras": tf_keras}

Build = Callable[[Any, Any], Any]

FLOATS: dict[str, tuple[tuple[int | None, ...], Build]] = {
    "dense": ((None, DEPTH), lambda k, x: k.TimeDistributed(k.Dense(UNITS))(x)),
    "dense, lstm": (
        (None, DEPTH),
        lambda k, x: k.LSTM(3, return_sequences=True)(k.TimeDistributed(k.Dense(UNITS))(x)),
    ),
    "lstm": ((None, STEPS, DEPTH), lambda k, x: k.TimeDistributed(k.LSTM(UNITS))(x)),
    "lstm, both open": ((None, None, DEPTH), lambda k, x: k.TimeDistributed(k.LSTM(UNITS))(x)),
    "conv": ((None, STEPS, DEPTH), lambda k, x: k.TimeDistributed(k.Conv1D(UNITS, 3))(x)),
    "masked lstm": ((None, DEPTH), lambda k, x: k.LSTM(UNITS)(k.TimeDistributed(k.Dense(3))(k.Masking()(x)))),
    "nested": ((None, STEPS, DEPTH), lambda k, x: k.TimeDistributed(k.TimeDistributed(k.Dense(3)))(x)),
}

IDS: dict[str, Build] = {
    "lstm": lambda k, x: k.TimeDistributed(k.LSTM(UNITS))(k.Embedding(9, 3, mask_zero=True)(x)),
    "gru, outputs": lambda k, x: k.TimeDistributed(k.GRU(UNITS, return_sequences=True))(
        k.Embedding(9, 3, mask_zero=True)(x)
    ),
    "bidirectional": lambda k, x: k.TimeDistributed(k.Bidirectional(k.LSTM(UNITS)))(
        k.Embedding(9, 3, mask_zero=True)(x)
    ),
}
"""Layers whose steps are themselves masked sequences."""


def assert_equal(model: Any, cases: list[np.ndarray], pool: WorkerPool) -> None:
    converted = compile_source(model)
    (given,), (result,) = converted.program.signature.inputs, converted.program.signature.outputs
    report = compare(
        converted.model,
        lambda inputs: {result: np.asarray(model(inputs[given]))},
        [{given: x} for x in cases],
        pool=pool,
        runtimes=QUICK,
    )
    assert report.ok, str(report)
    proved = check(converted, model, inputs=[{given: x} for x in cases], runtimes=QUICK[:1], pool=pool)
    assert proved.ok, str(proved)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("batch", [None, 2])
def test_steps_of_numbers(name: str, kind: str, batch: int | None, pool: WorkerPool) -> None:
    library, (shape, build) = LIBRARIES[name], FLOATS[kind]
    x = library.Input(shape, batch_size=batch, name="x")
    model = library.Model(x, build(library.layers, x))
    rng = np.random.default_rng(1)
    cases = []
    for rows, steps in ((2, 4), (batch or 3, 1), (batch or 1, 7)):
        values = rng.standard_normal((rows, steps, *(size or STEPS for size in shape[1:]))).astype(np.float32)
        values[:, steps // 2] = 0.0  # a masked step
        cases.append(values)
    assert_equal(model, cases, pool)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("batch", [None, 2])
def test_the_mask_of_each_step_reaches_the_inner_layer(
    name: str, kind: str, batch: int | None, pool: WorkerPool
) -> None:
    library = LIBRARIES[name]
    x = library.Input((None, STEPS), batch_size=batch, name="x", dtype="int32")
    model = library.Model(x, IDS[kind](library.layers, x))
    rng = np.random.default_rng(2)
    shapes = ((2, 4, STEPS), (batch or 3, 1, STEPS))
    assert_equal(model, [rng.integers(0, 4, shape).astype(np.int32) for shape in shapes], pool)


def test_a_file_is_checked_at_the_number_of_steps_that_is_given(tmp_path: Path, pool: WorkerPool) -> None:
    x = keras.Input((None, DEPTH), name="x")
    model = keras.Model(x, keras.layers.TimeDistributed(keras.layers.Dense(UNITS))(x))
    path = tmp_path / "model.keras"
    model.save(path)
    report = check(compile_source(path), path, runtimes=QUICK[:1], pool=pool)
    assert report.ok, str(report)
