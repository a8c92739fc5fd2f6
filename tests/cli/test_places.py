"""Where the command line writes, and what it prints of names that files bring."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.convert import compile_program
from converter.files import is_part_of
from converter.flatbuffer import build_model
from converter.ir import Graph, Program, Signature, TfliteOp
from tests.programs import lstm_cell, stack, tensor
from tflite_rnn.cli import main

ESCAPES = "\x1b[31m\x1b]0;title\x07red\u202egnp"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small .tflite, which needs no TensorFlow to convert."""
    return compile_program(stack([lstm_cell()], time=4, batch=1)).save(tmp_path / "source.tflite")


@pytest.fixture(autouse=True)
def no_work(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that a place is refused before any work; not where files are really written."""
    if "refuses" in request.node.name:
        monkeypatch.setattr("tflite_rnn.conversion.compile_source", None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_convert_refuses_to_replace_a_pipe(option: str, source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    others = () if option == "-o" else ("-o", tmp_path / "made.tflite")
    assert "this is a pipe; name a file" in refused(run("convert", source, *others, option, pipe))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert not (tmp_path / "made.tflite").exists()


@pytest.mark.parametrize("name", ["x" * 256, "\u00e4" * 128])
def test_convert_refuses_names_that_are_too_long(name: str, source: Path, tmp_path: Path) -> None:
    assert "File name too long" in refused(run("convert", source, "-o", tmp_path / name))
    assert "File name too long" in refused(run("convert", tmp_path / name, "-o", tmp_path / "made.tflite"))
    assert "File name too long" in refused(run("inspect", tmp_path / name))
    assert "File name too long" in refused(run("check", source, "--against", tmp_path / name))


@pytest.mark.parametrize("place", ["made.tflite", "./made.tflite", "link.tflite", "folder/../made.tflite"])
def test_convert_refuses_a_report_in_the_place_of_the_model(
    place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.tflite").symlink_to(tmp_path / "made.tflite")
    assert "are one file" in refused(run("convert", source, "-o", "made.tflite", "--report", place))
    assert not (tmp_path / "made.tflite").exists()


@pytest.mark.parametrize("option", ["-o", "--report"])
@pytest.mark.parametrize("place", ["source.tflite", "./source.tflite", "link.tflite", "twin.tflite"])
def test_convert_refuses_to_replace_the_source(
    option: str, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.tflite").symlink_to(source)
    os.link(source, tmp_path / "twin.tflite")
    before = source.read_bytes()
    others = () if option == "-o" else ("-o", "made.tflite")
    assert "is the source itself" in refused(run("convert", source, *others, option, place))
    assert source.read_bytes() == before


def test_a_link_is_followed(source: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.tflite", tmp_path / "link.tflite"
    link.symlink_to(target)
    assert run("convert", source, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert target.read_bytes()[4:8] == b"TFL3"


def test_names_with_spaces_and_other_scripts(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder [of] 名前"
    folder.mkdir()
    result = run("convert", source, "-o", folder / "a [bold]model.tflite")
    assert result.exit_code == 0, result.output
    assert f"wrote {folder / 'a [bold]model.tflite'}" in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="it takes a small file system")
def test_a_full_disk_is_an_error_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only the superuser mounts file systems")
    try:
        message = refused(run("convert", source, "-o", small / "made.tflite"))
        assert "No space left on device" in message
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


# --- what is printed -------------------------------------------------------------------------------------------


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A model whose names hold escapes: of tensors, of the signature, of an op that no runtime has."""
    x, y, z = (tensor(f"{name}{ESCAPES}", 2) for name in "xyz")
    ops = (TfliteOp("TANH", (x,), (y,)), TfliteOp("CUSTOM", (y,), (z,), custom_code=f"Op{ESCAPES}"))
    signature = Signature(f"key{ESCAPES}", (x.name,), (z.name,))
    path = tmp_path / "named.tflite"
    program = Program((Graph(f"main{ESCAPES}", (x,), (z,), ops),), (signature,), f"by{ESCAPES}")
    path.write_bytes(build_model(program))
    return path


def check_shown(result: Result) -> None:
    assert "red" in result.output
    assert [character for character in "\x1b\x07\u202e" if character in result.output] == []


@pytest.mark.parametrize(
    "arguments", [("inspect",), ("inspect", "--target", "litert"), ("convert", "-o", "made.tflite")], ids=" ".join
)
def test_escapes_in_names_are_written_out(
    arguments: tuple[str, ...], named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_shown(run(arguments[0], named, *arguments[1:]))


def test_escapes_in_paths_and_words_are_written_out(tmp_path: Path) -> None:
    path = tmp_path / f"{ESCAPES}.tflite"
    path.write_bytes(b"nothing")
    check_shown(run("convert", path, "-o", tmp_path / "made.tflite"))
    check_shown(run("convert", path, "-o", tmp_path / "made.tflite", "--set", ESCAPES))
    check_shown(run("inspect", path, ESCAPES))
    check_shown(run("explain", ESCAPES))


@pytest.mark.parametrize("option", ["-o", "--report"])
@pytest.mark.parametrize("place", ["saved_model.pb", "variables/variables.index", "assets/words.json", "twin"])
def test_convert_refuses_to_replace_a_file_of_a_saved_model(option: str, place: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    for name in ("saved_model.pb", "variables/variables.index", "assets/words.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"of the model")
    os.link(folder / "saved_model.pb", tmp_path / "twin")
    named = tmp_path / "twin" if place == "twin" else folder / place
    others = () if option == "-o" else ("-o", tmp_path / "made.tflite")
    assert "is a file of the source" in refused(run("convert", folder, *others, option, named))
    assert named.read_bytes() == b"of the model"


def test_a_model_beside_the_files_of_a_saved_model_is_no_part_of_it(tmp_path: Path) -> None:
    for name in ("made.tflite", "report.json", "saved_model.pb"):
        (tmp_path / name).write_bytes(b"")
    parts = [is_part_of(tmp_path / name, tmp_path) for name in ("made.tflite", "report.json", "saved_model.pb")]
    assert parts == [False, False, True]
    assert not is_part_of(tmp_path / "new.bin", tmp_path)


def test_convert_does_not_write_a_file_called_minus(source: Path, tmp_path: Path) -> None:
    assert "standard output" in refused(run("convert", source, "-o", "-"))
