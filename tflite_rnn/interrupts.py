"""Ctrl-C while packages are imported: it ends the process at once. This module imports almost nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""The exit status of an interrupted command: what shells report of one that SIGINT ended."""

_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interrupts_end_the_process() -> Iterator[None]:
    """Let Ctrl-C end the process with status 130 while the block runs: an import cannot be undone half-way.

    A caller that handles or ignores interrupts itself keeps its own way.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: object) -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), _SHOW_CURSOR + b"\n")
    os._exit(INTERRUPTED)
