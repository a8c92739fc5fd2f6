"""Makes the recordings: ``python -m tests.recorded.making`` writes all of them anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tflite_rnn as rnn
from converter.ir import Array
from converter.opening import open_source
from converter.sources import FrozenGraph, KerasModel
from tests.frozen_graphs import frozen_lstm
from tests.nn.test_own_cells import Leaky
from tests.recognition.frozen_recurrences import variants, write_frozen
from tests.recorded.recordings import CELLS, Case, Recording

DEPTH, UNITS = 5, 4
SIZES = ((3, 6), (3, 6), (2, 4), (1, 1))  # batch and time
FIXED = frozenset({"tf1-stack-fixed", "tf1-dropout-fixed", "keras-loop-both-directions", "while-largest"})
"""Models of the first size only."""
TF1 = {
    "tf1-lstm-everything-lengths": "lstm lengths",
    "tf1-gru-lengths": "gru lengths",
    "tf1-stack-lengths-state": "stack mixed lengths state",
    "tf1-stack-fixed": "stack mixed fixed",
    "tf1-residual-stack": "residual stack",
    "tf1-both-directions-lengths": "both directions lengths",
}


def make(name: str) -> Recording:
    """Make a recording with the TensorFlow that is installed."""
    tf.keras.utils.set_random_seed(7)
    with tempfile.TemporaryDirectory() as directory:
        given = _source(name, Path(directory))  # held: it holds the variables of its cells
        source = open_source(given)
        sizes = SIZES[:2] if name in FIXED else SIZES
        cases = [_case(source, seed, *size) for seed, size in enumerate(sizes)]
        return Recording(source.to_tflite(keep_lists=True), cases)


def _source(name: str, directory: Path) -> object:
    if name in TF1:
        inputs, outputs = write_frozen(variants()[TF1[name]], directory / "graph.pb")
        return FrozenGraph(directory / "graph.pb", inputs=inputs, outputs=outputs)
    if name == "tf1-dropout-fixed":
        (directory / "graph.pb").write_bytes(frozen_lstm(keep_prob=True))
        return FrozenGraph(
            directory / "graph.pb",
            outputs=("y", "h"),
            constants={"keep_prob": 1.0},
            input_shapes={"x": (*SIZES[0], DEPTH), "n": SIZES[0][:1]},
        )
    return FUNCTIONS[name]()


def _case(source: Any, seed: int, batch: int, time: int) -> Case:
    rng = np.random.default_rng(seed)
    inputs = {name: _input(rng, name, batch, time) for name in source.input_names}
    return Case(inputs, source(inputs))


def _input(rng: np.random.Generator, name: str, batch: int, time: int) -> Array:
    if name == "n":
        return rng.integers(0, time + 1, batch).astype(np.int32)
    if name == "limit":
        return np.asarray(max(time // 2, 1), np.int32)
    if name.startswith("s"):  # the states of tf1-stack-lengths-state: two of the LSTM's, the GRU's, the RNN's
        return rng.standard_normal((batch, 3 if name == "s1" else UNITS)).astype(np.float32)
    x = rng.standard_normal((batch, time, DEPTH)).astype(np.float32)
    x[0, -2:] = 0.0  # steps that are masked where a model masks
    return x


# functions -------------------------------------------------------------------------------------------------


def _of_x(run: Callable[[Any], Mapping[str, Any]], *, batch: int | None = None, time: int | None = None) -> Any:
    return tf.function(
        run, input_signature=[tf.TensorSpec([batch, time, DEPTH], tf.float32, "x")], autograph=False
    )


def _layers(*layers: Any, time: int | None = None) -> Any:
    """Keras layers that are called as any function is: their loops are not marked."""
    model = keras.Sequential([keras.layers.Input((time, DEPTH)), *layers])
    return _of_x(lambda x: {"y": model(x)}, time=time)


def _last_of_gru() -> Any:
    dense, gru = keras.layers.Dense(6), keras.layers.GRU(UNITS, return_sequences=True)
    return _of_x(lambda x: {"y": gru(dense(x))[:, -1]})


def _masked() -> Any:
    layers = [keras.layers.Input((None, DEPTH), name="x"), keras.layers.Masking(), keras.layers.LSTM(UNITS)]
    return KerasModel(keras.Sequential(layers))


def _both_directions() -> Any:
    forward, backward = rnn.LSTMCell(UNITS), rnn.LSTMCell(UNITS)

    def run(x: Any) -> dict[str, Any]:
        outputs, _ = rnn.bidirectional_dynamic_rnn(forward, backward, x, dtype=tf.float32, time_major=False)
        return {"forward": outputs[0], "backward": outputs[1]}

    return _of_x(run)


def _stack() -> Any:
    everything = rnn.LSTMCell(UNITS, use_peepholes=True, num_proj=3, cell_clip=0.4, proj_clip=0.2)
    cell = rnn.MultiRNNCell([everything, rnn.BasicRNNCell(UNITS)])

    def run(x: Any) -> dict[str, Any]:
        y, _ = rnn.dynamic_rnn(cell, x, dtype=tf.float32, time_major=False)
        return {"y": y}

    return _of_x(run)


def _own_cell() -> Any:
    cell = Leaky()

    def run(x: Any) -> dict[str, Any]:
        y, state = rnn.dynamic_rnn(cell, x[..., :UNITS], dtype=tf.float32, time_major=False)
        return {"y": y, "state": state}

    return _of_x(run)


def _maxima(x: Any, limit: Any = None) -> dict[str, Any]:
    """The largest x so far, collected in a TensorArray; only ``limit`` steps are run."""
    x = tf.transpose(x, [1, 0, 2])
    time = tf.shape(x)[0]
    outputs = tf.TensorArray(tf.float32, size=time, element_shape=x.shape[1:])

    def body(t: Any, largest: Any, outputs: Any) -> Any:
        largest = tf.maximum(largest, x[t])
        return t + 1, largest, outputs.write(t, largest * 2.0)

    bound = time if limit is None else limit
    _, largest, outputs = tf.while_loop(lambda t, *_: t < bound, body, (0, tf.zeros_like(x[0]), outputs))
    return {"outputs": outputs.stack(), "largest": largest}


def _limited() -> Any:
    specs = [tf.TensorSpec([None, None, DEPTH], tf.float32, "x"), tf.TensorSpec([], tf.int32, "limit")]
    return tf.function(_maxima, input_signature=specs, autograph=False)


FUNCTIONS: Mapping[str, Callable[[], Any]] = {
    "keras-loop-lstm": lambda: _layers(keras.layers.LSTM(UNITS)),
    "keras-loop-both-directions": lambda: _layers(
        keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True)), time=6
    ),
    "keras-loop-dense-gru": _last_of_gru,
    "keras-marked-masked": _masked,
    "marked-both-directions": _both_directions,
    "marked-stack": _stack,
    "own-cell": _own_cell,
    "while-maxima": lambda: _of_x(_maxima),
    "while-largest": lambda: _of_x(lambda x: {"largest": _maxima(x)["largest"]}, batch=3, time=6),
    "while-limited": _limited,
}


if __name__ == "__main__":
    for recorded in CELLS:
        make(recorded).write(recorded)
