"""Live Keras models: how their inputs and outputs are called, what stays as it was, and what is refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tflite_rnn as rnn
from converter.importers.keras import is_keras_model
from converter.opening import open_source
from tests.importers.keras.networks import LSTM, randomized
from tflite_rnn.runtime import TF_LITE, Runtime, WorkerPool

both = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])


def subclass(library: ModuleType) -> Any:
    class Tagger(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = library.layers.LSTM(4, return_sequences=True)
            self.dense = library.layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            hidden = self.recurrent(inputs)
            return {"tags": self.dense(hidden), "hidden": hidden}

    return Tagger()


def test_four_lstms_of_128_units_from_keras_3_are_four_fused_ops(pool: WorkerPool) -> None:
    layers = [keras.layers.LSTM(128, return_sequences=index < 3) for index in range(4)]
    model = keras.Sequential([keras.layers.Input((100, 13)), *layers])
    converted = rnn.convert(model)
    assert converted.report.op_counts[LSTM] == 4
    assert "WHILE" not in converted.report.op_counts
    report = rnn.check(converted, model, runtimes=[Runtime(TF_LITE)], pool=pool)
    assert report.ok, str(report)


@both
def test_inputs_and_outputs_are_called_by_their_layers(library: ModuleType) -> None:
    layers = library.layers
    words, lengths = layers.Input((None, 3), name="words in"), layers.Input((4,), name="context")
    output, *state = layers.LSTM(4, return_state=True, name="memory")(words, initial_state=[lengths, lengths])
    model = library.Model([words, lengths], [layers.Dense(2, name="scores")(output), *state])
    source = open_source(model)
    assert source.input_names == ("words_in", "context")
    assert source.output_names == ("scores", "memory", "memory_1")
    main = rnn.convert(source).program.main
    assert {value.name: value.type.shape for value in main.inputs} == {
        "words_in": (None, None, 3),
        "context": (None, 4),
    }


@both
def test_a_dictionary_that_a_model_returns_names_its_outputs(library: ModuleType) -> None:
    x = library.layers.Input((None, 3), name="x")
    output, h, _ = library.layers.LSTM(4, return_state=True)(x)
    source = open_source(library.Model({"x": x}, {"b": output, "a": h}))
    assert source.output_names == ("a", "b")


@both
def test_a_subclassed_model_that_was_called_is_converted(library: ModuleType) -> None:
    model = subclass(library)
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    expected = model(x)
    source = open_source(randomized(model))
    (name,) = source.input_names
    expected = model(x)
    for output, array in source({name: x}).items():
        np.testing.assert_allclose(array, expected[output], atol=1e-6)
    assert rnn.convert(source).report.op_counts[LSTM] == 1


@both
def test_a_model_that_was_never_built_is_refused(library: ModuleType) -> None:
    for model in (subclass(library), library.Sequential([library.layers.LSTM(3)])):
        with pytest.raises(rnn.SourceError, match="has not been built"):
            rnn.convert(model)


@both
def test_a_stateful_layer_starts_from_zero_and_the_report_says_so(library: ModuleType) -> None:
    layer = library.layers.LSTM(4, stateful=True, name="memory")
    model = randomized(library.Sequential([library.layers.Input(batch_shape=(2, 5, 3)), layer]))
    x = np.ones((2, 5, 3), np.float32)
    layer.reset_states()
    expected = np.asarray(model(x))
    source = open_source(model)
    for _ in range(2):
        np.testing.assert_allclose(*source({source.input_names[0]: x}).values(), expected, atol=1e-6)
    assert "memory is stateful" in str(rnn.convert(model).report)
    assert not rnn.convert(model, state="explicit").report.notes
    assert layer.stateful
    assert not np.allclose(model(x), expected)


@both
def test_the_layers_are_what_they_were(library: ModuleType) -> None:
    layer = library.layers.LSTM(4)
    model = library.Sequential([library.layers.Input((None, 3)), library.layers.Bidirectional(layer)])
    before = {id(part): set(vars(part)) for part in model._flatten_layers()}
    rnn.convert(model)
    for part in model._flatten_layers():
        # Cells of Keras 3 get a place for dropout masks when they are first called.
        assert {name for name in vars(part) if not name.endswith("dropout_mask")} == before[id(part)]


@both
def test_weights_of_another_precision_are_refused_by_layer(library: ModuleType) -> None:
    layer = library.layers.LSTM(4, dtype="float16", name="half")
    model = library.Sequential([library.layers.Input((None, 3)), layer])
    with pytest.raises(
        rnn.ConversionError, match=r"half, .*lstm_cell: the layer's weights are float16.*\[float32-only\]"
    ):
        rnn.convert(model)


@both
def test_layers_of_mixed_precision_compute_in_float32(library: ModuleType, pool: WorkerPool) -> None:
    layer = library.layers.LSTM(4, dtype="mixed_float16", name="half")
    model = library.Sequential([library.layers.Input((None, 3)), layer])
    report = rnn.check(rnn.convert(model), model, runtimes=[Runtime("ai-edge-litert")], pool=pool)
    assert report.ok, str(report)
    assert layer.compute_dtype == "float16"


@both
def test_a_cell_of_ones_own_is_not_taken_for_the_one_it_was_made_from(
    library: ModuleType, pool: WorkerPool
) -> None:

    class Louder(library.layers.LSTMCell):
        def call(self, *args: Any, **kwargs: Any) -> Any:
            output, state = super().call(*args, **kwargs)
            return 2.0 * output, state

    model = library.Sequential([library.layers.Input(batch_shape=(2, 5, 3)), library.layers.RNN(Louder(4))])
    report = rnn.check(rnn.convert(model), model, runtimes=[Runtime("ai-edge-litert")], pool=pool)
    assert report.ok, str(report)


def test_a_variable_that_the_model_changes_is_refused() -> None:
    class Counting(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            self.count.assign(self.count + 1.0)
            return x + self.count

    model = keras.Sequential([keras.layers.Input((3,)), Counting()])
    with pytest.raises(rnn.ConversionError, match="constant-weights"):
        rnn.convert(model)


def test_tf_keras_beside_keras_does_not_change_what_tf_keras_means() -> None:
    assert tf.keras.layers.LSTM is keras.layers.LSTM
    assert is_keras_model(keras.Sequential())
    assert is_keras_model(tf_keras.Sequential())
    assert not is_keras_model(keras.layers.LSTM(3))


def test_check_takes_a_keras_model_for_what_it_is(pool: WorkerPool) -> None:
    model = keras.Sequential([keras.layers.Input((None, 3)), keras.layers.GRU(4)])
    report = rnn.check(rnn.convert(model), model, runtimes=[Runtime(TF_LITE)], pool=pool)
    assert report.ok, str(report)
