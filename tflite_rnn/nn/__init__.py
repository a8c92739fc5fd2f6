"""Recurrent networks for TensorFlow: cells, and ``dynamic_rnn`` as in ``tf.nn``.

``tflite_rnn.nn.lite`` holds the flavour of TensorFlow 1.15's ``tf.lite.experimental.nn``.
"""

from tflite_rnn.nn import lite
from tflite_rnn.nn.basic_rnn import BasicRNNCell
from tflite_rnn.nn.cell import RNNCell
from tflite_rnn.nn.lstm import LSTMCell, LSTMStateTuple
from tflite_rnn.nn.rnn import dynamic_rnn
from tflite_rnn.nn.stack import MultiRNNCell

__all__ = [
    "BasicRNNCell",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
    "dynamic_rnn",
    "lite",
]
