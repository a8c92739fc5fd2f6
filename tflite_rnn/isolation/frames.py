"""What the two processes say to each other: JSON and raw bytes, never pickles.

The child may have read a hostile file, so the parent takes from it nothing that could run: a frame is a JSON
object and a list of byte strings, and an array is a byte string whose type and shape are in the JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np

from converter.ir import Array

_HEADER: Final = struct.Struct("<QQ")
_MOST_JSON: Final = 1 << 26
_MOST_PARTS: Final = 1 << 36
_KINDS: Final = "biufc"


class FrameError(Exception):
    """The other process sent something that is not a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One message: a JSON object, and byte strings beside it."""

    content: Mapping[str, Any]
    parts: Sequence[bytes] = field(default=())


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send one frame. OSError if the other end is gone."""
    sizes = [len(part) for part in frame.parts]
    text = json.dumps({"content": frame.content, "sizes": sizes}).encode()
    stream.write(_HEADER.pack(len(text), sum(sizes)))
    stream.write(text)
    for part in frame.parts:
        stream.write(part)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """Wait for one frame; None if the other end closed. Raises FrameError for anything that is not one."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, total = _HEADER.unpack(header)
    if length > _MOST_JSON or total > _MOST_PARTS:
        raise FrameError(f"a frame of {length} and {total} bytes")
    text, raw = stream.read(length), stream.read(total)
    if len(text) < length or len(raw) < total:
        return None
    try:
        parsed = json.loads(text)
        content, sizes = parsed["content"], [int(size) for size in parsed["sizes"]]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise FrameError(str(error)) from error
    if not isinstance(content, dict) or min(sizes, default=0) < 0 or sum(sizes) != total:
        raise FrameError("its parts do not fit its sizes")
    parts, start = [], 0
    for size in sizes:
        parts.append(raw[start : start + size])
        start += size
    return Frame(content, parts)


def frame_of_arrays(arrays: Mapping[str, Array], **content: Any) -> Frame:
    """Return a frame that carries arrays of numbers or truth values by name. FrameError for any other type."""
    described = []
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise FrameError(f"{name} is of {array.dtype}")
        described.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape)})
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    return Frame({**content, "arrays": described}, parts)


def arrays_of_frame(frame: Frame) -> dict[str, Array]:
    """Return the arrays that a frame carries. Raises FrameError if it does not describe them well."""
    try:
        described = frame.content["arrays"]
        return {
            str(entry["name"]): _array(part, np.dtype(entry["dtype"]), tuple(map(int, entry["shape"])))
            for entry, part in zip(described, frame.parts, strict=True)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(str(error)) from error


def _array(raw: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(raw):
        raise FrameError(f"an array of {dtype} and {shape} in {len(raw)} bytes")
    array: Array = np.frombuffer(raw, dtype).reshape(shape).copy()
    return array
