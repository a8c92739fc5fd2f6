"""Keras files become models on chunks by the command line alone, and are checked against the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from click.testing import CliRunner
from keras import layers

from tflite_rnn.cli import main


def keywords(x: Any) -> Any:
    """Causal convolutions, a GRU, and a mean over the steps so far."""
    x = layers.Conv1D(8, 5, strides=2, padding="causal", activation="relu")(x)
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, padding="causal", activation="relu")(x))
    x = layers.GRU(6, return_sequences=True)(layers.Dropout(0.2)(x))
    return layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def speech(x: Any) -> Any:
    """Convolutions that look ahead, a residual, and two LSTMs."""
    y = layers.Conv1D(10, 5, padding="same", activation="relu")(x)
    y = layers.Add()([y, layers.Conv1D(10, 3, padding="same")(y)])
    y = layers.LSTM(6, return_sequences=True)(layers.LayerNormalization()(y))
    return layers.Dense(5, activation="softmax")(layers.LSTM(6, return_sequences=True)(y))


def stateful(x: Any) -> Any:
    return layers.Dense(3)(layers.LSTM(6, return_sequences=True, stateful=True)(x))


@pytest.mark.runtime
@pytest.mark.parametrize(
    ("build", "time", "options"),
    [(keywords, None, []), (speech, None, ["--lookahead", "delay"]), (stateful, None, [])],
)
def test_a_keras_file_runs_on_chunks(
    build: Callable[[Any], Any], time: int | None, options: list[str], tmp_path: Path
) -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((time, 10), batch_size=1, name="features")
    source, file = tmp_path / "model.keras", tmp_path / "model.tflite"
    keras.Model(x, build(x)).save(source)
    for arguments in (
        ["convert", str(source), "-o", str(file), "--state", "streaming", *options],
        ["check", str(file), "--against", str(source)],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
