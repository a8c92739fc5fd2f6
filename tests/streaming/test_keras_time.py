"""Keras models of a fixed length run on chunks of any size, where their layers allow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from converter.convert import Converted, compile_source
from converter.errors import ConversionError
from converter.options import ConvertOptions
from converter.sources import KerasFile, KerasModel
from tests.runtimes import QUICK
from tflite_rnn import check, convert
from tflite_rnn.runtime import WorkerPool

STEPS, BINS = 24, 8


def spotting(library: Any = keras) -> Any:
    """Return a network that spots keywords, of a fixed length, as such networks are trained."""
    of = library.layers
    return library.Sequential(
        [
            library.Input((STEPS, BINS), batch_size=1, name="features"),
            of.Reshape((STEPS, BINS, 1)),
            of.Conv2D(4, (3, 3), activation="relu"),
            of.MaxPooling2D((1, 2)),
            of.Reshape((STEPS - 2, -1)),
            of.GRU(5, return_sequences=True),
            of.GlobalAveragePooling1D(),
            of.Dense(3),
        ]
    )


def streaming(source: Any, **options: str) -> Converted:
    return compile_source(KerasModel(source, open_time=True), ConvertOptions.parse(state="streaming", **options))


def time_of(converted: Converted) -> int | None:
    (x,) = converted.program.main.inputs
    assert x.type.shape is not None
    return x.type.shape[1]


@pytest.mark.parametrize("kind", ["keras", "tf_keras"])
def test_a_fixed_length_is_opened(kind: str, pool: WorkerPool) -> None:
    model = spotting(pytest.importorskip(kind))
    converted = streaming(model)
    assert time_of(converted) is None
    report = check(converted, model, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


def test_the_whole_of_the_fixed_length_is_what_keras_gives(pool: WorkerPool) -> None:
    model = spotting()
    x = np.random.default_rng(0).standard_normal((1, STEPS, BINS)).astype(np.float32)
    converted = streaming(model)
    (output,) = converted.program.signature.outputs
    report = check(
        converted,
        lambda inputs: {output: model.predict(inputs["features"], verbose=0)},
        inputs=[{"features": x}],
        pool=pool,
    )
    assert report.ok, str(report)


def test_a_file_is_opened_too(tmp_path: Path, pool: WorkerPool) -> None:
    path = tmp_path / "model.keras"
    spotting().save(path)
    converted = convert(KerasFile(path, open_time=True), state="explicit", verify=False)
    assert converted.program.main.inputs[0].type.shape == (1, None, BINS)
    assert check(converted, path, runtimes=QUICK[:1], pool=pool).ok


def test_a_layer_that_needs_the_length_keeps_it() -> None:
    model = keras.Sequential([keras.Input((STEPS, BINS), batch_size=1), layers.Flatten(), layers.Dense(3)])
    converted = streaming(model)
    assert time_of(converted) == STEPS
    assert any("time stays as it is fixed" in note for note in converted.report.notes)


def test_a_table_of_positions_is_refused_by_name() -> None:
    x = keras.Input((STEPS, BINS), batch_size=1)
    positions = np.random.default_rng(0).standard_normal((1, STEPS, BINS)).astype(np.float32)
    model = keras.Model(x, layers.GRU(4)(layers.Add()([x, keras.ops.convert_to_tensor(positions)])))
    with pytest.raises(ConversionError, match="ADD has an operand of its own for each step"):
        streaming(model)


def test_otherwise_a_length_stays_fixed() -> None:
    assert time_of(compile_source(spotting(), ConvertOptions.parse(state="stateless"))) == STEPS
