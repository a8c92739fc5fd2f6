"""Every recurrent layer of both Keras with its options: its fused ops, and parity with ``model.predict``."""

from __future__ import annotations

from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tflite_rnn as rnn
from converter.ir import Array
from converter.opening import open_source
from tests.importers.keras.networks import (
    ACTIVATIONS_OF_KERAS2,
    ACTIVATIONS_OF_KERAS3,
    Case,
    cases,
    inputs_of,
    randomized,
)
from tests.runtimes import INSTALLED
from tflite_rnn.runtime import WorkerPool, compare

LIBRARIES = ((keras, ACTIVATIONS_OF_KERAS3), (tf_keras, ACTIVATIONS_OF_KERAS2))
DELEGATED = [runtime for runtime in INSTALLED if runtime.delegate]
SAMPLE = {
    ("keras", "LSTM return_sequences return_state go_backwards"),
    ("keras", "GRU reset_after=False use_bias=True"),
    ("keras", "bidirectional LSTM concat sequences"),
    ("keras", "masked LSTM go_backwards"),
    ("keras", "LSTM initial_state masked"),
    ("keras", "RNN(two LSTMCells)"),
    ("keras", "lstm mish"),
    ("tf_keras", "LSTM return_sequences return_state go_backwards"),
    ("tf_keras", "SimpleRNN stateful"),
    ("tf_keras", "embedding"),
    ("tf_keras", "lstm gates hard_sigmoid"),
    ("tf_keras", "encoder and decoder"),
}
MATRIX = [
    pytest.param(
        library,
        case,
        id=f"{library.__name__}-{name}",
        marks=() if (library.__name__, name) in SAMPLE else pytest.mark.exhaustive,
    )
    for library, activations in LIBRARIES
    for name, case in cases(activations).items()
]


def test_the_matrix_is_wide_and_its_sample_is_of_it() -> None:
    assert len(MATRIX) >= 120
    assert {(library.__name__, name) for library, names in LIBRARIES for name in cases(names)} >= SAMPLE


@pytest.mark.parametrize(("library", "case"), MATRIX)
def test_a_model_computes_what_keras_predicts(library: ModuleType, case: Case, pool: WorkerPool) -> None:
    model = randomized(case.build(library))
    before = model.get_weights()
    source = open_source(model)
    converted = rnn.convert(source)
    counts = converted.report.op_counts
    assert {kind: count for kind, count in counts.items() if "DIRECTIONAL_SEQUENCE" in kind} == dict(case.fused)

    def predicted(inputs: dict[str, Array]) -> dict[str, Array]:
        arrays = [inputs[name] for name in source.input_names]
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_states()
        got = model.predict_on_batch(arrays if len(arrays) > 1 else arrays[0])
        return dict(zip(source.output_names, map(np.asarray, tf.nest.flatten(got)), strict=True))

    inputs = [
        dict(zip(source.input_names, inputs_of(model, batch, seed=batch), strict=True)) for batch in case.batches
    ]
    report = compare(converted.model, predicted, inputs, runtimes=DELEGATED, pool=pool)
    assert report.ok, str(report)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
