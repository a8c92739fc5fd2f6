from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import chars2vec, demo


def test_the_word_list_is_sorted_unique_and_spelt_in_the_alphabet() -> None:
    words = demo.read_words()
    assert 300 <= len(words) <= 2500
    assert words == sorted(set(words))
    assert set("".join(words)) <= set(chars2vec.ALPHABET)


def test_the_words_meant_by_the_queries_are_in_the_list() -> None:
    meant = {"language", "receive", "necessary", "tomorrow", "environment", "questionnaire", "rhythm", "separate"}
    assert meant <= set(demo.read_words())
    assert not set(demo.QUERIES) - {"computer"} & set(demo.read_words())


def test_words_are_embedded_by_length_and_come_back_in_their_order() -> None:
    seen = []

    def embed(chars: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(chars.shape[:2])
        place = (chars * np.arange(59, dtype=np.float32)).sum(axis=(0, 2))
        return np.repeat(place[:, None], chars2vec.UNITS, axis=1)

    words = ["bb", "a", "c", "dd"]
    vectors = demo.embed_words(embed, words)
    assert sorted(seen) == [(1, 2), (2, 2)]
    expected = [sum(chars2vec.ALPHABET.index(character) for character in word) for word in words]
    np.testing.assert_array_equal(vectors[:, 0], expected)


def test_the_nearest_words_come_closest_first() -> None:
    vectors = np.array([[0, 0], [3, 4], [1, 0]], dtype=np.float32)
    found = demo.nearest(np.zeros(2, dtype=np.float32), vectors, ["here", "far", "near"], count=3)
    assert found == [demo.Neighbour("here", 0.0), demo.Neighbour("near", 1.0), demo.Neighbour("far", 5.0)]
