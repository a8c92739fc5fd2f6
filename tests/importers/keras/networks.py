"""Keras models for the tests: every recurrent layer with its options, for Keras 3 and tf_keras alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.ir import Array

LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"
BOTH_LSTM, BOTH_RNN = "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"
DEPTH, UNITS, WORDS = 3, 4, 11
TIME = 9

ACTIVATIONS_OF_KERAS2 = (
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "linear",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "softplus",
    "softsign",
    "swish",
)
ACTIVATIONS_OF_KERAS3 = (
    *ACTIVATIONS_OF_KERAS2,
    "celu",
    "hard_shrink",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "relu6",
    "soft_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh_shrink",
)


@dataclass(frozen=True)
class Case:
    """A model to build with one Keras, and how many fused ops it must become: none of a kind if not said."""

    build: Callable[[Any], Any]
    fused: Mapping[str, int] = field(default_factory=dict)
    batches: tuple[int, ...] = (1, 5)


def cases(activations: tuple[str, ...]) -> dict[str, Case]:
    table = {
        **_flags("LSTM", {LSTM: 1}),
        **_flags("SimpleRNN", {RNN: 1}),
        **_flags("GRU", {}),
        **_options("LSTM", {LSTM: 1}),
        **_options("SimpleRNN", {RNN: 1}),
        **_options("GRU", {}),
        **_masked(),
        **_bidirectional(),
        **_cells(),
        **_arrangements(),
    }
    for name in activations:
        is_fused = name in ("relu", "relu6")
        table[f"lstm {name}"] = _layer("LSTM", {LSTM: 1} if is_fused else {}, activation=name)
    for name in ("hard_sigmoid", "relu"):
        table[f"gru gates {name}"] = _layer("GRU", {}, recurrent_activation=name, reset_after=False)
        table[f"lstm gates {name}"] = _layer("LSTM", {}, recurrent_activation=name)
    table["rnn linear"] = _layer("SimpleRNN", {RNN: 1}, activation=None)
    table["rnn softsign"] = _layer("SimpleRNN", {}, activation="softsign")
    return table


def randomized(model: Any, seed: int = 0) -> Any:
    """Give a model weights of which none is zero or one."""
    rng = np.random.default_rng(seed)
    model.set_weights([(rng.standard_normal(w.shape) * 0.4).astype(w.dtype) for w in model.get_weights()])
    return model


def inputs_of(model: Any, batch: int, seed: int = 0) -> list[Array]:
    """Random inputs, some of whose steps are what `Masking` and ``mask_zero`` skip."""
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor in model.inputs:
        shape = [size or TIME for size in tensor.shape[1:]]
        if "bool" in str(tensor.dtype):
            arrays.append(rng.random((batch, *shape)) < 0.5)
            continue
        if "int" in str(tensor.dtype):
            arrays.append(rng.integers(0, 3, (batch, *shape)).astype(np.int32))
            continue
        values = rng.standard_normal((batch, *shape)).astype(np.float32)
        if len(shape) > 1:
            values[rng.random(values.shape[:2]) < 0.4] = 0.0
        arrays.append(values)
    return arrays


def _sequential(keras: Any, *layers: Any, batch: int | None = None, time: int | None = None) -> Any:
    options = {"shape": (time, DEPTH)} if batch is None else {"batch_shape": (batch, time, DEPTH)}
    return keras.Sequential([keras.layers.Input(**options), *layers])


def _layer(name: str, fused: Mapping[str, int], *, time: int | None = None, **options: Any) -> Case:
    def build(keras: Any) -> Any:
        x = keras.layers.Input((time, DEPTH))
        return keras.Model(x, getattr(keras.layers, name)(UNITS, **options)(x))

    return Case(build, fused)


def _flags(name: str, fused: Mapping[str, int]) -> dict[str, Case]:
    table = {}
    for sequences in (False, True):
        for state in (False, True):
            for backwards in (False, True):
                flags = {"return_sequences": sequences, "return_state": state, "go_backwards": backwards}
                called = " ".join([name, *(flag for flag, given in flags.items() if given)])
                table[called] = _layer(name, fused, **flags)
    return table


def _options(name: str, fused: Mapping[str, int]) -> dict[str, Case]:
    table = {
        f"{name} use_bias=False": _layer(name, fused, use_bias=False),
        f"{name} unroll": _layer(name, fused, unroll=True, return_sequences=True, time=TIME),
        f"{name} dropout": _layer(name, fused, dropout=0.3, recurrent_dropout=0.2, return_sequences=True),
        f"{name} fixed shapes": Case(
            lambda keras: _sequential(keras, getattr(keras.layers, name)(UNITS), batch=2, time=TIME), fused, (2,)
        ),
        f"{name} stateful": Case(
            lambda keras: _sequential(keras, getattr(keras.layers, name)(UNITS, stateful=True), batch=2),
            fused,
            (2,),
        ),
        f"{name} initial_state": Case(lambda keras: _with_state(keras, name), fused),
        f"{name} initial_state masked": Case(lambda keras: _with_state(keras, name, masked=True)),
        f"{name} large": _layer(name, fused, return_sequences=True),
    }
    if name == "GRU":
        for bias in (True, False):
            table[f"GRU reset_after=False use_bias={bias}"] = _layer(name, {}, reset_after=False, use_bias=bias)
    return table


def _with_state(keras: Any, name: str, *, masked: bool = False) -> Any:
    x = keras.layers.Input((None, DEPTH))
    states = [keras.layers.Input((UNITS,)) for _ in range(2 if name == "LSTM" else 1)]
    layer = getattr(keras.layers, name)(UNITS, return_sequences=True, return_state=True)
    if not masked:
        return keras.Model([x, *states], layer(x, initial_state=states))
    mask = keras.layers.Input((None,), dtype="bool")
    return keras.Model([x, mask, *states], layer(x, mask=mask, initial_state=states))


def _masked() -> dict[str, Case]:
    def masking(name: str, **options: Any) -> Callable[[Any], Any]:
        return lambda keras: _sequential(
            keras, keras.layers.Masking(), getattr(keras.layers, name)(UNITS, **options)
        )

    def embedding(keras: Any) -> Any:
        words = keras.layers.Input((None,), dtype="int32")
        x = keras.layers.Embedding(WORDS, DEPTH, mask_zero=True)(words)
        x = keras.layers.LSTM(UNITS, return_sequences=True)(x)
        return keras.Model(words, keras.layers.GRU(UNITS)(x))

    def zero_output(keras: Any) -> Any:
        cell = keras.layers.LSTMCell(UNITS)
        layer = keras.layers.RNN(cell, return_sequences=True, zero_output_for_mask=True)
        return _sequential(keras, keras.layers.Masking(), layer)

    table = {}
    for name in ("LSTM", "GRU", "SimpleRNN"):
        table[f"masked {name}"] = Case(masking(name))
        table[f"masked {name} return_sequences"] = Case(masking(name, return_sequences=True))
        table[f"masked {name} go_backwards"] = Case(masking(name, return_sequences=True, go_backwards=True))
    table["embedding"] = Case(embedding)
    table["zero_output_for_mask"] = Case(zero_output)
    return table


def _bidirectional() -> dict[str, Case]:
    def wrapped(name: str, options: Mapping[str, Any], mode: str | None, masked: bool = False) -> Case:
        def build(keras: Any) -> Any:
            layers = keras.layers
            x = layers.Input((None, DEPTH))
            sequences = layers.Masking()(x) if masked else x
            both = layers.Bidirectional(getattr(layers, name)(UNITS, **options), merge_mode=mode)
            return keras.Model(x, both(sequences))

        pairs = {"LSTM": {BOTH_LSTM: 1}, "SimpleRNN": {BOTH_RNN: 1}}
        return Case(build, {} if masked else pairs.get(name, {}))

    sequences = {"return_sequences": True}
    table = {
        f"bidirectional LSTM {mode} {'sequences' if options else 'last'}": wrapped("LSTM", options, mode)
        for mode in ("concat", "sum", "ave", "mul", None)
        for options in ({}, sequences)
    }
    for name in ("GRU", "SimpleRNN"):
        table[f"bidirectional {name}"] = wrapped(name, sequences, "concat")
    table["bidirectional state"] = wrapped("LSTM", {**sequences, "return_state": True}, "concat")
    table["bidirectional masked"] = wrapped("LSTM", sequences, "concat", masked=True)
    table["bidirectional masked last"] = wrapped("GRU", {}, "sum", masked=True)
    return table


def _cells() -> dict[str, Case]:
    def rnn(names: tuple[str, ...], **options: Any) -> Callable[[Any], Any]:
        def build(keras: Any) -> Any:
            cells = [getattr(keras.layers, name)(UNITS + index) for index, name in enumerate(names)]
            x = keras.layers.Input((None, DEPTH))
            return keras.Model(x, keras.layers.RNN(cells if len(cells) > 1 else cells[0], **options)(x))

        return build

    both = {"return_sequences": True, "return_state": True}
    return {
        "RNN(LSTMCell)": Case(rnn(("LSTMCell",), **both), {LSTM: 1}),
        "RNN(GRUCell)": Case(rnn(("GRUCell",), **both)),
        "RNN(SimpleRNNCell)": Case(rnn(("SimpleRNNCell",), go_backwards=True), {RNN: 1}),
        "RNN(two LSTMCells)": Case(rnn(("LSTMCell", "LSTMCell"), **both), {LSTM: 2}),
        "RNN(three kinds)": Case(rnn(("SimpleRNNCell", "GRUCell", "LSTMCell"), **both), {RNN: 1}),
    }


def _arrangements() -> dict[str, Case]:
    def stack(keras: Any) -> Any:
        layers = keras.layers
        return _sequential(
            keras,
            layers.LSTM(UNITS, return_sequences=True),
            layers.SimpleRNN(UNITS, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
            layers.LSTM(UNITS),
            layers.Dense(2, activation="softmax"),
        )

    def shared(keras: Any) -> Any:
        layers = keras.layers
        left, right = layers.Input((None, DEPTH)), layers.Input((None, DEPTH))
        lstm = layers.LSTM(UNITS)
        return keras.Model([left, right], layers.Concatenate()([lstm(left), lstm(right)]))

    def encoder_decoder(keras: Any) -> Any:
        layers = keras.layers
        source, target = layers.Input((None, DEPTH)), layers.Input((None, DEPTH))
        _, h, c = layers.LSTM(UNITS, return_state=True)(source)
        decoded = layers.LSTM(UNITS, return_sequences=True)(target, initial_state=[h, c])
        return keras.Model([source, target], layers.Dense(2)(decoded))

    def nested(keras: Any) -> Any:
        inner = _sequential(keras, keras.layers.LSTM(UNITS, return_sequences=True))
        x = keras.layers.Input((None, DEPTH))
        return keras.Model(x, keras.layers.SimpleRNN(UNITS)(inner(x)))

    def distributed(keras: Any) -> Any:
        x = keras.layers.Input((2, TIME, DEPTH))
        return keras.Model(x, keras.layers.TimeDistributed(keras.layers.LSTM(UNITS))(x))

    def convolved(keras: Any) -> Any:
        layers = keras.layers
        return _sequential(keras, layers.Conv1D(5, 3, padding="same"), layers.LSTM(UNITS), time=TIME)

    def softmax(keras: Any) -> Any:
        return _sequential(keras, keras.layers.LSTM(UNITS, activation="softmax"), batch=2, time=TIME)

    def own_function(keras: Any) -> Any:
        layer = keras.layers.GRU(UNITS, activation=lambda x: x / (2.0 + x * x))
        return _sequential(keras, layer, batch=2, time=TIME)

    return {
        "stack": Case(stack, {LSTM: 2, RNN: 1}),
        "shared layer": Case(shared, {LSTM: 2}),
        "encoder and decoder": Case(encoder_decoder, {LSTM: 2}),
        "nested model": Case(nested, {LSTM: 1, RNN: 1}),
        "TimeDistributed(LSTM)": Case(distributed, {LSTM: 1}),
        "convolution before": Case(convolved, {LSTM: 1}),
        "softmax, unmarked": Case(softmax, {}, (2,)),
        "a function of one's own, unmarked": Case(own_function, {}, (2,)),
    }
