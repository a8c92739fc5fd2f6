"""The options that say how to read a source, of ``convert SOURCE`` and of ``check --against SOURCE``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from converter.convert import compile_program
from tests.programs import lstm_cell, stack
from tflite_rnn.cli import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return compile_program(stack([lstm_cell()])).save(tmp_path / "model.tflite")


@pytest.fixture(params=["convert", "check"])
def read(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> Run:
    """Run a command that reads a source with options; return its status and output in one line."""

    def run(source: Path, *options: str) -> tuple[int, str]:
        command = ["convert", str(source), "-o", str(tmp_path / "out.tflite")]
        if request.param == "check":
            command = ["check", str(model), "--against", str(source)]
        result = CliRunner().invoke(main, [*command, *options])
        assert "Traceback" not in result.output
        return result.exit_code, " ".join(result.output.split())

    return run


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--outputs", "y"], "--outputs is an option of a frozen graph, but {source} is a .tflite; leave it out"),
        (["--input_arrays", "x"], " is an option of a frozen graph"),
        (["--set", "k=1"], "--set is an option of a frozen graph"),
        (["--signature-key", "s"], "--signature-key is an option of a SavedModel"),
        (["--unsafe"], "--unsafe: {source} is a .tflite, which is never run by TensorFlow; leave it out"),
        (["--custom-object", "A=m:A"], "--custom-object is an option of a Keras file"),
        (["--input-shapes", "x:5,2,9"], "{source}: cannot set dimension 2 of x to 9: the file fixes it to 3"),
        (["--custom-object", "A"], "expected NAME=MODULE:ATTR, got 'A'"),
        (["--custom-object", "A=m"], "expected NAME=MODULE:ATTR, got 'A=m'"),
        (["--input-shapes", "x:0,2,3"], "input_shapes['x']: expected sizes of at least 1"),
    ],
)
def test_what_does_not_fit_a_source_is_one_clear_error(
    read: Run, model: Path, options: list[str], complaint: str
) -> None:
    status, output = read(model, *options)
    assert status == 2
    assert complaint.format(source=model) in output


def test_what_is_not_there_is_named(read: Run, tmp_path: Path) -> None:
    status, output = read(tmp_path / "nothing")
    assert status == 2
    assert "nothing: no such file or directory" in output


@pytest.mark.runtime
def test_a_tflite_is_converted_and_checked_without_tensorflow(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    for command in (
        ["convert", str(model), "-o", str(out)],
        ["check", str(out), "--against", str(model), "--runtime", "ai-edge-litert"],
    ):
        code = f"""
import sys
from tflite_rnn.cli import main
try:
    main({command!r})
finally:
    print([name for name in ("tensorflow", "keras") if name in sys.modules], file=sys.stderr)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, "[]\n"), done.stdout


# --- custom objects ----------------------------------------------------------------------------------------------

MODULE = """
import keras


class Doubling(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


class Home:
    Doubling = Doubling
"""


@pytest.fixture(scope="module")
def with_custom_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module, and a Keras file that needs its layer."""
    import keras

    folder = tmp_path_factory.mktemp("custom")
    (folder / "its_layers.py").write_text(MODULE)
    (folder / "its_broken_layers.py").write_text("import module_that_is_nowhere")

    class Doubling(keras.layers.Layer):
        def call(self, x: np.ndarray) -> np.ndarray:
            return 2.0 * x

    keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4), Doubling()]).save(folder / "model.keras")
    return folder


@pytest.mark.tensorflow
@pytest.mark.parametrize("place", ["its_layers:Doubling", "its_layers:Home.Doubling"])
def test_a_custom_object_is_imported_where_it_is_said_to_be(
    with_custom_layer: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(with_custom_layer))
    command = ["convert", str(with_custom_layer / "model.keras"), "-o", str(tmp_path / "out.tflite")]
    result = CliRunner().invoke(main, [*command, "--custom-object", f"Doubling={place}"])
    assert result.exit_code == 0, result.output
    assert "lstm(units=4, activation=tanh) -> fused" in result.output


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("nowhere:Doubling", "cannot import nowhere: No module named 'nowhere'; the module must be importable"),
        ("nowhere:Doubling", "put its directory on the path, as in PYTHONPATH=. tflite-rnn"),
        (
            "its_broken_layers:Doubling",
            "cannot import its_broken_layers: No module named 'module_that_is_nowhere'",
        ),
        ("its_layers:Trebling", "module 'its_layers' has no attribute 'Trebling'; expected the name of a class"),
    ],
)
def test_a_custom_object_that_is_not_there_is_one_clear_error(
    with_custom_layer: Path, read: Run, place: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(with_custom_layer))
    status, output = read(with_custom_layer / "model.keras", "--custom-object", f"Doubling={place}")
    assert status == 2
    assert f"--custom-object Doubling={place}: " in output
    assert complaint in output
