"""Streams in the process of whoever uses them: one installed interpreter, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from converter.chunks import ChunkContract
from converter.convert import compile_program
from converter.errors import OptionError, SourceError
from converter.flatbuffer import build_model, read_model
from converter.ir import Array, evaluate
from converter.options import ConvertOptions, StatePolicy
from tests.programs import gru_cell, lstm_cell, random_inputs, rnn_cell, stack
from tests.runtimes import skip_if_missing
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    INTERPRETERS,
    ModelMetadata,
    Runtime,
    RuntimeFailure,
    Signature,
    Stream,
    StreamError,
    TensorSpec,
)
from tflite_rnn.runtime import local as local_module

SOURCE = stack([lstm_cell(), rnn_cell(depth=4), gru_cell(depth=4)], time=2, batch=1)
TIME = 8

FEED = """
import json, sys
import numpy as np
from tflite_rnn.runtime import Stream
packages = ("ai_edge_litert", "tflite_runtime", "tensorflow", "tflite_micro", "converter.ir")
before = [name for name in packages if name in sys.modules]
path, chunks, options = sys.argv[1], np.load(sys.argv[2]), json.loads(sys.argv[3])
with Stream.open(path, **options) as stream:
    twice = []
    for _ in range(2):
        twice.append(np.concatenate([stream.feed({"x": chunk})["layer_2_outputs"] for chunk in chunks]))
        stream.reset()
np.savez(sys.argv[4], once=twice[0], again=twice[1])
print(json.dumps([before, [name for name in packages if name in sys.modules]]))
"""

RUNS = {
    "the first that is installed": ({}, ["ai_edge_litert"]),
    "tflite-runtime": ({"runtime": "tflite-runtime"}, ["tflite_runtime"]),
    "ai-edge-litert": ({"runtime": "ai-edge-litert", "threads": 2}, ["ai_edge_litert"]),
    "litert-compiled": ({"runtime": "litert-compiled"}, ["ai_edge_litert"]),
    "tflm": ({"runtime": "tflm"}, ["tflite_micro"]),
}


@pytest.mark.runtime
@pytest.mark.parametrize("state", [StatePolicy.STREAMING, StatePolicy.EXPLICIT])
@pytest.mark.parametrize("what", RUNS)
def test_chunks_give_what_the_whole_sequence_gives_in_this_process(
    what: str, state: StatePolicy, tmp_path: Path
) -> None:
    options, packages = RUNS[what]
    skip_if_missing(options.get("runtime", AI_EDGE_LITERT))
    target = {"tflm": "tflm", "litert-compiled": "litert-compiled"}.get(what, "litert")
    made = compile_program(SOURCE, ConvertOptions.parse(state=state.value, target=target))
    model, chunks, out = made.save(tmp_path / "model.tflite"), tmp_path / "chunks.npy", tmp_path / "out.npz"
    whole = random_inputs(np.random.default_rng(0), SOURCE, time=TIME, batch=1)
    np.save(chunks, whole["x"].reshape(TIME // 2, 2, 1, -1))
    command = [sys.executable, "-c", FEED, str(model), str(chunks), json.dumps(options), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[], packages]
    expected = evaluate(stack([lstm_cell(), rnn_cell(depth=4), gru_cell(depth=4)]), whole)["layer_2_outputs"]
    with np.load(out) as found:
        np.testing.assert_allclose(found["once"], expected, atol=1e-5)
        np.testing.assert_array_equal(found["again"], found["once"])


@pytest.mark.runtime
def test_what_an_interpreter_refuses_is_a_runtime_failure(tmp_path: Path) -> None:
    code = """
import sys
from tflite_rnn.runtime import RuntimeFailure
from tflite_rnn.runtime.local import load_local
try:
    load_local(open(sys.argv[1], "rb").read()).run({"y": 0})
except RuntimeFailure as error:
    print(error)
