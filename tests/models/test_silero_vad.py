"""The trained speech detector, chunk by chunk on every runtime, against onnxruntime with the package's ONNX."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import tflite_rnn as rnn
from models import silero_vad, speech
from models.archives import DownloadError, fetch, read_member
from tests.runtimes import INSTALLED
from tflite_rnn.runtime import AI_EDGE_LITERT, COMPILED_MODEL, MICRO, RUNTIMES, Runtime, Stream, WorkerPool

pytestmark = pytest.mark.download

Array: TypeAlias = NDArray[np.float32]

ONNX = "silero_vad/data/silero_vad_16k_sequence.onnx"
SEED = 0
TOLERANCE = 1e-4
SECONDS = 30
# Each runtime with the target that models are made for to run on it.
PLACES = [
    *((runtime, "litert") for runtime in RUNTIMES),
    (Runtime(COMPILED_MODEL), "litert-compiled"),
    (Runtime(MICRO), "tflm"),
]
everywhere = pytest.mark.parametrize(("runtime", "target"), PLACES, ids=str)


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The wheel's path. Without an index its tests skip, except in CI, where they have to run."""
    try:
        return fetch(silero_vad.WHEEL)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs {silero_vad.WHEEL.name}: {error}")


class Reference:
    """The package's ONNX file under onnxruntime: as it is, or with other weights in the place of its own."""

    def __init__(self, model: bytes, weights: Mapping[str, Array]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # onnxruntime does not copy what it is given here.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        for name, value in zip(weights, self._weights, strict=True):
            options.add_initializer(name, value)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def step(self, chunk: Array, c: Array, h: Array) -> tuple[Array, Array, Array]:
        """Return probability [1], c and h [1, 128] after a chunk [1, 576]."""
        given = {"input": chunk, "c": c[np.newaxis], "h": h[np.newaxis]}
        probability, c, h = self._session.run(["speech_probs", "cn", "hn"], given)
        return probability, c[0], h[0]

    def listen(self, chunks: Array) -> Array:
        c = h = np.zeros((1, 128), np.float32)
        heard = []
        for chunk in chunks:
            probability, c, h = self.step(chunk[np.newaxis], c, h)
            heard.append(probability)
        return np.concatenate(heard)


def onnx_weights(safetensors: bytes) -> dict[str, Array]:
    """The safetensors file's arrays as the ONNX file names and shapes them; ONNX's gates are i, o, f, c."""
    from safetensors.numpy import load

    arrays = load(safetensors)

    def gates(name: str) -> Array:
        i, f, g, o = arrays[f"lstm_cell.{name}"].reshape(4, 128, -1)
        return np.concatenate([i, o, f, g])

    convolutions = {
        f"encoder.{place}.{kind}": arrays[f"conv{place + 1}.{kind}"]
        for place in range(4)
        for kind in ("weight", "bias")
    }
    return {
        **convolutions,
        "stft.forward_basis_buffer": arrays["stft_conv.weight"],
        "onnx::LSTM_209": gates("weight_ih")[np.newaxis],
        "onnx::LSTM_210": gates("weight_hh")[np.newaxis],
        "onnx::LSTM_211": np.concatenate([gates("bias_ih"), gates("bias_hh")]).reshape(1, 1024),
        "output.weight": arrays["final_conv.weight"],
        "output.bias": arrays["final_conv.bias"],
    }


@dataclass(frozen=True)
class Trained:
    """One of the two trainings, and what onnxruntime makes of it: the probability in each chunk."""

    pretrained: silero_vad.Pretrained
    reference: Reference
    probabilities: Array


@pytest.fixture(scope="module")
def chunks() -> Array:
    return silero_vad.chunks_of(speech.recording(np.random.default_rng(SEED), SECONDS, silero_vad.RATE))


@pytest.fixture(scope="module")
def trained(wheel: Path, chunks: Array) -> dict[str, Trained]:
    model = read_member(wheel, ONNX)
    plain = Reference(model, {})
    other = Reference(model, onnx_weights(read_member(wheel, silero_vad.SAFETENSORS)))
    return {
        "released": Trained(silero_vad.load_released(), plain, plain.listen(chunks)),
        "safetensors": Trained(silero_vad.load(), other, other.listen(chunks)),
    }


class Conversions:
    """Conversions of one network with one chunk an invoke, each made once."""

    def __init__(self, trained: Mapping[str, Trained]) -> None:
        self._functions = {name: silero_vad.build(each.pretrained) for name, each in trained.items()}
        self._made: dict[tuple[str, str, str], Any] = {}

    def get(self, weights: str, state: str, target: str = "litert") -> Any:
        key = (weights, state, target)
        if key not in self._made:
            self._made[key] = rnn.convert(self._functions[weights], state=state, target=target)
        return self._made[key]


@pytest.fixture(scope="module")
def conversions(trained: dict[str, Trained]) -> Conversions:
    return Conversions(trained)


def pieces(chunks: Array, sizes: Sequence[int]) -> Iterator[Array]:
    yield from np.split(chunks, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("weights", ["safetensors", "released"])
def test_the_sound_is_speech_in_places_and_not_in_others(weights: str, trained: dict[str, Trained]) -> None:
    probabilities = trained[weights].probabilities
    assert probabilities.shape == (938,)
    assert (probabilities < 0.1).sum() > 100
    assert (probabilities > 0.9).sum() > 100
    assert ((probabilities > 0.1) & (probabilities < 0.9)).sum() > 100


def test_the_two_trainings_are_not_the_same(trained: dict[str, Trained]) -> None:
    apart = np.abs(trained["safetensors"].probabilities - trained["released"].probabilities)
    assert apart.max() > 0.5


@pytest.mark.parametrize("state", ["explicit", "streaming"])
def test_the_recurrence_is_fused_and_nothing_loops(state: str, conversions: Conversions) -> None:
    counts = conversions.get("safetensors", state).report.op_counts
    assert {op: counts[op] for op in silero_vad.FUSED_OPS} == silero_vad.FUSED_OPS
    assert not silero_vad.FORBIDDEN_OPS & set(counts)


def test_the_state_is_an_input_and_an_output(conversions: Conversions, pool: WorkerPool) -> None:
    with pool.open(INSTALLED[0], conversions.get("safetensors", "explicit").model) as running:
        inputs = {spec.name: spec.shape for spec in running.signature.inputs}
        outputs = {spec.name: spec.shape for spec in running.signature.outputs}
    states = {"state_0_c": (1, 128), "state_0_h": (1, 128)}
    assert inputs == {"chunks": (1, 576), **states}
    assert outputs == {"probability": (1,), **states}


@pytest.mark.parametrize(
    ("weights", "seconds"),
    [
        ("released", SECONDS),
        ("safetensors", 5),
        pytest.param("safetensors", SECONDS, marks=pytest.mark.exhaustive),
    ],
)
@everywhere
def test_what_onnxruntime_hears_is_heard_chunk_by_chunk(
    runtime: Runtime,
    target: str,
    weights: str,
    seconds: int,
    trained: dict[str, Trained],
    conversions: Conversions,
    chunks: Array,
    pool: WorkerPool,
) -> None:
    count = len(silero_vad.chunks_of(np.zeros(seconds * silero_vad.RATE, np.float32)))
    with pool.open(runtime, conversions.get(weights, "explicit", target).model) as running:
        heard = silero_vad.listen(Stream(running), chunks[:count])
    np.testing.assert_allclose(heard, trained[weights].probabilities[:count], rtol=0, atol=TOLERANCE)


@everywhere
def test_a_model_that_keeps_its_state_hears_the_same_and_begins_anew_after_a_reset(
    runtime: Runtime,
    target: str,
    trained: dict[str, Trained],
    conversions: Conversions,
    chunks: Array,
    pool: WorkerPool,
) -> None:
    expected = trained["safetensors"].probabilities
    with pool.open(runtime, conversions.get("safetensors", "streaming", target).model) as running:
        stream = Stream(running)
        for count in (20, 150):
            stream.reset()
            heard = silero_vad.listen(stream, chunks[:count])
            np.testing.assert_allclose(heard, expected[:count], rtol=0, atol=TOLERANCE)


def test_the_state_after_a_chunk_is_onnxruntimes_from_any_state(
    trained: dict[str, Trained], conversions: Conversions, chunks: Array, pool: WorkerPool
) -> None:
    rng = np.random.default_rng(SEED)
    with pool.open(Runtime(AI_EDGE_LITERT), conversions.get("safetensors", "explicit").model) as running:
        for chunk in chunks[:50:10, np.newaxis]:
            c, h = rng.uniform(-1.0, 1.0, (2, 1, 128)).astype(np.float32)
            expected = trained["safetensors"].reference.step(chunk, c, h)
            seen = running.run({"chunks": chunk, "state_0_c": c, "state_0_h": h})
            for name, wanted in zip(("probability", "state_0_c", "state_0_h"), expected, strict=True):
                np.testing.assert_allclose(seen[name], wanted, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def of_any_length(trained: dict[str, Trained]) -> bytes:
    function = silero_vad.build(trained["safetensors"].pretrained, chunks=None)
    model: bytes = rnn.convert(function, state="explicit").model
    return model


@pytest.mark.parametrize("runtime", RUNTIMES, ids=str)
def test_any_number_of_chunks_goes_through_in_one_invoke(
    runtime: Runtime, of_any_length: bytes, trained: dict[str, Trained], chunks: Array, pool: WorkerPool
) -> None:
    with pool.open(runtime, of_any_length) as running:
        stream = Stream(running)
        sizes = (1, 7, 500, 30, 400)
        assert sum(sizes) == len(chunks)
        heard = [stream.feed({"chunks": piece})["probability"] for piece in pieces(chunks, sizes)]
    expected = trained["safetensors"].probabilities
    np.testing.assert_allclose(np.concatenate(heard), expected, rtol=0, atol=TOLERANCE)


def test_the_program_streams_the_sound_on_every_runtime(
    wheel: Path,
    pool: WorkerPool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(silero_vad, "OUTPUT", tmp_path / "folder" / "silero_vad.tflite")
    monkeypatch.setattr(silero_vad, "SECONDS", 3)
    monkeypatch.setattr(silero_vad, "WorkerPool", lambda: nullcontext(pool))
    assert silero_vad.main() == 0
    printed = capsys.readouterr().out
    assert "1 UNIDIRECTIONAL_SEQUENCE_LSTM" in printed
    assert all(str(runtime) in printed for runtime in silero_vad.installed_runtimes())
    assert "WRONG" not in printed
    assert (tmp_path / "folder" / "silero_vad.tflite").is_file()
