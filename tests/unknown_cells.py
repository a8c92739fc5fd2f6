"""Cells that the compiler does not know."""

from __future__ import annotations

import tensorflow as tf

from tflite_rnn import nn


class Leaky(nn.RNNCell):
    """A state [batch, units] that leaks and adds up the inputs, bounded below; the outputs are its squares."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self._units = units

    @property
    def state_size(self) -> int:
        return self._units

    @property
    def output_size(self) -> int:
        return self._units

    def call(self, x: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        state = tf.maximum(0.5 * state + x, -1.0)
        return state * state, state
