"""What a ``.keras`` archive would put on the disk and into memory: its table of contents is read first."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from converter.errors import SourceError
from converter.importers.graph_check import TRUST
from converter.importers.hdf5_check import check_hdf5

MOST_ENTRIES: Final = 10_000
MOST_BYTES: Final = 1 << 35
"""What all entries together may inflate to, in bytes."""
MOST_TEXT: Final = 1 << 26
"""What config.json and metadata.json may inflate to, each."""
MOST_GROWTH: Final = 200
"""How many times its stored size an entry may grow; weights hardly shrink, text shrinks to a tenth."""
_SMALL: Final = 1 << 24
_TEXTS: Final = frozenset({"config.json", "metadata.json"})
_WEIGHTS: Final = "model.weights.h5"
_ASSETS: Final = "assets"
_ENCRYPTED: Final = 1
_DAMAGE = (EOFError, NotImplementedError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def check_archive(path: Path) -> None:
    """Raise SourceError if the archive at ``path`` holds what no Keras file does, or would grow too much.

    zipfile inflates no entry beyond the size that its table of contents says, so that it is enough to read that.
    The weights inside are checked as `check_hdf5` does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive.infolist(), path)
            if _WEIGHTS in archive.namelist():
                with archive.open(_WEIGHTS) as weights:
                    check_hdf5(weights, f"{path}: {_WEIGHTS}")
    except _DAMAGE as error:
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise SourceError(f"{path}: not a Keras model, or damaged: {words:.300}") from error


def _check_entries(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    if len(entries) > MOST_ENTRIES:
        raise SourceError(f"{path}: the archive has {len(entries):,} entries; {TRUST}")
    names = [entry.filename for entry in entries]
    if len(names) != len(set(names)):
        raise SourceError(f"{path}: damaged: two entries of the archive have one name")
    for entry in entries:
        _check_entry(entry, path)
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES:
        raise SourceError(f"{path}: the archive would grow to {total:,} bytes; {TRUST}")


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(entry.filename)
    is_known = entry.filename in _TEXTS or entry.filename == _WEIGHTS or name.parts[:1] == (_ASSETS,)
    if not is_known or ".." in name.parts or "\\" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
        raise SourceError(f"{path}: the archive holds {entry.filename!r:.200}, which no Keras file has; {TRUST}")
    if entry.flag_bits & _ENCRYPTED:
        raise SourceError(f"{path}: the archive is encrypted; save the model again")
    limit = max(_SMALL, MOST_GROWTH * entry.compress_size)
    if entry.file_size > (min(limit, MOST_TEXT) if entry.filename in _TEXTS else limit):
        raise SourceError(
            f"{path}: {entry.filename!r} would grow to {entry.file_size:,} bytes from {entry.compress_size:,}; "
            f"{TRUST}"
        )
