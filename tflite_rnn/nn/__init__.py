"""Recurrent networks for TensorFlow: cells, and ``dynamic_rnn`` as in ``tf.nn``.

``tflite_rnn.nn.lite`` holds the flavour of TensorFlow 1.15's ``tf.lite.experimental.nn``.
"""

from tflite_rnn.nn import lite
from tflite_rnn.nn.basic_rnn import BasicRNNCell
from tflite_rnn.nn.bidirectional import bidirectional_dynamic_rnn, stack_bidirectional_dynamic_rnn
from tflite_rnn.nn.cell import RNNCell
from tflite_rnn.nn.coupled_lstm import CoupledInputForgetGateLSTMCell
from tflite_rnn.nn.gru import CudnnCompatibleGRUCell, GRUCell
from tflite_rnn.nn.layer_norm import LayerNormBasicLSTMCell
from tflite_rnn.nn.lstm import BasicLSTMCell, LSTMCell, LSTMStateTuple
from tflite_rnn.nn.raw import raw_rnn
from tflite_rnn.nn.rnn import dynamic_rnn
from tflite_rnn.nn.stack import MultiRNNCell
from tflite_rnn.nn.static import static_bidirectional_rnn, static_rnn
from tflite_rnn.nn.tflite_cells import TFLiteLSTMCell, TfLiteRNNCell
from tflite_rnn.nn.wrappers import DeviceWrapper, DropoutWrapper, ResidualWrapper

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "CoupledInputForgetGateLSTMCell",
    "CudnnCompatibleGRUCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "GRUCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "MultiRNNCell",
    "RNNCell",
    "ResidualWrapper",
    "TFLiteLSTMCell",
    "TfLiteRNNCell",
    "bidirectional_dynamic_rnn",
    "dynamic_rnn",
    "lite",
    "raw_rnn",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
]
