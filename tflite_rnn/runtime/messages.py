"""Messages between a client and its worker process: pickled, each after its length.

Both ends are processes of the same user, joined by private pipes, so pickle does not give either of them more
power than it has.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

from tflite_rnn.runtime.signature import Array

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Load:
    """Make an interpreter for a model; answered with its signatures."""

    model_id: int
    model: bytes
    delegate: bool
    threads: int


@dataclass(frozen=True, slots=True)
class Run:
    """Invoke once; answered with the outputs by name. The state of the model is kept."""

    model_id: int
    signature_key: str | None
    inputs: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Time:
    """Invoke once to warm up, then ``runs`` times; answered with the seconds of each of these."""

    model_id: int
    signature_key: str | None
    inputs: dict[str, Array]
    runs: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Set every variable tensor back to zero."""

    model_id: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Drop a model's interpreter."""

    model_id: int


Request: TypeAlias = Load | Run | Time | Reset | Unload


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out; ``value`` is its result."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The interpreter raised an error, worded in ``message``."""

    message: str


Reply: TypeAlias = Done | Failed


def write_message(stream: BinaryIO, message: Request | Reply) -> None:
    """Send one message. Raises OSError if the other end is closed."""
    payload = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(payload)))
    stream.write(payload)
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """Wait for one message and return it; None if the other end closed, even in the middle of a message."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    payload = stream.read(length)
    return pickle.loads(payload) if len(payload) == length else None
