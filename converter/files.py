"""Writing files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from converter.errors import TfliteRnnError


def check_writable(path: Path) -> None:
    """Raise TfliteRnnError if ``path`` cannot become a file: asked before long work, not after it."""
    if path.is_dir():
        raise TfliteRnnError(f"{path}: cannot write the file: this is a directory; add a file name")
    if not path.parent.is_dir():
        raise TfliteRnnError(
            f"{path}: cannot write the file: {path.parent} is not an existing directory; create it first"
        )
    if not os.access(path.parent, os.W_OK):
        raise TfliteRnnError(
            f"{path}: cannot write the file: no permission to write in {path.parent}; choose another directory"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` through a temporary file beside it, so that no half-written file is ever seen.

    Raises TfliteRnnError if the place cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise TfliteRnnError(f"{path}: cannot write the file: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise TfliteRnnError(f"{path}: cannot write the file: {error.strerror or error}") from error


def _umask() -> int:
    # The process's umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
