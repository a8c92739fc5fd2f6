"""What lies around a conversion: modules in the current directory, odd places to write to, names with escapes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.convert import compile_program
from converter.flatbuffer import build_model
from converter.ir import Graph, Program, Signature, TfliteOp
from tests.programs import lstm_cell, stack, tensor
from tests.trust.canaries import Canary
from tests.trust.keras_files import keras3_object, keras_archive, sequential3
from tflite_rnn.cli import main

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b[31m\x1b]0;title\x07red"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small .tflite, which needs no TensorFlow to convert."""
    path = tmp_path / "source.tflite"
    path.write_bytes(compile_program(stack([lstm_cell()], time=4, batch=1)).model)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


# --- the current directory -------------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    """The command line as its console script starts it: the current directory is not where modules are."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tflite_rnn.cli import main; main()"
    return [sys.executable, "-I", "-c", start, *map(str, arguments)]


def trap(folder: Path, canary: Canary) -> Path:
    """A folder of modules that write the canary when they are imported."""
    folder.mkdir()
    for name in (
        "queue",
        "keras",
        "tf_keras",
        "numpy",
        "tensorflow",
        "h5py",
        "json",
        "sitecustomize",
        "converter",
    ):
        (folder / f"{name}.py").write_text(f"open({str(canary.written)!r}, 'w')\n")
    return folder


@pytest.mark.runtime
def test_workers_import_nothing_from_the_current_directory(source: Path, tmp_path: Path, canary: Canary) -> None:
    folder = trap(tmp_path / "models", canary)
    arguments = ("check", source, "--against", source, "--runtime", "ai-edge-litert")
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False)
    assert canary.problems() == []
    assert done.returncode == 0, done.stderr


@pytest.mark.tensorflow
def test_reading_a_model_imports_nothing_from_the_current_directory(tmp_path: Path, canary: Canary) -> None:
    folder = trap(tmp_path / "models", canary)
    lstm = keras3_object("keras.layers", "LSTM", {"name": "lstm", "units": 2, "kernel_initializer": "zeros"})
    path = keras_archive(folder / "model.keras", sequential3(lstm))
    arguments = ("convert", path, "-o", folder / "model.tflite")
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False)
    assert canary.problems() == []
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr


# --- where files are written -----------------------------------------------------------------------------------


def test_a_pipe_is_not_replaced(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(run("convert", source, "-o", pipe))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_device_is_not_replaced(source: Path, tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only the superuser makes devices")
    refused(run("convert", source, "-o", device))
    assert stat.S_ISCHR(device.lstat().st_mode)


def test_a_link_is_followed(source: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.tflite", tmp_path / "link.tflite"
    target.write_bytes(b"old")
    link.symlink_to(target)
    assert run("convert", source, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert target.read_bytes()[4:8] == b"TFL3"


def test_a_link_to_a_directory_is_refused(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.tflite"
    link.symlink_to(tmp_path)
    refused(run("convert", source, "-o", link))
    assert link.is_symlink()


@pytest.mark.parametrize("place", ["model.tflite", "./model.tflite", "link.tflite"])
def test_the_report_cannot_take_the_place_of_the_model(
    place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.tflite").symlink_to(tmp_path / "model.tflite")
    refused(run("convert", source, "-o", "model.tflite", "--report", place))
    assert not (tmp_path / "model.tflite").exists()


def test_the_report_cannot_be_a_pipe(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(run("convert", source, "-o", tmp_path / "model.tflite", "--report", pipe))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert not (tmp_path / "model.tflite").exists()


# --- what is printed -------------------------------------------------------------------------------------------


def named_model() -> bytes:
    """A model whose names hold escapes: of tensors, of the signature, of an op that no runtime has."""
    x, y, z = tensor(f"x{ESCAPE}", 2), tensor(f"y{ESCAPE}", 2), tensor(f"z{ESCAPE}", 2)
    ops = (TfliteOp("TANH", (x,), (y,)), TfliteOp("CUSTOM", (y,), (z,), custom_code=f"Op{ESCAPE}"))
    signature = Signature(f"key{ESCAPE}", (x.name,), (z.name,))
    return build_model(Program((Graph(f"main{ESCAPE}", (x,), (z,), ops),), (signature,), f"by{ESCAPE}"))


@pytest.mark.parametrize(
    "arguments", [("inspect",), ("inspect", "--target", "litert"), ("convert", "-o", "made.tflite")]
)
def test_escapes_in_names_are_not_printed(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "named.tflite"
    path.write_bytes(named_model())
    result = run(arguments[0], path, *arguments[1:])
    assert "red" in result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output


def test_escapes_in_paths_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / f"{ESCAPE}.tflite"
    path.write_bytes(b"nothing")
    assert "\x1b" not in refused(run("convert", path, "-o", tmp_path / "made.tflite"))


def test_a_report_in_json_keeps_names_as_they_are(source: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run("convert", source, "-o", tmp_path / "made.tflite", "--report", report).exit_code == 0
    assert json.loads(report.read_text())["size"] > 0
