"""The examples in the help of ``convert`` work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.frozen_graphs import frozen
from tflite_rnn.cli import main

HELP = CliRunner().invoke(main, ["convert", "--help"], terminal_width=200).output
EXAMPLES = [line.strip() for line in HELP.splitlines() if line.strip().startswith("tflite-rnn convert ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    x = keras.Input((None, 40), name="mel")
    model = keras.Model(x, keras.layers.LSTM(4)(x))
    model.save(folder / "model.keras")
    tf.saved_model.save(model, str(folder / "saved_model"))
    fixed = keras.Sequential([keras.Input(batch_shape=(1, 5, 3)), keras.layers.GRU(4)])
    (folder / "slow.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(fixed).convert())
    (folder / "frozen.pb").write_bytes(frozen(classifier, ["probs"]))
    return folder


def classifier(tf1: Any) -> None:
    """A network with a placeholder ``keep_prob``, and ``probs`` at its end."""
    from tensorflow.python.ops import rnn as tf1_rnn
    from tensorflow.python.ops import rnn_cell_impl

    x = tf1.placeholder("float32", [None, 5, 3], name="x")
    kept = tf1.placeholder("float32", name="keep_prob")
    cell = rnn_cell_impl.DropoutWrapper(rnn_cell_impl.GRUCell(4), output_keep_prob=kept)
    outputs, _ = tf1_rnn.dynamic_rnn(cell, x, dtype="float32")
    tf1.nn.softmax(outputs[:, -1], name="probs")


def test_there_is_an_example_for_every_kind_of_file() -> None:
    sources = [shlex.split(line)[2] for line in EXAMPLES]
    assert sources == ["saved_model/", "model.keras", "frozen.pb", "slow.tflite"]


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_example_converts(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    _, *arguments = shlex.split(line)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
