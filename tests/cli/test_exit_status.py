"""How commands end: 0, 1, 2, 70 or 130, and what they say."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from converter.convert import compile_program
from converter.errors import InternalError, InvalidProgramError, SourceError
from tests.programs import lstm_cell, stack
from tflite_rnn.cli import main
from tflite_rnn.cli.status import CommandLine, Status, ended

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "tflite_rnn")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return compile_program(stack([lstm_cell()])).save(tmp_path / "model.tflite")


def raising(error: BaseException) -> Callable[[], Any]:
    def run() -> None:
        raise error

    return run


# --- statuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, Status.GOOD, Status.FAILED])
def test_a_command_returns_its_status(status: Status | None) -> None:
    assert ended(lambda: status) == (status or 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SourceError("x.pb: damaged"), "error: x.pb: damaged"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "No space left on device"),
        (RuntimeError("{{SaveV2}} /tmp/x; No space left on device [Op:SaveV2]"), "no space left for temporary"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (ModuleNotFoundError("No module", name="tf_keras.src"), "pip install 'tflite-rnn[tf-keras]'"),
        (click.UsageError("no such thing"), "no such thing"),
        (click.FileError("x", "unreadable"), "unreadable"),
    ],
)
def test_what_the_user_can_cure_is_status_2(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupted_command_is_status_130(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(error)) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("first line\nsecond line"),
        EOFError("first line"),
        OSError("first line"),
        ModuleNotFoundError("first line", name="converter.nothing"),
        InternalError("first line\nsecond line"),
        InvalidProgramError("first line"),
    ],
)
def test_a_fault_of_ours_is_status_70_and_one_line_that_names_a_file(
    error: Exception, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tflite-rnn", "convert", "a model", "-o", "out"])
    assert ended(raising(error)) == 70
    printed = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert printed.startswith(f"internal error: {type(error).__name__}: first line; ")
    assert str(report) in printed
    assert printed.count("\n") == 1
    written = report.read_text()
    for words in (
        "tflite-rnn 0.",
        "command: tflite-rnn convert 'a model' -o out",
        f"numpy {np.__version__}",
        "Traceback",
        "raise",
    ):
        assert words in written
    assert str(error) in written


def test_a_fault_without_a_temporary_folder_is_told_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    assert ended(raising(RuntimeError("first \x1b[31mline"))) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("inspect",), ("targets", "--loud"), ("convert", "x")])
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("targets",), ("explain",), ("check", "-h")])
def test_what_only_tells_is_status_0(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 0


def test_inside_another_program_the_group_is_clicks() -> None:
    assert main.main(["targets"], standalone_mode=False) is None


def test_a_group_of_commands_takes_their_status() -> None:
    @click.group(cls=CommandLine)
    def group() -> None:
        pass

    @group.command("fail")
    def fail() -> Status:
        return Status.FAILED

    assert CliRunner().invoke(group, ["fail"]).exit_code == 1


# --- the process -----------------------------------------------------------------------------------------------


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        words, env=ENVIRONMENT, text=True, check=False, timeout=120, **{"stderr": subprocess.PIPE, **options}
    )


@pytest.mark.parametrize(
    "arguments", [("inspect", "{model}"), ("targets",), ("explain",), ("--help",)], ids=" ".join
)
def test_a_reader_that_goes_is_no_error(arguments: tuple[str, ...], model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = run(*(word.format(model=model) for word in arguments), stdout=pipe)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verdict_stands_though_nobody_reads_it(tmp_path: Path) -> None:
    fixed = compile_program(stack([lstm_cell()], time=3, batch=1)).save(tmp_path / "fixed.tflite")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = run("inspect", "--target", "litert-compiled", fixed, stdout=pipe)
    assert (done.returncode, done.stderr) == (1, "")


@needs_full_device
@pytest.mark.parametrize("arguments", [("inspect", "{model}"), ("explain",), ("--help",)], ids=" ".join)
def test_an_output_that_cannot_be_written_is_status_2(arguments: tuple[str, ...], model: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run(*(word.format(model=model) for word in arguments), stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams_are_no_error(closed: str, model: Path) -> None:
    number = {"stdout": 1, "stderr": 2}[closed]
    done = run("inspect", model, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(number))
    assert done.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_while_packages_are_imported_is_quiet() -> None:
    """Where a command takes a second to start, it is often interrupted in that second."""
    code = """
import sys, time
import tflite_rnn.__main__ as start
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "tflite_rnn.cli.convert":
            print("importing", flush=True)
            time.sleep(30)
sys.meta_path.insert(0, Slow())
start.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, "targets"],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_ctrl_c_in_a_command_is_status_130(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tflite_rnn.conversion.compile_source", interrupted)
    result = invoke("convert", model, "-o", tmp_path / "out.tflite")
    assert result.exit_code == 130
    assert "Aborted" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tflite"]


def test_a_fault_of_the_compiler_is_status_70(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("tflite_rnn.conversion.compile_source", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = invoke("convert", model, "-o", tmp_path / "out.tflite")
    assert result.exit_code == 70
    assert "internal error: ZeroDivisionError: by nothing" in result.output
    assert not (tmp_path / "out.tflite").exists()