"""
    made = compile_program(SOURCE, ConvertOptions(state=StatePolicy.STREAMING)).save(tmp_path / "model.tflite")
    command = [sys.executable, "-c", code, str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("ai-edge-litert: failed while running a model with y []: ValueError: "), (
        done.stderr
    )


# --- without any interpreter -------------------------------------------------------------------------------------


def test_without_an_interpreter_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "is_installed", lambda _: False)
    model = compile_program(SOURCE, ConvertOptions(state=StatePolicy.STREAMING)).model
    with pytest.raises(RuntimeFailure, match="no interpreter is installed: pip install ai-edge-litert"):
        Stream.open(model)
    with pytest.raises(RuntimeFailure, match="tflite-runtime is not installed; installed: none"):
        Stream.open(model, runtime="tflite-runtime")


def test_an_interpreter_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(OptionError, match=f"unknown interpreter 'onnx'; choose from {INTERPRETERS[0]}, "):
        Stream.open(compile_program(SOURCE).model, runtime="onnx")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.tflite: cannot read the file: No such file"):
        Stream.open(tmp_path / "none.tflite")
    with pytest.raises(SourceError, match="the model: not a TFLite model"):
        Stream.open(b"nothing of the kind")


class Counter:
    """A loaded model that adds up what it is fed, in a state that its caller feeds back."""

    def __init__(self, *, returns_state: bool = True, keeps_state: bool = False) -> None:
        spec = TensorSpec("x", np.dtype(np.float32), (None,))
        total = TensorSpec("total", np.dtype(np.float32), (None, 2))
        states = (total,) if returns_state else ()
        self.signature = Signature(None, (spec, *states), (TensorSpec("y", spec.dtype, ()), *states))
        self.keeps_state = keeps_state
        self.rewound = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        total = inputs["total"] + inputs["x"].sum()
        return {"y": total.max(), "total": total}

    def rewind(self) -> None:
        self.rewound += 1


def test_states_are_fed_back_until_a_reset() -> None:
    stream = Stream(Counter(), batch=3, initial_state={"total": np.full((3, 2), 10.0, np.float32)})
    assert [float(stream.feed({"x": np.ones(4, np.float32)})["y"]) for _ in range(2)] == [14.0, 18.0]
    stream.reset()
    assert float(stream.feed({"x": np.ones(1, np.float32)})["y"]) == 11.0


def test_a_stream_resets_the_model_when_it_is_made() -> None:
    counter = Counter(returns_state=False, keeps_state=True)
    Stream(counter).reset()
    assert counter.rewound == 2


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        (
            None,
            "starts every invoke from its initial state.*convert it with state='streaming' or state='explicit'",
        ),
        (ModelMetadata("1", "litert", "stateless"), "starts every invoke from its initial state"),
        (ModelMetadata("1", "litert", "streaming"), "converted with state='streaming', but it has no state"),
    ],
)
def test_a_model_without_state_cannot_stream(metadata: ModelMetadata | None, complaint: str) -> None:
    with pytest.raises(StreamError, match=complaint):
        Stream(Counter(returns_state=False), metadata=metadata)


def test_misuse_is_named() -> None:
    with pytest.raises(StreamError, match="unknown state h; the states are total"):
        Stream(Counter(), initial_state={"h": np.zeros((1, 2))})
    with (
        Stream(Counter()) as stream,
        pytest.raises(StreamError, match="cannot feed the states total"),
    ):
        stream.feed({"x": np.ones(1), "total": np.ones((1, 2))})
    for use in (stream.reset, lambda: stream.feed({"x": np.ones(1)})):
        with pytest.raises(StreamError, match="the stream is closed; open a new one"):
            use()


def test_files_without_metadata_stream_by_what_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []

    def load(model: bytes, runtime: Runtime | None, *, threads: int) -> Counter:
        opened.append(model)
        return Counter()

    monkeypatch.setattr("tflite_rnn.runtime.stream.load_local", load)
    plain = build_model(read_model(compile_program(SOURCE, ConvertOptions(state=StatePolicy.EXPLICIT)).model))
    Stream.open(plain)
    assert opened == [plain]


class Adder(Counter):
    """A loaded model of one time series, which keeps its state, and notes how many steps each invoke has."""

    def __init__(self) -> None:
        super().__init__(returns_state=False, keeps_state=True)
        spec = TensorSpec("x", np.dtype(np.float32), (None, 1))
        self.signature = Signature(None, (spec,), (TensorSpec("y", spec.dtype, spec.shape),))
        self.steps: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.steps.append(len(inputs["x"]))
        return {"y": inputs["x"]}


def test_a_longer_chunk_makes_room_before_the_first() -> None:
    adder, contract = Adder(), ChunkContract(2, {"x": 0}, {}, {})
    stream = Stream(adder, metadata=ModelMetadata("1", "litert", "streaming", chunks=contract))
    for _ in range(2):
        stream.feed({"x": np.ones((5, 1), np.float32)})
        stream.reset()
    assert adder.steps == [4, 2, 2, 2, 2]
    assert adder.rewound == 4  # when the stream is made, after the longer chunk, and twice by its user
