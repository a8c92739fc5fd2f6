"""Reading and writing files: what may be read, and writing whole files or none at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from converter.errors import SourceError, TfliteRnnError


def check_readable(path: Path) -> None:
    """Raise SourceError unless there is a file or a directory at ``path``: reading a pipe might never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"{path}: no such file or directory") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot read the file: {_reason(error)}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SourceError(f"{path}: cannot read the file: this is {_kind(mode)}; give a file")


def check_writable(path: Path) -> None:
    """Raise TfliteRnnError if ``path`` cannot be written; call it before long work.

    A link is followed; what is already there must be a regular file.
    """
    with _writing(path):
        place = _followed(path)
        mode = _mode(place)
        has_folder = place.parent.is_dir()
    if mode is not None and not stat.S_ISREG(mode):
        raise TfliteRnnError(f"{path}: cannot write the file: this is {_kind(mode)}; name a file")
    if not has_folder:
        raise TfliteRnnError(
            f"{path}: cannot write the file: {place.parent} is not an existing directory; create it first"
        )
    if mode is not None and not os.access(place, os.W_OK):
        raise TfliteRnnError(f"{path}: cannot write the file: no permission to replace it")
    if not os.access(place.parent, os.W_OK):
        raise TfliteRnnError(f"{path}: cannot write the file: no permission to write in {place.parent}")


def is_same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, which need not exist yet."""
    try:
        return first.samefile(second)
    except (OSError, ValueError):
        return os.path.realpath(first) == os.path.realpath(second)


def is_part_of(path: Path, folder: Path) -> bool:
    """Whether a file that exists belongs to the model in ``folder``, a SavedModel, and must not be replaced.

    A ``.tflite`` or ``.json`` file right in the folder does not.
    """
    if not os.path.isdir(folder) or not os.path.exists(path):  # these never raise
        return False
    found, place = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if place not in found.parents:  # it may be a hard link to a file that is
        return any(is_same_file(found, one) for one in place.rglob("*") if one.is_file())
    return found.parent != place or found.suffix not in {".tflite", ".json"}


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; see `write_files`."""
    write_files({path: data})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write each path's bytes, all of them or none, so that no half-written file is ever seen.

    Each file is written under another name beside its place, and moved there when all are complete. Links are
    followed. Raises TfliteRnnError if a place cannot be written, or holds something other than a regular file.
    """
    with contextlib.ExitStack() as stack:
        written = [(path, stack.enter_context(_written_beside(path, data))) for path, data in contents.items()]
        for path, temporary in written:
            with _writing(path):
                temporary.replace(_followed(path))


@contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """Write ``data`` beside ``path``, and remove it at the end if it is still there."""
    check_writable(path)
    with _writing(path):
        handle, name = tempfile.mkstemp(prefix=".tflite-rnn-", dir=_followed(path).parent)
    temporary = Path(name)
    try:
        with _writing(path):
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            temporary.chmod(0o666 & ~_umask())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise TfliteRnnError for what goes wrong with ``path``."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise TfliteRnnError(f"{path}: cannot write the file: {_reason(error)}") from error


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _mode(place: Path) -> int | None:
    """Return the mode of what is at ``place``; None if nothing is there."""
    try:
        return place.stat().st_mode
    except FileNotFoundError:
        return None


def _reason(error: OSError | ValueError) -> str:
    return str((error.strerror if isinstance(error, OSError) else None) or error)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for is_kind, words in kinds if is_kind(mode)), "a device")


def _umask() -> int:
    # The process's umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
