"""What a file says of itself: written by the compiler, read without it, whatever the bytes are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import converter
from converter import metadata as written
from converter.chunks import ChunkContract, OutputRows
from converter.convert import compile_program
from converter.errors import SourceError
from converter.flatbuffer import build_model, read_model
from converter.options import STATE_POLICIES, ConvertOptions, StatePolicy
from converter.targets import Target
from tests.programs import lstm_cell, stack
from tflite_rnn.runtime import ModelMetadata, read_metadata
from tflite_rnn.runtime import metadata as read

ROOT = Path(converter.__file__).parent.parent
OPTIONS = ConvertOptions(state=StatePolicy.STREAMING, target=Target.TFLM)
SOURCE = stack([lstm_cell()], time=3, batch=1)
MODEL = compile_program(SOURCE, OPTIONS).model
ROWS = OutputRows(0, Fraction(1), Fraction(0), 1).to_dict()


def with_entry(content: bytes, name: str = read.NAME) -> bytes:
    return build_model(read_model(MODEL), metadata={"other": b"", name: content})


def test_what_the_compiler_writes_is_what_the_runtime_reads() -> None:
    converted = compile_program(SOURCE, OPTIONS)
    chunks = converted.report.chunks
    assert chunks is not None
    assert read_metadata(MODEL) == ModelMetadata(converter.__version__, "tflm", "streaming", chunks)
    assert list(chunks.outputs) == ["layer_0_outputs"]
    assert list(chunks.running) == ["layer_0_state_0", "layer_0_state_1"]
    assert compile_program(SOURCE, OPTIONS).model == MODEL


def test_writer_and_reader_agree_on_names() -> None:
    assert (written.NAME, written.FORMAT) == (read.NAME, read.FORMAT)
    assert read.STATE_POLICIES == STATE_POLICIES


def test_the_version_is_said_once() -> None:
    import tflite_rnn

    assert tflite_rnn.__version__ == converter.__version__
    assert 'version = {attr = "converter.__version__"}' in (ROOT / "pyproject.toml").read_text()


def test_a_file_without_the_entry_has_none() -> None:
    assert read_metadata(build_model(read_model(MODEL))) is None
    assert read_metadata(with_entry(b"{}", name="min_runtime_version")) is None


def test_keys_that_are_not_known_are_skipped() -> None:
    entry = {"format": 1, "compiler": "9", "target": "new", "state": "explicit", "delay": 3}
    assert read_metadata(with_entry(json.dumps(entry).encode())) == ModelMetadata("9", "new", "explicit")


def _entry(**changes: Any) -> bytes:
    return json.dumps({"format": 1, "compiler": "1", "target": "t", "state": "explicit", **changes}).encode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            _entry(format=2),
            "made by a newer version of tflite-rnn: expected metadata of format 1, got 2; upgrade tflite-rnn",
        ),
        (_entry(format="1"), "its metadata is damaged: format: expected 1, got '1'"),
        (_entry(state="kept"), "its metadata is damaged: state: expected one of stateless"),
        (_entry(target=None), "target: expected a string, got None"),
        (b"[1]", "expected an object, got list"),
        (b"", "its metadata is damaged"),
        (b"\xff{", "its metadata is damaged"),
        (b"[" * 60_000, "its metadata is damaged"),
        (b" " * 70_000, "expected an entry of at most .* bytes inside the file, got 70000"),
    ],
    ids=range(9),
)
def test_a_bad_entry_is_one_clear_error(content: bytes, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint) as caught:
        read_metadata(with_entry(content), source="file.tflite")
    assert str(caught.value).startswith("file.tflite: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_bytes_that_are_no_model_are_refused() -> None:
    for data in (b"", b"TFL3", np.random.default_rng(0).bytes(1000)):
        with pytest.raises(SourceError, match="not a TFLite model"):
            read_metadata(data)


def _is_survived(data: bytes) -> bool:
    """Whether the reader answers, or refuses in its own words; anything else that it raises passes through."""
    try:
        read_metadata(data)
    except SourceError:
        return False
    return True


def test_a_file_cut_off_anywhere_is_survived() -> None:
    assert not all(_is_survived(MODEL[:size]) for size in range(len(MODEL)))


@pytest.mark.parametrize("damage", [lambda rng: int(rng.integers(256)), lambda _: 255, lambda _: 0])
def test_damaged_bytes_are_survived(damage: Callable[[np.random.Generator], int]) -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(3000):
        data = bytearray(MODEL)
        for place in rng.integers(0, len(data), rng.integers(1, 12)):
            data[place] = damage(rng)
        outcomes.add(_is_survived(bytes(data)))
    assert outcomes == {True, False}


def test_damaged_offsets_are_survived() -> None:
    """Every word of the file, as an offset that leads far ahead, back, or nowhere."""
    for place in range(0, len(MODEL) - 3, 4):
        for word in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x04\x00\x00\x00"):
            _is_survived(MODEL[:place] + word + MODEL[place + 4 :])


def test_reading_needs_neither_numpy_nor_the_compiler() -> None:
    code = f"""
import importlib.util, sys, types
for name in ("tflite_rnn", "tflite_rnn.runtime"):
    package = types.ModuleType(name)
    package.__path__ = [{str(ROOT)!r} + "/" + name.replace(".", "/")]  # without what the package itself imports
    sys.modules[name] = package
from tflite_rnn.runtime.metadata import read_metadata
print(read_metadata(bytes.fromhex({MODEL.hex()!r})).state)
print([name for name in ("numpy", "flatbuffers", "ai_edge_litert", "converter.ir") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "streaming\n[]\n", done.stderr


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"multiple": 0}, "positive numbers of steps"),
        ({"lengths": 0}, "positive numbers of steps"),
        ({"tail": None}, "tail: expected an integer"),
        ({"multiple": True}, "multiple: expected an integer"),
        ({"multiple": 1 << 40}, "multiple: expected an integer"),
        ({"inputs": {}}, "expected inputs"),
        ({"inputs": ["x"]}, "inputs: expected an object"),
        ({"outputs": {"y": {"axis": 0}}}, "stride: expected an integer"),
        ({"outputs": {"y": {**ROWS, "stride": 0}}}, "stride: expected whole rows and blocks, got 0"),
        ({"outputs": {"y": {**ROWS, "stride": [1, 2]}}}, "stride: expected whole rows and blocks, got 1/2"),
        ({"outputs": {"y": {**ROWS, "stride": [1, 0]}}}, "stride: expected a positive denominator, got 0"),
        ({"outputs": {"y": {**ROWS, "stride": [1]}}}, "stride: expected an integer, or a numerator"),
        ({"outputs": {"y": {**ROWS, "delay": [1, 2]}}}, "stride: expected whole rows and blocks, got 1"),
        ({"outputs": {"y": {**ROWS, "delay": -1}}}, "stride: expected whole rows and blocks, got 1"),
        ({"outputs": {"y": {**ROWS, "short": 1}}}, "block: expected a positive number of rows, more than 1"),
        ({"running": {"h": "1"}}, "h: expected an integer"),
        ({"flush": "reset"}, "flush: expected 'flush' or 'remaining'"),
    ],
)
def test_a_damaged_contract_is_refused(changed: dict[str, object], complaint: str) -> None:
    contract = ChunkContract(1, {"x": 0}, {}, {}).to_dict()
    chunks = {**contract, **changed}
    entry = {"format": 1, "compiler": "9", "target": "litert", "state": "streaming", "chunks": chunks}
    with pytest.raises(SourceError, match=complaint):
        read_metadata(with_entry(json.dumps(entry).encode()))
