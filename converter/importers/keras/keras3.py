"""Recurrent layers of Keras 3: their ``inner_loop`` is what a marked op replaces."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from converter.importers.keras.cells import Library, activation_functions, describe
from converter.importers.keras.distributing import distributed_call
from converter.importers.keras.marking import LayerLoop, is_markable, last_output, run_marked
from converter.importers.keras.overriding import overridden


@contextmanager
def tracing(model: Any, *, marked: bool) -> Iterator[None]:
    """Temporarily make the recurrent layers of ``model`` start from zero, and run marked ops if ``marked``."""
    import keras

    library = _library()
    with ExitStack() as stack:
        for layer in recurrent_layers(model):
            stack.enter_context(overridden(layer, "stateful", False))
            # Keras would draw unused masks for dropout, and so advance its random state.
            stack.enter_context(overridden(layer, "_maybe_config_dropout_masks", lambda *_: None))
            if marked and _has_loop_of_keras(layer):
                stack.enter_context(overridden(layer, "inner_loop", functools.partial(_run, layer, library)))
        for layer in _time_distributed(model) if marked else ():
            functions = [*library.activations, *_on_the_last_axis()]
            call = distributed_call(layer, keras.layers.Dense, functions, is_by_row=True)
            stack.enter_context(overridden(layer, "call", call))
        yield


def is_traced_by_shape(model: Any) -> bool:
    """Return whether Keras gives right results only if it knows the number of steps when it traces ``model``.

    TimeDistributed maps an open number of steps by tf.vectorized_map, which reads beyond the last one.
    """
    import keras

    return any(isinstance(layer, keras.layers.TimeDistributed) for layer in model._flatten_layers())


def recurrent_layers(model: Any) -> list[Any]:
    """Return every recurrent layer of ``model``, those inside other layers included."""
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


@functools.cache
def _library() -> Library:
    import keras
    from keras import layers

    return Library(
        kinds={layers.SimpleRNNCell: "keras_rnn", layers.LSTMCell: "keras_lstm", layers.GRUCell: "keras_gru"},
        stacks=(layers.StackedRNNCells,),
        activations={
            **activation_functions(keras.activations, {}),
            **activation_functions(keras.ops, {}, names=("relu", "sigmoid", "tanh")),
        },
    )


def _on_the_last_axis() -> tuple[Any, ...]:
    from keras import activations

    return activations.softmax, activations.log_softmax


def _time_distributed(model: Any) -> list[Any]:
    import keras

    return [layer for layer in model._flatten_layers() if type(layer) is keras.layers.TimeDistributed]


def _has_loop_of_keras(layer: Any) -> bool:
    from keras import layers

    known = {kind.inner_loop for kind in (layers.RNN, layers.SimpleRNN, layers.LSTM, layers.GRU)}
    return type(layer).inner_loop in known


def _run(
    layer: Any, library: Library, sequences: Any, initial_state: Any, mask: Any, training: Any = False
) -> tuple[Any, Any, Any]:
    """Replace ``layer.inner_loop``: return the last output, all outputs and the final state."""
    import keras

    cell = describe(layer.cell, library)
    only_mask = keras.tree.flatten(mask)[0] if isinstance(mask, list | tuple) else mask
    if cell is None or training or not is_markable(sequences, only_mask, unroll=layer.unroll):
        result: tuple[Any, Any, Any] = type(layer).inner_loop(
            layer, sequences, initial_state, mask=mask, training=training
        )
        return result
    loop = LayerLoop(
        name=layer.name,
        cell=cell,
        sequences=sequences,
        mask=only_mask,
        initial_state=tuple(keras.tree.flatten(initial_state)),
        time_major=False,
        go_backwards=layer.go_backwards,
        zero_output_for_mask=layer.zero_output_for_mask,
    )
    outputs, state = run_marked(loop)
    return last_output(loop, outputs, state), outputs, keras.tree.pack_sequence_as(initial_state, state)
