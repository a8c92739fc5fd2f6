"""chars2vec 0.1.7, ``eng_50``: words to vectors, character by character, through two stacked LSTM(50).

Source: the package ``chars2vec`` (Apache-2.0, Intuition Engineering). Its network is, in Keras 2::

    chars [batch, time, 59 one-hot] -> LSTM(50, return_sequences=True) -> LSTM(50) -> embedding [batch, 50]

and here the same in TensorFlow 1's words, time-major: ``dynamic_rnn`` over ``MultiRNNCell([LSTMCell(50)] * 2)``.
Words of similar spelling get vectors close to each other; there is no vocabulary.

Two facts about the weights that decide what is computed:

* Keras stores the forget gate's bias of 1 *inside* its bias vector (``unit_forget_bias``), so these cells have
  ``forget_bias=0.0``: TensorFlow's default would add a second 1 on every step.
* The file says ``keras_version`` 2.2.0, where an LSTM's gates were ``hard_sigmoid`` by default; the package names
  no gate activation and pins no Keras, and from Keras 2.3 on the same code computes ``sigmoid``. This is the
  network the package has been since then: sigmoid gates. The embeddings are as good either way (of 800 misspelt
  words, 0.89 have their original as the nearest of 3000 under both), but they are not the same numbers.
"""

from __future__ import annotations

import io
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from converter.errors import SourceError
from models import safe_pickle
from models.archives import Sdist, fetch, read_member

Array: TypeAlias = NDArray[np.float32]

SDIST = Sdist("chars2vec", "0.1.7", "df05b0765e406e1bdb9f9537adf7fccb24db4a81956aea5c25a707a03a6a8094")
UNITS = 50
LAYERS = 2
# The characters the network knows, in the order of the one-hot input: ! to @ of ASCII, then _ and a to z.
ALPHABET = (*map(chr, range(ord("!"), ord("@") + 1)), "_", *string.ascii_lowercase)

# What it must lower to: both recurrences fused, and no loop anywhere.
FUSED_OPS = {"UNIDIRECTIONAL_SEQUENCE_LSTM": LAYERS}
FORBIDDEN_OPS = frozenset({"WHILE", "CUSTOM"})

_FOLDER = f"{SDIST.name}-{SDIST.version}/chars2vec/trained_models/eng_{UNITS}"


@dataclass(frozen=True, slots=True, eq=False)
class LstmWeights:
    """A Keras LSTM's weights, gates i, f, c, o in columns: [D, 4U], [U, 4U] and [4U]; forget bias included."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array

    def __post_init__(self) -> None:
        columns = 4 * self.recurrent_kernel.shape[0]
        seen = (self.kernel.shape[1:], self.recurrent_kernel.shape[1:], self.bias.shape)
        if seen != ((columns,), (columns,), (columns,)):
            raise SourceError(f"LSTM weights with {columns // 4} units need {columns} columns each, not {seen}")

    def for_tensorflow(self) -> tuple[Array, Array]:
        """Return kernel [D+U, 4U] and bias [4U] of ``LSTMCell(U, forget_bias=0.0)``: gates i, j, f, o."""
        joined = np.concatenate([self.kernel, self.recurrent_kernel], axis=0)
        return _reorder(joined), _reorder(self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """The trained network: its LSTM layers in running order. Its input is what `encode` makes."""

    layers: tuple[LstmWeights, ...]


def load(cache: Path | None = None) -> Pretrained:
    """Fetch (once, see `models.archives.fetch`) and read the trained network.

    Raises:
        DownloadError, DigestError: see `models.archives.fetch`.
        SourceError: the files are not what is expected of this version.
    """
    archive = fetch(SDIST, cache)
    check_alphabet(read_member(archive, f"{_FOLDER}/model.pkl"))
    return Pretrained(read_layers(read_member(archive, f"{_FOLDER}/weights.h5")))


def check_alphabet(pickled: bytes) -> None:
    """Check that the package's ``model.pkl``, ``[units, {character: index}]``, agrees with `UNITS` and `ALPHABET`.

    Raises:
        SourceError: it does not, or it is more than plain containers.
    """
    structure = safe_pickle.loads(pickled)
    expected = [UNITS, {character: index for index, character in enumerate(ALPHABET)}]
    if structure != expected:
        raise SourceError(
            f"model.pkl: expected {UNITS} units and {len(ALPHABET)} characters, not {structure!r:.200}"
        )


def read_layers(hdf5: bytes) -> tuple[LstmWeights, ...]:
    """Return the LSTM layers of a Keras 2 weights file, in the order in which the file lists them.

    Raises:
        SourceError: the file is no HDF5, lacks a weight, or does not have two LSTM layers.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(hdf5), "r") as file:
            names = [bytes(name).decode() for name in file.attrs["layer_names"]]
            # A Keras 2 file nests each weight as layer/layer/weight:0; inputs are layers without weights.
            layers = tuple(_read_layer(file[name][name]) for name in names if len(file[name]))
    except (OSError, KeyError) as error:
        raise SourceError(f"weights.h5 is not a Keras 2 weights file with LSTM layers: {error}") from error
    if len(layers) != LAYERS:
        raise SourceError(
            f"weights.h5 has {len(layers)} layers with weights, expected {LAYERS} LSTM layers: {names}"
        )
    return layers


