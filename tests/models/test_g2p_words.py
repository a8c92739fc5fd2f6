"""What surrounds the g2p network: letters in, phonemes out, and the checkpoint's reader. Nothing is fetched."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from converter.errors import SourceError
from models import g2p

S, T, END = (g2p.PHONEMES.index(phoneme) for phoneme in ("S", "T", "</s>"))


def test_every_grapheme_and_phoneme_is_there_once() -> None:
    assert len(set(g2p.GRAPHEMES)) == len(g2p.GRAPHEMES) == 29
    assert len(set(g2p.PHONEMES)) == len(g2p.PHONEMES) == 74
    assert list(g2p.PHONEMES[4:]) == sorted(g2p.PHONEMES[4:])


def test_a_word_is_its_letters_and_an_end_padded_behind() -> None:
    spelt = g2p.spell(["Ab", "c'zé"])
    np.testing.assert_array_equal(spelt["letters"].T, [[3, 4, 2, 0, 0], [5, 1, 28, 1, 2]])
    np.testing.assert_array_equal(spelt["sequence_length"], [3, 5])
    assert {array.dtype for array in spelt.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize("words", [[], ["a", ""]])
def test_nothing_cannot_be_spelt(words: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        g2p.spell(words)


class Scripted:
    """Stands in for both functions: says given phonemes step by step, and remembers what it was told."""

    def __init__(self, script: list[list[int]]) -> None:
        self.script = script
        self.told: list[list[int]] = []

    def encode(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"state": np.zeros((len(inputs["sequence_length"]), g2p.UNITS), np.float32)}

    def decode_step(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        step = len(self.told)
        np.testing.assert_array_equal(inputs["state"], step)
        self.told.append(list(inputs["phoneme"]))
        said = self.script[min(step, len(self.script) - 1)]
        return {"logits": np.eye(len(g2p.PHONEMES))[said], "state": inputs["state"] + 1}


def test_decoding_feeds_back_what_was_said_until_every_word_has_ended() -> None:
    scripted = Scripted([[S, T], [END, S], [T, END], [S, S]])
    assert g2p.pronounce(["a", "b"], scripted.encode, scripted.decode_step) == [("S",), ("T", "S")]
    start = g2p.PHONEMES.index("<s>")
    assert scripted.told == [[start, start], [S, T], [END, S]]


def test_decoding_ends_after_twenty_phonemes() -> None:
    scripted = Scripted([[S]])
    assert g2p.pronounce(["a"], scripted.encode, scripted.decode_step) == [("S",) * 20]
    assert len(scripted.told) == 20


def test_a_word_that_ends_at_once_has_no_phonemes() -> None:
    scripted = Scripted([[END]])
    assert g2p.pronounce(["a"], scripted.encode, scripted.decode_step) == [()]


def test_the_gates_are_transposed_and_the_biases_of_the_candidate_stay_two() -> None:
    rows = np.arange(6, dtype=np.float32)  # two units: rows r0 r1 z0 z1 n0 n1
    w_ih, w_hh = np.stack([rows, rows + 10, rows + 20], axis=1), np.stack([rows + 30, rows + 40], axis=1)
    weights = g2p.GruWeights(w_ih, w_hh, rows, rows + 100).for_tensorflow()
    expected = [[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33], [40, 41, 42, 43]]
    np.testing.assert_array_equal(weights["gates_kernel"], expected)
    np.testing.assert_array_equal(weights["gates_bias"], [100, 102, 104, 106])
    np.testing.assert_array_equal(weights["candidate_input_kernel"], [[4, 5], [14, 15], [24, 25]])
    np.testing.assert_array_equal(weights["candidate_hidden_kernel"], [[34, 35], [44, 45]])
    np.testing.assert_array_equal(weights["candidate_input_bias"], [4, 5])
    np.testing.assert_array_equal(weights["candidate_hidden_bias"], [104, 105])


def npz(**changed: Any) -> bytes:
    """A checkpoint of the right shapes, but for ``changed``; None leaves an array out."""
    gru = {f"{part}_w_{side}": (768, 256) for part in ("enc", "dec") for side in ("ih", "hh")}
    biases = {f"{part}_b_{side}": (768,) for part in ("enc", "dec") for side in ("ih", "hh")}
    shapes = {"enc_emb": (29, 256), "dec_emb": (74, 256), "fc_w": (74, 256), "fc_b": (74,), **gru, **biases}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | changed
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


def test_a_checkpoint_of_the_right_shapes_is_read() -> None:
    pretrained = g2p.read_checkpoint(npz(fc_b=np.arange(74, dtype=np.float32)))
    np.testing.assert_array_equal(pretrained.fc_b, np.arange(74))


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        (npz(fc_b=np.zeros(73, np.float32)), r"fc_b is float32 \(73,\), expected float32 \(74,\)"),
        (npz(fc_b=np.zeros(74)), "fc_b is float64"),
        (npz(dec_w_hh=None), "dec_w_hh is not a file"),
        (npz(fc_b=np.array([{}] * 74)), "allow_pickle"),
        (npz()[:5000], "not the expected .npz"),
        (pickle.dumps({}), "not the expected .npz"),
        (b"", "not the expected .npz"),
    ],
    ids=["shape", "dtype", "missing", "pickled", "cut", "pickle", "empty"],
)
def test_another_checkpoint_is_refused(checkpoint: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        g2p.read_checkpoint(checkpoint)
