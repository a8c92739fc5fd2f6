"""Read the metadata of a ``.tflite`` of this tool from its bytes, without interpreter, schema or NumPy.

The file may come from anywhere: every offset is checked before it is followed, and sizes are bounded.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from converter.chunks import ChunkContract
from converter.errors import SourceError

NAME: Final = "tflite_rnn"
"""The name of the entry in the file's metadata."""

FORMAT: Final = 1
"""The newest format of the entry that this reader knows."""

STATE_POLICIES: Final = ("stateless", "explicit", "streaming")

_IDENTIFIER: Final = b"TFL3"
_MOST_ENTRIES: Final = 1 << 10
_MOST_BYTES: Final = 1 << 16

# Fields of the schema's tables, by their numbers.
_MODEL_BUFFERS: Final = 4
_MODEL_METADATA: Final = 6
_METADATA_NAME: Final = 0
_METADATA_BUFFER: Final = 1
_BUFFER_DATA: Final = 0


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """How a file was made: by which version of the compiler, for which target, with which state policy.

    ``state`` is ``"stateless"``, ``"explicit"`` or ``"streaming"``, see `tflite_rnn.convert`. ``chunks`` is what a
    model promises that runs on chunks, None for others. ``mask_padding`` is ``"right"`` if masked steps must be
    behind all others of a row. ``max_steps`` are the most steps of loops by their names, as the user gave them.
    """

    compiler: str
    target: str
    state: str
    chunks: ChunkContract | None = None
    mask_padding: str | None = None
    max_steps: Mapping[str, int] = field(default_factory=dict)


def read_metadata(model: bytes, *, source: str = "the model") -> ModelMetadata | None:
    """Return what a ``.tflite`` says of itself; None if this tool did not make it.

    Raises SourceError, naming ``source``, if the bytes are not a ``.tflite`` or are damaged, or if the entry has a
    newer format than this version knows.
    """
    if model[4:8] != _IDENTIFIER:
        raise SourceError(f"{source}: not a TFLite model")
    try:
        entry = _Table.root(model).entry()
        return None if entry is None else _parsed(entry, source)
    except (ValueError, RecursionError, struct.error) as error:
        raise SourceError(f"{source}: its metadata is damaged: {error}") from error


def _parsed(entry: bytes, source: str) -> ModelMetadata:
    read = json.loads(entry.decode("utf-8"))
    if not isinstance(read, dict):
        raise ValueError(f"expected an object, got {type(read).__name__}")
    version = read.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise SourceError(
            f"{source}: made by a newer version of tflite-rnn: expected metadata of format {FORMAT}, "
            f"got {version}; upgrade tflite-rnn"
        )
    if version != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {version!r:.40}")
    compiler, target, state = (_word(read, key) for key in ("compiler", "target", "state"))
    chunks = None if read.get("chunks") is None else ChunkContract.from_dict(read["chunks"])
    padding = read.get("mask_padding")
    if padding not in {None, "right"}:
        raise ValueError(f"mask_padding: expected 'right', got {padding!r:.40}")
    found = ModelMetadata(compiler, target, state, chunks, padding, _steps(read.get("max_steps", {})))
    if found.state not in STATE_POLICIES:
        raise ValueError(f"state: expected one of {', '.join(STATE_POLICIES)}, got {found.state!r:.40}")
    return found


def _steps(read: object) -> dict[str, int]:
    if not isinstance(read, dict) or not all(type(number) is int and number > 0 for number in read.values()):
        raise ValueError(f"max_steps: expected numbers of steps by loops, got {read!r:.40}")
    return read


def _word(read: dict[str, Any], key: str) -> str:
    word = read.get(key)
    if not isinstance(word, str):
        raise ValueError(f"{key}: expected a string, got {word!r:.40}")
    return word


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a flatbuffer; every offset is checked to lie in the file."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unsigned(data, 0))

    def entry(self) -> bytes | None:
        """Return the content of this tool's entry in the metadata of a model; None if there is none."""
        entries, buffers = self.tables(_MODEL_METADATA), self.tables(_MODEL_BUFFERS)
        if len(entries) > _MOST_ENTRIES:
            raise ValueError(f"expected at most {_MOST_ENTRIES} entries, got {len(entries)}")
        for number in range(len(entries)):
            entry = entries.table(number)
            if entry.content(_METADATA_NAME) == NAME.encode():
                return buffers.table(entry.number(_METADATA_BUFFER)).content(_BUFFER_DATA)
        return None

    def tables(self, field: int) -> _Tables:
        """Return the vector of tables in ``field``, which is empty if it is absent."""
        place = self._field(field)
        return _Tables(self.data, 0, 0) if place is None else _Tables.at(self.data, _followed(self.data, place))

    def number(self, field: int) -> int:
        """Return the unsigned number in ``field``, 0 if it is absent."""
        place = self._field(field)
        return 0 if place is None else _unsigned(self.data, place)

    def content(self, field: int) -> bytes:
        """Return the bytes of the string or vector of bytes in ``field``; none if it is absent."""
        place = self._field(field)
        if place is None:
            return b""
        start = _followed(self.data, place)
        size = _unsigned(self.data, start)
        if size > min(_MOST_BYTES, len(self.data) - start - 4):
            raise ValueError(f"expected an entry of at most {_MOST_BYTES} bytes inside the file, got {size}")
        return self.data[start + 4 : start + 4 + size]

    def _field(self, field: int) -> int | None:
        (distance,) = struct.unpack_from("<i", self.data, _inside(self.data, self.place, 4))
        layout = _inside(self.data, self.place - distance, 4)
        (size,) = struct.unpack_from("<H", self.data, layout)
        slot = 4 + 2 * field
        if slot + 2 > size:
            return None
        (offset,) = struct.unpack_from("<H", self.data, _inside(self.data, layout + slot, 2))
        return self.place + offset if offset else None


@dataclass(frozen=True, slots=True)
class _Tables:
    """A vector of tables: where its first offset is, and how many there are."""

    data: bytes
    start: int
    size: int

    @classmethod
    def at(cls, data: bytes, place: int) -> _Tables:
        size = _unsigned(data, place)
        _inside(data, place + 4, 4 * size)
        return cls(data, place + 4, size)

    def __len__(self) -> int:
        return self.size

    def table(self, number: int) -> _Table:
        if number >= self.size:
            raise ValueError(f"expected an entry number below {self.size}, got {number}")
        return _Table(self.data, _followed(self.data, self.start + 4 * number))


def _followed(data: bytes, place: int) -> int:
    """Return where the offset at ``place`` leads."""
    return place + _unsigned(data, place)


def _unsigned(data: bytes, place: int) -> int:
    (number,) = struct.unpack_from("<I", data, _inside(data, place, 4))
    return int(number)


def _inside(data: bytes, place: int, size: int) -> int:
    """Return ``place`` if ``size`` bytes of the file are there."""
    if place < 0 or place + size > len(data):
        raise ValueError(f"expected an offset below {len(data)}, got {place}")
    return place
