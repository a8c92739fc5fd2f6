"""Frames between the two processes: what arrives is what was sent, and whatever is no frame is refused."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest

from converter.ir import Array
from tflite_rnn.isolation.frames import (
    Frame,
    FrameError,
    arrays_of_frame,
    frame_of_arrays,
    read_frame,
    write_frame,
)


def sent(frame: Frame) -> Frame:
    stream = io.BytesIO()
    write_frame(stream, frame)
    stream.seek(0)
    received = read_frame(stream)
    assert received is not None
    return received


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asarray(3, np.int64),
        np.zeros((0, 4), bool),
        np.ones((2, 2), np.complex64).T,
        np.arange(4, dtype=">i2"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_arrive_as_they_were_sent(array: Array) -> None:
    received = arrays_of_frame(sent(frame_of_arrays({"x": array, "y": array}, do="run")))
    assert list(received) == ["x", "y"]
    for other in received.values():
        assert other.dtype == array.dtype
        np.testing.assert_array_equal(other, array)


def test_bytes_and_words_arrive_as_they_were_sent() -> None:
    received = sent(Frame({"name": "naïve\x1b[31m", "notes": []}, [b"", b"\x00model"]))
    assert received.content == {"name": "naïve\x1b[31m", "notes": []}
    assert list(received.parts) == [b"", b"\x00model"]


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([{}], object), np.zeros(1, [("a", "i4")])])
def test_arrays_of_anything_but_numbers_are_refused(array: Array) -> None:
    with pytest.raises(FrameError):
        frame_of_arrays({"x": array})


def test_the_end_of_the_stream_is_no_frame() -> None:
    stream = io.BytesIO()
    write_frame(stream, Frame({"a": 1}, [b"part"]))
    whole = stream.getvalue()
    for length in range(len(whole)):
        assert read_frame(io.BytesIO(whole[:length])) is None


def framed(text: bytes, rest: bytes = b"") -> io.BytesIO:
    return io.BytesIO(struct.pack("<QQ", len(text), len(rest)) + text + rest)


@pytest.mark.parametrize(
    "text",
    [
        b"no json",
        b"[]",
        b'{"content": {}}',
        b'{"content": [], "sizes": []}',
        b'{"content": {}, "sizes": [5]}',
        b'{"content": {}, "sizes": [-1, 1]}',
        b'{"content": {}, "sizes": ["x"]}',
        b"[" * 100_000,
    ],
)
def test_damaged_frames_are_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(framed(text))


def test_a_frame_that_says_it_is_enormous_is_refused_before_it_is_read() -> None:
    for header in ((1 << 40, 0), (2, 1 << 60)):
        with pytest.raises(FrameError, match="a frame of"):
            read_frame(io.BytesIO(struct.pack("<QQ", *header)))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("<f4", [3]), ("<f4", [-1]), ("O", [1]), ("<f4", ["x"]), ("nothing", [1]), ("<f4", None)]
)
def test_arrays_that_do_not_fit_their_description_are_refused(dtype: str, shape: object) -> None:
    described = json.loads(json.dumps([{"name": "x", "dtype": dtype, "shape": shape}]))
    with pytest.raises(FrameError):
        arrays_of_frame(Frame({"arrays": described}, [bytes(8)]))
