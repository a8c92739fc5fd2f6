"""Unpickle data from others without running their code: plain containers of plain values, nothing else.

A pickle becomes code by naming something importable and having it called. An unpickler that resolves no name at
all can therefore only make None, bool, int, float, str, bytes, list, tuple, dict and set.
"""

from __future__ import annotations

import io
import pickle
from typing import NoReturn

from converter.errors import SourceError

# What CPython's unpickler raises on bytes that are no pickle (UnicodeDecodeError is a ValueError).
_DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


class UnsafePickleError(SourceError):
    """A pickle asks for more than plain containers: reading it could run code."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise UnsafePickleError(
            f"the pickle names {module}.{name}; only plain containers are read, nothing was called"
        )

    def persistent_load(self, pid: object) -> NoReturn:
        raise UnsafePickleError(f"the pickle refers to an outside object {pid!r}; only plain containers are read")


def loads(data: bytes) -> object:
    """Return what ``data`` pickles.

    Raises:
        UnsafePickleError: it needs anything but plain containers of plain values.
        SourceError: it is damaged, or no pickle.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except _DAMAGED as error:
        raise SourceError(f"not a readable pickle: {error}") from error
