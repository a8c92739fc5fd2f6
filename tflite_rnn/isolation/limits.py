"""What a process that reads a model may take, and how much memory one takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from converter.errors import OptionError

DEFAULT_TIMEOUT: Final = 600.0
DEFAULT_MEMORY: Final = 4000

_PAGES_PER_MB: Final = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """``timeout`` in seconds for each thing that is asked of the process, ``memory_mb`` of resident memory.

    The memory is measured from outside, twenty times a second: TensorFlow reserves much more address space than it
    uses, so that the limits of the operating system do not fit it. Raises OptionError unless both are positive.
    """

    timeout: float = DEFAULT_TIMEOUT
    memory_mb: int = DEFAULT_MEMORY

    def __post_init__(self) -> None:
        # "not >" refuses what is not a number, too.
        if not self.timeout > 0:
            raise OptionError(f"timeout: expected more than 0 seconds, got {self.timeout!r}")
        if not self.memory_mb > 0:
            raise OptionError(f"memory limit: expected more than 0 MB, got {self.memory_mb!r}")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 where it cannot be measured, or the process has ended."""
    if sys.platform == "win32":
        return 0.0
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / _PAGES_PER_MB
    except (FileNotFoundError, ProcessLookupError):
        return _resident_by_ps(pid) if sys.platform == "darwin" else 0.0


def _resident_by_ps(pid: int) -> float:
    printed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(printed.stdout) / 1024 if printed.stdout.strip().isdigit() else 0.0
