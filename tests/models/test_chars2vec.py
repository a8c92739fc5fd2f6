from __future__ import annotations

import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from converter.errors import SourceError
from models import chars2vec

A = chars2vec.ALPHABET.index("a")


def test_the_alphabet_has_every_character_once() -> None:
    assert len(set(chars2vec.ALPHABET)) == len(chars2vec.ALPHABET) == 59


def test_a_word_is_one_hot_step_by_step() -> None:
    encoded = chars2vec.encode(["cab"])
    assert encoded.shape == (3, 1, 59)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded.argmax(axis=2)[:, 0], [A + 2, A, A + 1])
    np.testing.assert_array_equal(encoded.sum(axis=2), 1.0)


def test_case_does_not_matter() -> None:
    np.testing.assert_array_equal(chars2vec.encode(["LiSt"]), chars2vec.encode(["list"]))


def test_an_unknown_character_keeps_its_step_and_is_all_zeros() -> None:
    encoded = chars2vec.encode(["a é"])
    np.testing.assert_array_equal(encoded.sum(axis=(1, 2)), [1.0, 0.0, 0.0])
    assert encoded[0, 0, A] == 1.0


def test_shorter_words_are_padded_in_front() -> None:
    encoded = chars2vec.encode(["abc", "a"])
    np.testing.assert_array_equal(encoded[:, 1].sum(axis=1), [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(encoded[:, :1], chars2vec.encode(["abc"]))


@pytest.mark.parametrize("words", [[], [""], ["a", ""]])
def test_nothing_cannot_be_encoded(words: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        chars2vec.encode(words)


def test_the_example_inputs_have_every_length_alone_and_in_a_batch() -> None:
    inputs = chars2vec.example_inputs(np.random.default_rng(0))
    shapes = {case["chars"].shape for case in inputs}
    assert shapes == {(length, batch, 59) for length in range(1, 21) for batch in (1, 7)}
    again = chars2vec.example_inputs(np.random.default_rng(0))
    assert all(np.array_equal(one["chars"], two["chars"]) for one, two in zip(inputs, again, strict=True))


def test_gates_move_from_keras_order_to_tensorflow_order() -> None:
    # One unit, two inputs: column g of every matrix is gate i, f, c, o; every row says which matrix it is from.
    weights = chars2vec.LstmWeights(
        np.array([[10, 20, 30, 40], [11, 21, 31, 41]], np.float32),
        np.array([[12, 22, 32, 42]], np.float32),
        np.array([13, 23, 33, 43], np.float32),
    )
    kernel, bias = weights.for_tensorflow()
    np.testing.assert_array_equal(kernel, [[10, 30, 20, 40], [11, 31, 21, 41], [12, 32, 22, 42]])
    np.testing.assert_array_equal(bias, [13, 33, 23, 43])


def test_weights_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(SourceError, match="2 units need 8 columns"):
        chars2vec.LstmWeights(*(np.zeros(shape, np.float32) for shape in ((3, 8), (2, 8), (4,))))


def test_another_alphabet_is_refused() -> None:
    index = {character: position for position, character in enumerate(chars2vec.ALPHABET)}
    chars2vec.check_alphabet(pickle.dumps([50, index]))
    with pytest.raises(SourceError, match="expected 50 units and 59 characters"):
        chars2vec.check_alphabet(pickle.dumps([50, {**index, "a": 0}]))


def _no_file() -> bytes:
    return b"no HDF5"


def _no_layers() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array([b"input_1"])
        file.create_group("input_1")
    return buffer.getvalue()


def _no_weights() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array([b"lstm_1"])
        file.create_group("lstm_1/lstm_1").create_dataset("kernel:0", data=np.zeros((1, 4)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_no_file, "not a Keras 2 weights file"), (_no_layers, "has 0 layers"), (_no_weights, "recurrent_kernel:0")],
)
def test_a_weights_file_of_another_kind_is_refused(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        chars2vec.read_layers(make())


@pytest.mark.download
def test_the_trained_weights_are_read_as_stored(pretrained: chars2vec.Pretrained) -> None:
    first, second = pretrained.layers
    assert first.kernel.shape == (59, 200)
    assert second.kernel.shape == first.recurrent_kernel.shape == second.recurrent_kernel.shape == (50, 200)
    assert all(array.dtype == np.float32 for array in (first.kernel, second.recurrent_kernel, second.bias))
    # Keras keeps the forget gate's bias of 1 in the bias: the second block of columns, before and after training.
    means = first.bias.reshape(4, 50).mean(axis=1)
    assert means.argmax() == 1
    assert means[1] == pytest.approx(1.0, abs=0.1)
