"""What `check` says where it cannot compare, or could compare the wrong thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from converter.convert import compile_source
from converter.options import ConvertOptions
from tests.runtimes import QUICK
from tflite_rnn import check, nn
from tflite_rnn.cli import main
from tflite_rnn.runtime import MICRO, CheckError, WorkerPool, is_installed

ROWS = 9


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_ids_are_drawn_from_the_rows_of_their_table(dtype: str, pool: WorkerPool) -> None:
    x = keras.Input((None,), name="ids", dtype=dtype)
    model = keras.Model(x, keras.layers.LSTM(3)(keras.layers.Embedding(ROWS, 4)(x)))
    seen: list[np.ndarray] = []

    def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(inputs["ids"])
        return {name: np.asarray(model(inputs["ids"]))}

    converted = compile_source(model)
    (name,) = converted.program.signature.outputs
    report = check(converted, reference, runtimes=QUICK[:1], pool=pool)
    assert report.ok, str(report)
    ids = np.concatenate([case.ravel() for case in seen])
    assert ids.min() >= 0
    assert 2 < ids.max() < ROWS


def test_sizes_that_the_reference_does_not_take_are_named_with_the_cure(pool: WorkerPool) -> None:
    cell = nn.LSTMCell(4)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], name="x")])
    def pairs(x: tf.Tensor) -> Any:
        halved = tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] // 2, 6])
        return nn.dynamic_rnn(cell, halved, dtype=tf.float32)[0]

    converted = compile_source(pairs)
    with pytest.raises(
        CheckError, match=r"with x \[1, 1, 3\]: InvalidArgumentError: Input to reshape.*--inputs FILE"
    ):
        check(converted, pairs, runtimes=QUICK[:1], pool=pool)
    cases = [{"x": np.ones((2, 4, 3), np.float32)}]
    assert check(converted, pairs, inputs=cases, runtimes=QUICK[:1], pool=pool).ok


@pytest.mark.skipif(not is_installed(MICRO), reason="the interpreter for microcontrollers is not installed")
def test_a_file_for_microcontrollers_runs_on_theirs_unasked(pool: WorkerPool) -> None:
    x = keras.Input((4, 3), batch_size=1, name="x")
    model = keras.Model(x, keras.layers.GRU(3)(x))
    report = check(compile_source(model, ConvertOptions.parse(target="tflm")), model, pool=pool)
    assert report.ok, str(report)
    assert MICRO in {row.runtime.interpreter for row in report.rows}


# --- the command line --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    x = keras.Input((4, 3), batch_size=1, name="x")
    model = keras.Model(x, keras.layers.GRU(3)(x))
    model.save(folder / "source.keras")
    (folder / "model.tflite").write_bytes(compile_source(model).model)
    np.savez(folder / "shape.npz", x=np.zeros((1, 4, 2), np.float32))
    np.savez(folder / "name.npz", y=np.zeros((1, 4, 3), np.float32))
    np.savez(folder / "type.npz", x=np.full((1, 4, 3), "a"))
    np.savez(folder / "nothing.npz")
    np.save(folder / "array.npy", np.zeros((1, 4, 3), np.float32))
    (folder / "empty.npz").write_bytes(b"")
    (folder / "damaged.npz").write_bytes((folder / "shape.npz").read_bytes()[:100])
    return folder


def run(folder: Path, *options: str) -> Result:
    arguments = ["check", folder / "model.tflite", "--against", folder / "source.keras", *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.runtime
@pytest.mark.parametrize(
    "options",
    [
        *(("--inputs", name) for name in ("shape.npz", "name.npz", "type.npz", "nothing.npz", "array.npy")),
        *(("--inputs", name) for name in ("empty.npz", "damaged.npz", "none.npz", ".")),
        ("--seed", "-1"),
        ("--atol", "nan"),
        ("--rtol", "nan"),
        ("--atol", "-1"),
        ("--rtol", "inf"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_compared_is_status_2_and_one_error(files: Path, options: tuple[str, str]) -> None:
    option, word = options
    result = run(files, option, str(files / word) if option == "--inputs" else word)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "Aborted" not in result.output
