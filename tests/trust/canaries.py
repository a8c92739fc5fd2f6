"""Canaries: files that tell whether somebody opened, wrote or removed them, in whatever process."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_OPENED = 0x20
_NONBLOCKING = os.O_NONBLOCK

SECRET = b"the quick brown canary"


class Canary:
    """``written`` does not exist, ``secret`` does: a hostile file tries to make the one, or to read the other.

    Opening the secret is noticed in every process, by inotify, where there is that.
    """

    def __init__(self, folder: Path) -> None:
        self.written = folder / "written"
        self.secret = folder / "secret.txt"
        self.secret.write_bytes(SECRET + b"\n")
        self._watch = _Watch(self.secret) if sys.platform == "linux" else None

    def problems(self) -> list[str]:
        """Return what happened to the canary that must not have."""
        found = []
        if os.path.lexists(self.written):
            found.append(f"{self.written.name} was written")
        if not self.secret.exists():
            found.append(f"{self.secret.name} was removed")
        elif not self.secret.read_bytes().startswith(SECRET):
            found.append(f"{self.secret.name} was changed")
        return found

    def was_opened(self) -> bool:
        """Tell whether anybody opened the secret; call it before `problems`, which opens it."""
        return self._watch is not None and self._watch.saw_something()


class _Watch:
    """Notices that a file is opened."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(_NONBLOCKING)
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(path), _OPENED) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def saw_something(self) -> bool:
        try:
            return bool(os.read(self._handle, 4096))
        except BlockingIOError:
            return False

    def __del__(self) -> None:
        os.close(self._handle)
