"""The process that reads models: what it may take, what it leaves behind, and what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.errors import OptionError, SourceError
from tflite_rnn.isolation import process
from tflite_rnn.isolation.frames import Frame
from tflite_rnn.isolation.limits import Limits, resident_mb
from tflite_rnn.isolation.process import IsolatedProcess
from tflite_rnn.runtime.python import isolated_command

CHILD = """\
import os, signal, sys, time
from tflite_rnn.isolation.frames import Frame, read_frame, write_frame

requests, replies = sys.stdin.buffer, sys.stdout.buffer
while (request := read_frame(requests)) is not None:
    kind = request.content["do"]
    if kind == "crash":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        time.sleep(60)
    elif kind == "grow":
        taken = bytearray(300_000_000)
        time.sleep(60)
    elif kind == "babble":
        replies.write(b"x" * 64)
        replies.flush()
        time.sleep(60)
    elif kind == "write":
        open("left", "w").write("something")
    write_frame(replies, Frame({"cwd": os.getcwd(), "path": sys.path, "home": os.environ["HOME"]}))
"""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the stand-in for the child, and make private folders where they can be counted."""
    modules, private = tmp_path / "modules", tmp_path / "private"
    modules.mkdir()
    private.mkdir()
    (modules / "stand_in_child.py").write_text(CHILD)
    monkeypatch.setattr(process, "CHILD", "stand_in_child")
    monkeypatch.setattr("tempfile.tempdir", str(private))
    return private


@pytest.fixture
def modules(tmp_path: Path) -> tuple[str, ...]:
    return (str(tmp_path / "modules"),)


def ask(running: IsolatedProcess, what: str) -> Frame:
    return running.ask(Frame({"do": what}), f"model.keras: {what}")


@pytest.fixture
def running(modules: tuple[str, ...]) -> Iterator[IsolatedProcess]:
    child = IsolatedProcess(Limits(timeout=20, memory_mb=200), importable=modules)
    yield child
    child.close()


def test_it_works_in_a_private_folder_that_is_removed(
    running: IsolatedProcess, folders: Path, tmp_path: Path
) -> None:
    (folder,) = folders.iterdir()
    answer = ask(running, "write").content
    assert Path(answer["cwd"]).samefile(folder)
    assert Path(answer["home"]).samefile(folder)
    assert (folder / "left").exists()
    running.close()
    assert not list(folders.iterdir())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("crash", r"model\.keras: crash: .*killed by SIGSEGV; it printed last:\nlast words"),
        ("grow", r"model\.keras: grow: it takes more than 200 MB of memory.*--memory-limit"),
        ("babble", r"model\.keras: babble: .*damaged answer"),
    ],
)
def test_what_ends_it_is_an_error_of_the_source(
    what: str, words: str, running: IsolatedProcess, folders: Path
) -> None:
    with pytest.raises(SourceError, match=words):
        ask(running, what)
    assert not running.is_running
    running.close()
    assert not list(folders.iterdir())


def test_it_is_ended_when_its_time_is_up(modules: tuple[str, ...]) -> None:
    child = IsolatedProcess(Limits(timeout=0.5), importable=modules)
    with pytest.raises(SourceError, match=r"hang: not finished after 0\.5 s.*--timeout"):
        ask(child, "hang")
    assert not child.is_running
    child.close()


def test_ctrl_c_ends_it(modules: tuple[str, ...], folders: Path) -> None:
    child = IsolatedProcess(Limits(timeout=20), importable=modules)
    ask(child, "answer")
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), 2))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(child, "hang")
    finally:
        timer.join()
        child.close()
    assert not child.is_running
    assert not list(folders.iterdir())


def test_a_process_whose_parent_died_ends_and_removes_its_folder(folders: Path) -> None:
    code = (
        "import os, tempfile\n"
        f"tempfile.tempdir = {str(folders)!r}\n"
        "from tflite_rnn.isolation.limits import Limits\n"
        "from tflite_rnn.isolation.process import IsolatedProcess\n"
        "child = IsolatedProcess(Limits())\n"
        "print(child._process.pid, flush=True)\n"
        "os._exit(1)\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    pid = int(parent.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (resident_mb(pid) or list(folders.iterdir())):
        time.sleep(0.05)
    assert not resident_mb(pid)
    assert not list(folders.iterdir())


def test_modules_in_the_current_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap, canary = tmp_path / "models", tmp_path / "canary"
    trap.mkdir()
    for name in ("queue", "numpy", "keras", "json", "sitecustomize", "usercustomize"):
        (trap / f"{name}.py").write_text(f"open({str(canary)!r}, 'w')\n")
    (trap / "shown.py").write_text("print('shown')\n")
    monkeypatch.chdir(trap)
    monkeypatch.setenv("PYTHONPATH", str(trap))
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(trap))
    command = isolated_command("tflite_rnn.runtime.runtimes")
    printed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    assert not canary.exists()
    command = isolated_command("shown", importable=[str(trap)])
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "shown\n"


def test_resident_memory_is_measured() -> None:
    assert 5 < resident_mb(os.getpid()) < 100_000
    assert resident_mb(2**22 + 1) == 0


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": float("nan")}, {"memory_mb": -1}])
def test_limits_that_allow_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Limits(**limits)  # type: ignore[arg-type]
