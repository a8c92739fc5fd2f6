"""The network against an independent float64 one, in numpy, written from Keras' equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import chars2vec

pytestmark = pytest.mark.download

Float64 = NDArray[np.float64]
TOLERANCE = 1e-5


def sigmoid(x: Float64) -> Float64:
    return 1.0 / (1.0 + np.exp(-x))


def reference_layer(x: Float64, layer: chars2vec.LstmWeights) -> tuple[Float64, Float64, Float64]:
    """Keras' LSTM over x [T, B, D], gate by gate: outputs [T, B, U], last c and last h [B, U]."""
    units = layer.recurrent_kernel.shape[0]
    kernel, recurrent_kernel, bias = (
        array.astype(np.float64) for array in (layer.kernel, layer.recurrent_kernel, layer.bias)
    )
    c = h = np.zeros((x.shape[1], units))
    outputs = []
    for x_t in x:
        z = x_t @ kernel + h @ recurrent_kernel + bias
        i, f, candidate, o = (z[:, gate * units : (gate + 1) * units] for gate in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), c, h


def reference(chars: NDArray[np.float32], pretrained: chars2vec.Pretrained) -> tuple[Float64, list[Float64]]:
    """The embedding [B, 50] and the state, flat: c and h of every layer."""
    x = chars.astype(np.float64)
    state = []
    for layer in pretrained.layers:
        x, c, h = reference_layer(x, layer)
        state += [c, h]
    return x[-1], state


@pytest.fixture(scope="module")
def embed(pretrained: chars2vec.Pretrained) -> Any:
    return chars2vec.build(pretrained)


def test_the_network_is_the_reference_for_every_length_and_batch(
    embed: Any, pretrained: chars2vec.Pretrained
) -> None:
    import tensorflow as tf

    for case in chars2vec.example_inputs(np.random.default_rng(7)):
        got = embed(**case)
        embedding, state = reference(case["chars"], pretrained)
        np.testing.assert_allclose(got["embedding"], embedding, rtol=0, atol=TOLERANCE)
        for part, expected in zip(tf.nest.flatten(got["state"]), state, strict=True):
            np.testing.assert_allclose(part, expected, rtol=0, atol=TOLERANCE)


def test_the_network_is_what_keras_computes_with_these_weights(
    embed: Any, pretrained: chars2vec.Pretrained
) -> None:
    import tensorflow as tf

    chars = chars2vec.encode(["natural", "language", "understanding"])
    x = np.swapaxes(chars, 0, 1)
    for layer in pretrained.layers:
        lstm = tf.keras.layers.LSTM(chars2vec.UNITS, return_sequences=True)
        lstm.build(x.shape)
        lstm.set_weights([layer.kernel, layer.recurrent_kernel, layer.bias])
        x = lstm(x)
    np.testing.assert_allclose(embed(chars)["embedding"], x[:, -1], rtol=0, atol=TOLERANCE)


def test_a_misspelt_word_is_closest_to_the_word_that_was_meant(embed: Any) -> None:
    words = ["language", "landscape", "manage", "message", "average"]
    meant = embed(chars2vec.encode(words))["embedding"].numpy()
    misspelt = embed(chars2vec.encode(["langauge"]))["embedding"].numpy()
    assert np.linalg.norm(meant - misspelt, axis=1).argmin() == 0
