"""Dropout as in TensorFlow 1, given by the probability to *keep* an element."""

from __future__ import annotations

from typing import Any, TypeAlias

import tensorflow as tf

from tflite_rnn.nn.cell import Tensor

KeepProbability: TypeAlias = Any


def keep_probability(argument: str, value: Any) -> KeepProbability:
    """Return a probability: a float if it is known now, else a tensor, or a variable that is read at every use.

    Raises Raises ValueError if it is known and not between 0 and 1.
    """
    if isinstance(value, tf.Variable):
        return value
    tensor = tf.convert_to_tensor(value)
    known = tf.get_static_value(tensor)
    if known is None:
        return tensor
    if not 0.0 <= known <= 1.0:
        raise ValueError(f"Parameter {argument} must be between 0 and 1, but saw {known}")
    return float(known)


def is_kept(keep: KeepProbability) -> bool:
    """Return whether everything is known to be kept."""
    return isinstance(keep, float) and keep == 1.0


def masked(x: Tensor, keep: KeepProbability, seed: int | None) -> Tensor:
    """Keep each element of x with probability ``keep``, as x / keep; the others become 0."""
    if is_kept(keep):
        return x
    if isinstance(keep, float) and keep == 0.0:
        return tf.zeros_like(x)
    rate = 1.0 - keep if isinstance(keep, float) else tf.cast(1.0 - tf.convert_to_tensor(keep), x.dtype)
    return tf.nn.dropout(x, rate=rate, seed=seed)


def masked_by(x: Tensor, noise: Tensor, keep: KeepProbability) -> Tensor:
    """Keep, as x / keep, the elements of x whose ``noise`` in [0, 1) is at least 1 - keep; the others become 0."""
    if isinstance(keep, float) and keep == 0.0:
        return tf.zeros_like(x)
    keep = tf.cast(keep, x.dtype)
    return tf.divide(x, keep) * tf.floor(keep + noise)
