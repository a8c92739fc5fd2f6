"""The network of spoken commands: trained for a moment, and fed chunk by chunk on LiteRT and microcontrollers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from models import commands, espeak, keywords
from models.keywords import CHUNK, PLACES
from tflite_rnn.runtime import OutputRows, Stream, WorkerPool, read_metadata

EPOCHS = 5
everywhere = pytest.mark.parametrize("target", PLACES)


@pytest.fixture(scope="module")
def learned() -> commands.Clips:
    return commands.clips(np.random.default_rng(0), 60)


@pytest.fixture(scope="module")
def held_out() -> commands.Clips:
    return commands.clips(np.random.default_rng(1), 1)


@pytest.fixture(scope="module")
def features(held_out: commands.Clips) -> keywords.Array:
    return keywords.features_of(held_out)


@pytest.fixture(scope="module")
def losses_and_model(learned: commands.Clips) -> tuple[list[float], Any]:
    features = keywords.features_of(learned)
    model = keywords.create(features)
    return keywords.train(model, features, learned.labels, epochs=EPOCHS), model


@pytest.fixture(scope="module")
def model(losses_and_model: tuple[list[float], Any]) -> Any:
    return losses_and_model[1]


@pytest.fixture(scope="module")
def converted(model: Any) -> Mapping[str, rnn.Converted]:
    return {target: keywords.convert(model, target, frames=CHUNK) for target in PLACES}


def test_training_learns(losses_and_model: tuple[list[float], Any]) -> None:
    losses, _ = losses_and_model
    assert len(losses) == EPOCHS
    assert losses[0] > 1.5, "an untrained network should be at about log(9)"
    assert losses[-1] < 0.8 * losses[0]


def test_the_word_is_the_mean_of_what_each_frame_says(model: Any, features: keywords.Array) -> None:
    """Softmax ignores what all logits of a frame have in common, so their logarithms stand for them."""
    heard = {name: np.asarray(each, np.float64) for name, each in model(features).items()}
    mean = np.exp(np.log(heard["now"]).mean(axis=1))
    np.testing.assert_allclose(heard["word"], mean / mean.sum(axis=1, keepdims=True), atol=1e-5)


def test_the_network_looks_back_only(model: Any, features: keywords.Array) -> None:
    whole, part = np.asarray(model(features)["now"]), np.asarray(model(features[:, :50])["now"])
    np.testing.assert_allclose(part, whole[:, :50], rtol=0, atol=1e-5)


@everywhere
def test_the_file_says_what_it_promises(target: str, converted: Mapping[str, rnn.Converted]) -> None:
    metadata = read_metadata(converted[target].model)
    assert metadata is not None
    assert (metadata.target, metadata.state) == (target, "streaming")
    assert metadata.chunks is not None
    assert metadata.chunks.outputs == {"now": OutputRows(axis=1, stride=1, delay=0, first=1)}
    assert (metadata.chunks.multiple, metadata.chunks.flush) == (1, None)
    assert metadata.chunks.running == {"word": 0}


def test_the_page_on_streaming_shows_what_the_file_says(converted: Mapping[str, rnn.Converted]) -> None:
    page = (Path(keywords.__file__).parents[1] / "docs" / "streaming.md").read_text()
    metadata = read_metadata(converted["litert"].model)
    assert metadata is not None
    assert metadata.chunks is not None
    assert "```\n" + "\n".join(metadata.chunks.lines()) + "\n```" in page
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    entry = json.loads(shown)
    assert entry["chunks"] == metadata.chunks.to_dict()
    assert [entry[name] for name in ("compiler", "state", "target")] == [
        metadata.compiler,
        metadata.state,
        metadata.target,
    ]


@everywhere
def test_what_the_past_left_is_in_variables(target: str, converted: Mapping[str, rnn.Converted]) -> None:
    """The rows that two convolutions look back on, the state of the GRU, a sum and a count of frames."""
    counts = converted[target].report.op_counts
    assert counts["READ_VARIABLE"] == 5
    assert "CUSTOM" not in counts


@everywhere
def test_chunks_say_what_the_whole_says(
    target: str,
    model: Any,
    converted: Mapping[str, rnn.Converted],
    held_out: commands.Clips,
    features: keywords.Array,
    pool: WorkerPool,
) -> None:
    runtime = PLACES[target]
    chunks = keywords.listen_in_chunks(converted[target].model, runtime, held_out.sounds, pool)
    stateless = keywords.convert(model, target, frames=features.shape[1], state="stateless")
    whole = keywords.listen_whole(stateless.model, runtime, features, pool)
    assert chunks.now.shape == whole.now.shape == (10, 120, 9)
    assert chunks.word.shape == (10, 60, 9)
    assert keywords.Streamed(runtime, chunks, whole).error <= keywords.TOLERANCE
    heard = model.predict(features, verbose=0)
    np.testing.assert_allclose(chunks.now, heard["now"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(chunks.labels, np.argmax(heard["word"], axis=1))


@everywhere
def test_the_word_so_far_is_that_of_the_sound_so_far(
    target: str,
    model: Any,
    converted: Mapping[str, rnn.Converted],
    held_out: commands.Clips,
    features: keywords.Array,
    pool: WorkerPool,
) -> None:
    chunks = keywords.listen_in_chunks(converted[target].model, PLACES[target], held_out.sounds[:1], pool)
    for frames in (2, 30, 64):
        whole = np.asarray(model(features[:1, :frames])["word"])
        np.testing.assert_allclose(chunks.word[:, frames // CHUNK - 1], whole, rtol=0, atol=1e-5)


@everywhere
def test_without_a_reset_the_next_word_is_heard_in_the_light_of_the_last(
    target: str, converted: Mapping[str, rnn.Converted], features: keywords.Array, pool: WorkerPool
) -> None:
    content = converted[target].model
    with pool.open(PLACES[target], content) as running:
        stream = Stream(running, metadata=read_metadata(content), steps=CHUNK)
        first, second = (stream.feed({"features": features[:1, :20]})["now"] for _ in range(2))
        stream.reset()
        third = stream.feed({"features": features[:1, :20]})["now"]
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(first, third)


@everywhere
def test_the_file_is_on_par_with_keras(
    target: str, converted: Mapping[str, rnn.Converted], model: Any, features: keywords.Array, pool: WorkerPool
) -> None:
    inputs = keywords.example_inputs(features)
    runtimes = [PLACES[target]]
    report = rnn.check(
        converted[target], keywords.source(model), inputs=inputs, runtimes=runtimes, invokes=2, pool=pool
    )
    assert report.ok, str(report)


def test_a_comparison_is_good_only_if_chunks_are_equal_and_enough_is_understood() -> None:
    labels = np.arange(9, dtype=np.int32)
    now, word = np.zeros((9, 4, 9), np.float32), np.eye(9, dtype=np.float32)[:, np.newaxis]
    heard, other = keywords.Heard(now, word), keywords.Heard(now + 2e-5, word)
    deaf = keywords.Heard(now, np.roll(word, 1, axis=2))
    runtime = PLACES["litert"]

    def is_good(keras: keywords.Heard, *streamed: keywords.Streamed) -> bool:
        return keywords.Comparison(labels, keras, streamed).is_good

    assert is_good(heard, keywords.Streamed(runtime, heard, heard))
    assert not is_good(heard)
    assert not is_good(deaf, keywords.Streamed(runtime, heard, heard))
    assert not is_good(heard, keywords.Streamed(runtime, deaf, deaf))
    assert not is_good(heard, keywords.Streamed(runtime, heard, heard), keywords.Streamed(runtime, heard, other))


def test_the_program_says_that_the_accuracy_was_not_reached_and_fails(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keywords, "EACH", 4)
    monkeypatch.setattr(keywords, "HELD_OUT", 1)
    monkeypatch.setattr(keywords, "OUTPUT", tmp_path / "folder")
    monkeypatch.setattr(keywords, "train", lambda *_, **__: [2.0, 1.9])
    monkeypatch.setattr(keywords, "WorkerPool", lambda: nullcontext(pool))
    assert keywords.run(commands.speak) == 1
    printed = capsys.readouterr().out
    assert "parity holds" in printed
    assert f'"{keywords.SHOWN}", as it is heard' in printed
    assert "WRONG" in printed
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        f"keywords_{target}.tflite" for target in PLACES
    }


def test_without_espeak_there_is_one_message_and_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert keywords.run(espeak.speak) == 2
    assert "espeak-ng is not installed" in capsys.readouterr().err
