"""Keras models that raise the rate of time, chunk by chunk: their outputs are those of Keras on the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tflite_rnn as rnn
from converter.errors import ConversionError
from converter.rules import Rule
from tests.runtimes import QUICK, skip_if_missing
from tflite_rnn.runtime import AI_EDGE_LITERT, MICRO, Runtime, Stream, StreamError, WorkerPool, read_metadata

LITERT = Runtime(AI_EDGE_LITERT)
SEQUENCE, HEIGHT, WIDTH = (None, 3), (None, 6, 3), (6, None, 3)
Made = Callable[[Any], Any]


def chain(*parts: Any) -> Made:
    def call(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return call


def unet(down: Any, up: Any, join: Any, *inner: Any) -> Made:
    """A skip over half the rate."""

    def call(x: Any) -> Any:
        x = layers.Conv1D(4, 3, padding="causal", activation="relu", bias_initializer="ones")(x)
        return layers.Conv1D(3, 5, padding="same")(join([x, chain(down, *inner, up)(x)]))

    return call


def deep_unet(x: Any) -> Any:
    """Two levels, and a recurrence at the bottom."""
    first = layers.Conv1D(4, 5, padding="same", activation="relu")(x)
    second = layers.Conv1D(6, 3, strides=2, padding="same", activation="relu")(first)
    third = layers.Conv1D(6, 4, strides=2, padding="same", activation="relu")(second)
    third = layers.LSTM(6, return_sequences=True)(third)
    third = layers.Add()([second, layers.Conv1DTranspose(6, 4, strides=2, padding="same")(third)])
    upper = layers.Conv1D(4, 3, padding="same")(layers.UpSampling1D(2)(third))
    return layers.Dense(2)(layers.Concatenate()([first, upper]))


def transposed(size: int, stride: int, padding: str, **options: Any) -> Any:
    return layers.Conv1DTranspose(2, size, strides=stride, padding=padding, bias_initializer="ones", **options)


MODELS: dict[str, tuple[tuple[int | None, ...], Made]] = {
    "valid": (SEQUENCE, transposed(5, 2, "valid")),
    "same": (SEQUENCE, transposed(6, 2, "same", activation="relu")),
    "wide strides": (SEQUENCE, chain(transposed(1, 3, "valid"), transposed(2, 3, "same"))),
    "no stride": (SEQUENCE, transposed(4, 1, "same")),
    "chain": (
        SEQUENCE,
        chain(transposed(5, 2, "same"), layers.GRU(3, return_sequences=True), transposed(8, 3, "same")),
    ),
    "pooled": (
        SEQUENCE,
        chain(transposed(4, 2, "valid"), layers.Cropping1D((1, 2)), layers.GlobalAveragePooling1D()),
    ),
    "last": (SEQUENCE, chain(transposed(3, 2, "valid"), layers.LSTM(4))),
    "repeated": (SEQUENCE, chain(layers.UpSampling1D(3), layers.AveragePooling1D(3, 1, padding="same"))),
    "thinned": (SEQUENCE, chain(layers.UpSampling1D(3), layers.Conv1D(3, 3, strides=2, padding="causal"))),
    "height": (HEIGHT, layers.Conv2DTranspose(2, (5, 4), strides=(2, 3), padding="same", output_padding=(1, 2))),
    "width": (WIDTH, layers.Conv2DTranspose(2, (3, 4), strides=(1, 2), padding="valid", bias_initializer="ones")),
    "image": (HEIGHT, chain(layers.UpSampling2D((2, 3)), layers.Conv2D(2, (2, 1), padding="valid"))),
    "frames": ((None, 4, 5, 3), layers.TimeDistributed(layers.Conv2DTranspose(2, 3, strides=2, padding="same"))),
    "unet": (
        SEQUENCE,
        unet(layers.Conv1D(5, 4, strides=2, padding="same"), transposed(4, 2, "same"), layers.Concatenate()),
    ),
    "pooled unet": (SEQUENCE, unet(layers.MaxPooling1D(2), layers.UpSampling1D(2), layers.Add())),
    "deep unet": (SEQUENCE, deep_unet),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> keras.Model:
    keras.utils.set_random_seed(3)
    shape, made = MODELS[request.param]
    x = keras.Input(shape, batch_size=1 if "unet" in request.param else 3, name="x")
    return keras.Model(x, made(x), name=request.param.replace(" ", "_"))


def x_of(model: keras.Model, steps: int, seed: int = 0) -> np.ndarray:
    shape = [steps if size is None else size for size in model.inputs[0].shape]
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def streamed(stream: Stream, x: np.ndarray, axis: int, sizes: Sequence[int]) -> np.ndarray:
    """Feed ``x`` in pieces, end it, and return the only output: its last value, or its rows joined."""
    parts, start, turn = [], 0, 0
    while start < x.shape[axis]:
        stop = start + sizes[turn % len(sizes)]
        parts.append(stream.feed({"x": x.take(range(start, min(stop, x.shape[axis])), axis)}))
        start, turn = stop, turn + 1
    arrays = [next(iter(part.values())) for part in (*parts, stream.flush()) if part]
    return np.concatenate(arrays, axis) if arrays[0].ndim > 2 else arrays[-1]


@pytest.mark.parametrize("state", ["streaming", "explicit"])
def test_chunks_give_what_keras_gives(model: keras.Model, state: str, pool: WorkerPool) -> None:
    converted = rnn.convert(model, state=state, lookahead="delay", verify=False)
    metadata, axis = read_metadata(converted.model), model.inputs[0].shape.index(None)
    assert metadata is not None
    assert metadata.chunks is not None
    for runtime in QUICK:
        with pool.open(runtime, converted.model) as running:
            stream = Stream(running, metadata=metadata, batch=model.inputs[0].shape[0])
            for steps, sizes in ((1, [1]), (7, [1, 3]), (12, [5, 1]), (28, [28])):
                x = x_of(model, steps)
                stream.reset()
                if steps % metadata.chunks.lengths:
                    stream.feed({"x": x})
                    with pytest.raises(StreamError, match="takes sequences of a multiple of"):
                        stream.flush()
                    continue
                expected = np.asarray(model(x))
                for rows in metadata.chunks.outputs.values():
                    assert rows.rows_of(steps) == expected.shape[axis]
                np.testing.assert_allclose(streamed(stream, x, axis, sizes), expected, atol=1e-5)


def test_a_join_of_two_rates_names_the_lengths_that_it_takes() -> None:
    x = keras.Input((None, 3), batch_size=1)
    down = layers.Conv1D(3, 2, strides=2, padding="valid")(x)
    model = keras.Model(x, layers.Add()([x, layers.UpSampling1D(2)(down)]))
    converted = rnn.convert(model, state="streaming", lookahead="delay", verify=False)
    assert "a whole sequence: a multiple of 2 steps" in str(converted.report)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        model(np.zeros((1, 7, 3), np.float32))


def test_several_rows_per_step_are_said_to_be_so() -> None:
    x = keras.Input((None, 3), batch_size=1)
    report = rnn.convert(keras.Model(x, transposed(6, 2, "same")(x)), state="streaming", lookahead="delay").report
    assert "2 rows per step, 1 step late: the first 2 are of no step" in str(report)


@pytest.mark.parametrize(
    ("made", "rule", "complaint"),
    [
        (transposed(5, 2, "valid"), Rule.STREAMING_LOOKAHEAD, "conv1d_transpose.*its rows reach 2 steps ahead"),
        (transposed(6, 2, "same"), Rule.STREAMING_LOOKAHEAD, "conv1d_transpose.*its rows reach 1 step ahead"),
        (
            lambda x: layers.Add()([layers.UpSampling1D(2)(x)[:, :-1], layers.UpSampling1D(2)(x)[:, 2:]]),
            Rule.STREAMING_OP,
            "ADD combines sequences of which one is 1/2 steps shorter",
        ),
        (
            lambda x: layers.Concatenate()([layers.UpSampling1D(2)(x), layers.UpSampling1D(3)(x)]),
            Rule.STREAMING_OP,
            "CONCATENATION combines sequences of 1/2 and 1/3 input steps per row",
        ),
        (
            lambda x: layers.Concatenate(axis=1)([x, x]),
            Rule.STREAMING_OP,
            "CONCATENATION joins sequences one behind the other",
        ),
    ],
)
def test_what_is_not_the_whole_on_chunks_is_refused_by_name(made: Made, rule: Rule, complaint: str) -> None:
    keras.utils.clear_session()
    x = keras.Input((None, 3), batch_size=1)
    with pytest.raises(ConversionError, match=complaint) as refused:
        rnn.convert(keras.Model(x, made(x)), state="streaming")
    assert {one.rule for one in refused.value.rejections} == {rule}


@pytest.mark.parametrize("on_height", [True, False])
def test_no_size_is_computed_while_the_model_runs(on_height: bool) -> None:
    x = keras.Input((None, 6, 3) if on_height else (6, None, 3), batch_size=1)
    y = layers.Conv2DTranspose(2, (4, 4), strides=(2, 2), padding="same")(x)
    counts = rnn.convert(keras.Model(x, y), state="streaming", lookahead="delay").report.op_counts
    assert counts.keys().isdisjoint({"TRANSPOSE_CONV", "SHAPE", "PACK"})
    assert counts["CONV_2D"] == counts["TRANSPOSE"] == 2  # of the main signature and of flush


def test_a_whole_sequence_keeps_its_transposed_convolution() -> None:
    x = keras.Input((None, 3), batch_size=1)
    counts = rnn.convert(keras.Model(x, transposed(5, 2, "same")(x))).report.op_counts
    assert counts["TRANSPOSE_CONV"] == 1


def test_microcontrollers_raise_the_rate(pool: WorkerPool) -> None:
    skip_if_missing(MICRO)
    x = keras.Input((4, 3), batch_size=1, name="x")
    y = layers.Conv1DTranspose(2, 5, strides=2, padding="same")(layers.Conv1D(4, 3, padding="causal")(x))
    model = keras.Model(x, layers.LSTM(3, return_sequences=True)(y))
    converted = rnn.convert(model, state="streaming", target="tflm", lookahead="delay")
    array = x_of(model, 4)
    with pool.open(Runtime(MICRO), converted.model) as running:
        found = streamed(Stream(running, metadata=read_metadata(converted.model)), array, 1, [1, 3])
    np.testing.assert_allclose(found, np.asarray(model(array)), atol=1e-5)
