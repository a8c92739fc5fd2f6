"""The child process: started in a private folder, asked one thing at a time, killed when it takes too much."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias, cast

from converter.errors import SourceError
from tflite_rnn.isolation.frames import Frame, FrameError, read_frame, write_frame
from tflite_rnn.isolation.limits import Limits, resident_mb
from tflite_rnn.runtime.python import isolated_command

CHILD: Final = "tflite_rnn.isolation.child"

_POLL: Final = 0.05
_TAIL: Final = 2000
_END: Final = 5.0

Reply: TypeAlias = Frame | Exception | None


class IsolatedProcess:
    """A process that reads models of others, with a private folder; both end with `close`.

    The folder is its current directory, its home and where its temporary files go. ``importable`` are places of
    modules that the user asked for.
    """

    def __init__(self, limits: Limits, *, importable: Sequence[str] = ()) -> None:
        self._limits = limits
        self._folder = Path(tempfile.mkdtemp(prefix="tflite-rnn-"))
        try:
            with (self._folder / "stderr").open("wb") as errors:
                self._process = subprocess.Popen(
                    isolated_command(CHILD, str(self._folder), importable=importable),
                    cwd=self._folder,
                    env={**os.environ, **self._environment()},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the child
                )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            **dict.fromkeys(("HOME", "KERAS_HOME", "TEMP", "TMP", "TMPDIR", "XDG_CACHE_HOME"), folder),
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    @property
    def is_running(self) -> bool:
        """Whether the process still answers."""
        return self._process.poll() is None

    def ask(self, request: Frame, doing: str) -> Frame:
        """Send a request and return the reply.

        Raises SourceError if the process ends over it, takes too long or takes too much memory: then it has been
        ended. ``doing`` are the words for what was asked, as in "reading model.keras".
        """
        replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        threading.Thread(target=self._exchange, args=(request, replies), daemon=True).start()
        try:
            reply = self._await(replies, doing)
        except BaseException:
            self.kill()
            raise
        if isinstance(reply, Frame):
            return reply
        self.kill()
        if reply is not None:
            raise SourceError(f"{doing}: the process that did it sent a damaged answer ({reply})")
        raise SourceError(f"{doing}: the process that did it {self._ending()}")

    def _exchange(self, request: Frame, replies: queue.SimpleQueue[Reply]) -> None:
        try:
            write_frame(cast("BinaryIO", self._process.stdin), request)
            replies.put(read_frame(cast("BinaryIO", self._process.stdout)))
        except (FrameError, MemoryError, OSError, ValueError) as error:
            replies.put(error if isinstance(error, FrameError) else None)

    def _await(self, replies: queue.SimpleQueue[Reply], doing: str) -> Reply:
        end = time.monotonic() + self._limits.timeout
        while True:
            with contextlib.suppress(queue.Empty):
                return replies.get(timeout=_POLL)
            if resident_mb(self._process.pid) > self._limits.memory_mb:
                raise SourceError(
                    f"{doing}: it takes more than {self._limits.memory_mb} MB of memory; if it should, allow more "
                    "with --memory-limit (memory_limit_mb)"
                )
            if time.monotonic() > end:
                raise SourceError(
                    f"{doing}: not finished after {self._limits.timeout:g} s; if it should take that long, allow "
                    "more with --timeout (timeout)"
                )

    def _ending(self) -> str:
        status = self._process.wait()
        words = (self._folder / "stderr").read_bytes()[-_TAIL:].decode(errors="replace").strip()
        return f"{_status(status)}" + (f"; it printed last:\n{words}" if words else "")

    def kill(self) -> None:
        """End the process at once, and whatever it started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the process and remove its folder."""
        try:
            with contextlib.suppress(OSError, ValueError):
                cast("BinaryIO", self._process.stdin).close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
            self.kill()
            cast("BinaryIO", self._process.stdout).close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def _status(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
