"""Networks without recurrences whose time is fixed to a chunk: the axis behind the batch is time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from converter.convert import compile_source
from converter.errors import ConversionError
from converter.options import ConvertOptions
from tests.runtimes import QUICK
from tflite_rnn.runtime import MICRO, Runtime, Stream, WorkerPool, is_installed, read_metadata

CHUNK, DEPTH, STEPS = 4, 3, 24
RUNTIMES = [*QUICK, *([Runtime(MICRO)] if is_installed(MICRO) else [])]

Build = Callable[[], list[Any]]
NETWORKS: dict[str, Build] = {
    "conv": lambda: [keras.layers.Conv1D(4, 3, padding="causal")],
    "conv, stride": lambda: [keras.layers.Conv1D(4, 3, strides=2, padding="causal")],
    "conv, mean": lambda: [keras.layers.Conv1D(4, 3, padding="causal"), keras.layers.GlobalAveragePooling1D()],
    "dense": lambda: [keras.layers.Dense(2)],
    "pool": lambda: [keras.layers.MaxPooling1D(2)],
}


def model_of(build: Build, steps: int | None) -> Any:
    keras.utils.set_random_seed(4)
    return keras.Sequential([keras.Input((steps, DEPTH), batch_size=1, name="x"), *build()])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("state", "target"), [("streaming", "tflm"), ("explicit", "litert")])
def test_chunks_joined_are_the_whole(name: str, state: str, target: str, pool: WorkerPool) -> None:
    model = model_of(NETWORKS[name], CHUNK)
    converted = compile_source(model, ConvertOptions.parse(state=state, target=target))
    assert converted.report.chunks is not None
    x = np.random.default_rng(0).standard_normal((1, STEPS, DEPTH)).astype(np.float32)
    (expected,) = (np.asarray(model_of(NETWORKS[name], None)(x)),)
    metadata = read_metadata(converted.model)
    for runtime in RUNTIMES if target == "tflm" else QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=metadata, batch=1)
            rows = [*stream.feed({"x": x[:, :10]}).values(), *stream.feed({"x": x[:, 10:]}).values()]
            found = np.concatenate(rows, axis=1) if expected.ndim == 3 else rows[-1]
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("steps", [CHUNK, None])
def test_what_needs_all_steps_is_refused_if_an_axis_is_known_to_be_time(steps: int | None) -> None:
    model = model_of(lambda: [keras.layers.Softmax(axis=1, name="whole")], steps)
    options = ConvertOptions.parse(state="streaming")
    if steps is None:
        with pytest.raises(ConversionError, match="whole"):
            compile_source(model, options)
    else:
        report = compile_source(model, options).report
        assert report.chunks is None
        assert any("no axis of time was found" in note for note in report.notes)


def test_a_model_without_time_says_that_nothing_is_kept() -> None:
    x = keras.Input((DEPTH,), batch_size=1, name="x")
    converted = compile_source(keras.Model(x, keras.layers.Dense(2)(x)), ConvertOptions.parse(state="streaming"))
    assert converted.report.chunks is None
    assert any(note.startswith("nothing is kept") for note in converted.report.notes)