def encode(words: Sequence[str]) -> Array:
    """Return ``words`` as the network's input, time-major one-hot [longest word, words, 59].

    Exactly as the package does it: lower case; a character outside the alphabet keeps its step but is all zeros;
    shorter words get zero steps *in front*, which the network does run through. A word's vector therefore depends
    on the longest word beside it; encode words of one length at a time where that matters.

    Raises:
        ValueError: there are no words, or one of them is empty.
    """
    lowered = [word.lower() for word in words]
    if not lowered or not all(lowered):
        raise ValueError(f"cannot encode {list(words)!r}: needs at least one word, and no empty one")
    index = {character: position for position, character in enumerate(ALPHABET)}
    steps = max(map(len, lowered))
    encoded = np.zeros((steps, len(lowered), len(ALPHABET)), dtype=np.float32)
    for column, word in enumerate(lowered):
        for step, character in enumerate(word, start=steps - len(word)):
            if character in index:
                encoded[step, column, index[character]] = 1.0
    return encoded


def build(pretrained: Pretrained) -> Any:
    """Return the network as a ``tf.function`` of ``chars`` [T, B, 59], any T and B.

    It returns ``{"embedding": [B, 50], "state": one (c, h) pair of [B, 50] per layer}``.
    """
    import tensorflow as tf

    import tflite_rnn as rnn

    cells: list[Any] = [rnn.LSTMCell(UNITS, forget_bias=0.0) for _ in pretrained.layers]
    cell = rnn.MultiRNNCell(cells)
    cell.ensure_built(tf.TensorSpec([None, len(ALPHABET)], tf.float32))
    for layer, weights in zip(cells, pretrained.layers, strict=True):
        kernel, bias = weights.for_tensorflow()
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)

    def embed(chars: Any) -> dict[str, Any]:
        outputs, state = rnn.dynamic_rnn(cell, chars, dtype=tf.float32)
        return {"embedding": outputs[-1], "state": state}

    signature = [tf.TensorSpec([None, None, len(ALPHABET)], tf.float32, name="chars")]
    return tf.function(embed, input_signature=signature)


def example_inputs(rng: np.random.Generator) -> list[dict[str, Array]]:
    """Return inputs of the network: random words of every length from 1 to 20, alone and seven at a time.

    The words are drawn from the whole alphabet and a few characters outside it, which the network must take too.
    """
    return [{"chars": encode(_random_words(rng, batch, length))} for batch in (1, 7) for length in range(1, 21)]


def _random_words(rng: np.random.Generator, count: int, length: int) -> list[str]:
    drawn = rng.choice([*ALPHABET, " ", "é", "~"], size=(count, length))
    return ["".join(word) for word in drawn]


def _read_layer(group: Any) -> LstmWeights:
    kernel, recurrent_kernel, bias = (
        np.asarray(group[f"{name}:0"], dtype=np.float32) for name in ("kernel", "recurrent_kernel", "bias")
    )
    return LstmWeights(kernel, recurrent_kernel, bias)


def _reorder(columns: Array) -> Array:
    """Return Keras' gates i, f, c, o (last axis) in TensorFlow's order i, j, f, o; TensorFlow's j is Keras' c."""
    i, f, c, o = np.split(columns, 4, axis=-1)
    return np.concatenate([i, c, f, o], axis=-1)
