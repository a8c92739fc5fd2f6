"""Worker processes import what their parent would, and nothing that lies in the current directory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tflite_rnn.runtime import TFLITE_RUNTIME, Worker
from tflite_rnn.runtime.python import isolated_command

TRAPS = ("queue", "json", "numpy", "tflite_runtime", "tflite_rnn", "converter", "sitecustomize", "struct", "runpy")


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, full of modules that leave a trace when they are imported."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'a').write('{name} ')\n")
    monkeypatch.chdir(folder)
    return tmp_path / "trace"


@pytest.mark.parametrize("entry", ["", ".", "{current}", "{current}/../models"])
def test_a_worker_imports_nothing_from_the_current_directory(
    entry: str, trapped: Path, fake_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry.format(current=Path.cwd()), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    with Worker(TFLITE_RUNTIME) as worker:
        worker.load(b"add")
    assert not trapped.exists(), trapped.read_text()


def test_an_isolated_process_finds_modules_where_its_parent_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shown.py").write_text(
        "import json, sys; print(json.dumps([sys.path, sys.argv[1:], sys.flags.isolated]))"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = subprocess.run(isolated_command("shown", "a b"), capture_output=True, text=True, check=True)
    paths, arguments, is_isolated = json.loads(done.stdout)
    assert paths[0] == str(tmp_path)
    assert (arguments, is_isolated) == (["a b"], 1)


def test_the_current_directory_comes_last_where_the_package_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    paths = json.loads(isolated_command("anything")[5])
    assert paths[-1] == str(root)
    assert paths.count(str(root)) == 1
