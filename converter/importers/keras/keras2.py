"""Recurrent layers of Keras 2, the package tf_keras: their ``call`` is what a marked op replaces.

The loop is in the middle of ``call``, so the code around it (which inputs are states, what is returned) is
repeated here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from converter.importers.keras.cells import Library, activation_functions, describe
from converter.importers.keras.distributing import distributed_call, without_autograph
from converter.importers.keras.marking import LayerLoop, is_markable, last_output, run_marked
from converter.importers.keras.overriding import overridden
from converter.ir import Activation


@contextmanager
def tracing(model: Any, *, marked: bool) -> Iterator[None]:
    """Temporarily make the recurrent layers of ``model`` start from zero, and run marked ops if ``marked``."""
    import tf_keras

    with ExitStack() as stack:
        for layer in recurrent_layers(model):
            stack.enter_context(overridden(layer, "_stateful", False))
            if marked and type(layer).call in _calls_of_keras():
                stack.enter_context(overridden(layer, "call", _marked_call(layer)))
        for layer in _time_distributed(model) if marked else ():
            functions = [*_library().activations, tf_keras.activations.softmax]
            call = distributed_call(layer, tf_keras.layers.Dense, functions)
            stack.enter_context(overridden(layer, "call", call))
        yield


def recurrent_layers(model: Any) -> list[Any]:
    """Return every recurrent layer of ``model``, those inside other layers included."""
    import tf_keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, tf_keras.layers.RNN)]


@functools.cache
def _library() -> Library:
    from tf_keras import activations, layers
    from tf_keras.src.layers.rnn import gru_v1, lstm_v1

    return Library(
        kinds={
            layers.SimpleRNNCell: "keras_rnn",
            layers.LSTMCell: "keras_lstm",
            lstm_v1.LSTMCell: "keras_lstm",
            layers.GRUCell: "keras_gru",
            gru_v1.GRUCell: "keras_gru",
        },
        stacks=(layers.StackedRNNCells,),
        activations=activation_functions(activations, {"hard_sigmoid": Activation.KERAS2_HARD_SIGMOID}),
    )


def _time_distributed(model: Any) -> list[Any]:
    import tf_keras

    return [layer for layer in model._flatten_layers() if type(layer) is tf_keras.layers.TimeDistributed]


@functools.cache
def _calls_of_keras() -> frozenset[Callable[..., Any]]:
    from tf_keras import layers
    from tf_keras.src.layers.rnn import gru_v1, lstm_v1

    kinds = (layers.RNN, layers.SimpleRNN, layers.LSTM, layers.GRU, lstm_v1.LSTM, gru_v1.GRU)
    return frozenset(kind.call for kind in kinds)


def _marked_call(layer: Any) -> Callable[..., Any]:
    """Return the replacement of ``layer.call``."""
    import tensorflow as tf

    def call(
        inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None, constants: Any = None
    ) -> Any:
        if isinstance(mask, list | tuple):
            mask = tf.nest.flatten(mask)[0]
        sequences = inputs[0] if isinstance(inputs, list) else inputs
        cell = describe(layer.cell, _library())
        if (
            cell is None
            or training
            or layer._num_constants
            or not is_markable(sequences, mask, unroll=layer.unroll)
        ):
            given = {} if constants is None else {"constants": constants}
            return type(layer).call(
                layer, inputs, mask=mask, training=training, initial_state=initial_state, **given
            )
        sequences, state, _ = layer._process_inputs(inputs, initial_state, constants)
        loop = LayerLoop(
            name=layer.name,
            cell=cell,
            sequences=sequences,
            mask=mask,
            initial_state=tuple(tf.nest.flatten(state)),
            time_major=layer.time_major,
            go_backwards=layer.go_backwards,
            zero_output_for_mask=bool(layer.zero_output_for_mask),
        )
        outputs, final = run_marked(loop)
        output = outputs if layer.return_sequences else last_output(loop, outputs, final)
        return [output, *tf.nest.pack_sequence_as(state, final)] if layer.return_state else output

    return without_autograph(call)
