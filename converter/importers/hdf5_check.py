"""What an HDF5 file would read besides itself, and how much it would grow: its structure is walked first.

Links to other files, raw data in other files and virtual datasets would bring whatever they name into the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any, Final

from converter.errors import SourceError
from converter.importers.graph_check import TRUST

MOST_OBJECTS: Final = 200_000
MOST_BYTES: Final = 1 << 35
"""What all datasets together may hold, in bytes."""
MOST_GROWTH: Final = 1000
"""How many times its stored size a dataset may grow when it is read: what deflate can do at most, nearly."""
_SMALL: Final = 1 << 24
_FILTERS: Final = frozenset({1, 2, 3, 32000})
"""deflate, shuffle, fletcher32 and LZF; others are libraries that HDF5 searches for and loads."""
_DAMAGE = (
    AttributeError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


def check_hdf5(source: Path | IO[bytes], place: str) -> None:
    """Raise SourceError if an HDF5 file refers to anything outside of it, is damaged, or would grow too much.

    Args:
        source: the file, or where it is.
        place: what messages call it.
    """
    import h5py

    try:
        with h5py.File(source, "r") as file:
            _walk(file, place)
    except _DAMAGE as error:
        raise SourceError(f"{place}: not an HDF5 file, or damaged: {_first_line(error)}") from error


def _walk(file: Any, place: str) -> None:
    """Visit every object once; a group may hold itself."""
    import h5py

    pending = [(file.id, "")]
    seen: set[Any] = set()
    total = 0
    while pending:
        group, prefix = pending.pop()
        for key in _links(group):
            where = f"{prefix}/{key.decode('utf-8', 'backslashreplace')}"
            _check_link(group, key, f"{place}: {where}")
            found = h5py.h5o.open(group, key)
            info = h5py.h5o.get_info(found)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if len(seen) > MOST_OBJECTS:
                raise SourceError(f"{place}: it holds more than {MOST_OBJECTS} objects; {TRUST}")
            if isinstance(found, h5py.h5g.GroupID):
                pending.append((found, where))
            elif isinstance(found, h5py.h5d.DatasetID):
                total += _checked_size(found, f"{place}: {where}")
        if total > MOST_BYTES:
            raise SourceError(f"{place}: its datasets hold more than {MOST_BYTES >> 30} GB; {TRUST}")


def _links(group: Any) -> Iterator[bytes]:
    yield from group


def _check_link(group: Any, key: bytes, place: str) -> None:
    import h5py

    if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise SourceError(f"{place} is a link to another place or file, which Keras does not write; {TRUST}")


def _checked_size(dataset: Any, place: str) -> int:
    """Return how many bytes a dataset has when it is read. SourceError if they are not its own, or too many."""
    import h5py

    creation = dataset.get_create_plist()
    if creation.get_external_count():
        raise SourceError(f"{place} has its data in another file, {_external(creation)}; {TRUST}")
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        raise SourceError(f"{place} is a virtual dataset, made of parts of other files; {TRUST}")
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if not filters <= _FILTERS:
        raise SourceError(f"{place} is compressed by a filter that is not HDF5's own; {TRUST}")
    size: int = prod(dataset.shape or (), start=dataset.get_type().get_size())
    if size > max(_SMALL, MOST_GROWTH * dataset.get_storage_size()):
        raise SourceError(f"{place} would grow to {size:,} bytes from {dataset.get_storage_size():,}; {TRUST}")
    return size


def _first_line(error: BaseException) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0]:.300}"


def _external(creation: Any) -> str:
    name = creation.get_external(0)[0]
    return repr(name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name)
