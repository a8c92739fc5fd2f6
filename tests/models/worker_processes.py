"""Processes that work together: started at once, ended together, and never left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
_POLL = 0.1
_TAIL = 4000
# No greeting from TensorFlow, and no GPU that only one of the processes could have.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True, slots=True)
class Command:
    """Arguments for this Python interpreter, and variables added to its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def cluster(size: int, *arguments: str) -> list[Command]:
    """Return a command for each worker of a TensorFlow cluster on this machine, each with its TF_CONFIG."""
    workers = [f"127.0.0.1:{port}" for port in _free_ports(size)]
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(size)]
    return [Command(arguments, {"TF_CONFIG": json.dumps(task)}) for task in tasks]


def run_together(commands: Sequence[Command], *, limit: float) -> None:
    """Run the commands at the same time until all have ended well.

    As soon as one has failed, or after ``limit`` seconds, those that still run are killed: a worker without its
    peers waits forever.

    Raises:
        AssertionError: one has failed or did not end in time; the message has what each of them printed.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in commands]
        processes: list[subprocess.Popen[bytes]] = []
        # Registered before the first start: it ends those that did start if another one does not.
        stack.callback(_end, processes)
        for command, log in zip(commands, logs, strict=True):
            processes.append(_start(command, log))
        problem = _wait(processes, limit)
        if problem is not None:
            _end(processes)
            printed = [f"--- process {index} printed:\n{_tail(log)}" for index, log in enumerate(logs)]
            raise AssertionError("\n".join([problem, *printed]))


def _start(command: Command, log: IO[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *command.arguments],
        cwd=ROOT,
        env={**os.environ, **_ENVIRONMENT, **command.environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def _wait(processes: Sequence[subprocess.Popen[bytes]], limit: float) -> str | None:
    """Wait until all have ended well, which is None, or one has not; then say which."""
    deadline = time.monotonic() + limit
    while True:
        statuses = [process.poll() for process in processes]
        failed = [index for index, status in enumerate(statuses) if status]
        if failed:
            return f"process {failed[0]} of {len(processes)} ended with status {statuses[failed[0]]}"
        if None not in statuses:
            return None
        if time.monotonic() > deadline:
            running = [index for index, status in enumerate(statuses) if status is None]
            return f"processes {running} of {len(processes)} did not end within {limit:g} s"
        time.sleep(_POLL)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-_TAIL:]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        # All are held until all are known: so they differ.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
