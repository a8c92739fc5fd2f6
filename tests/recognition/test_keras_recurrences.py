"""Layers of Keras 3 and tf_keras as TensorFlow functions: their loops are recognised by what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.convert import compile_source
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

LSTM, GRU = "lstm(units=4, activation=tanh)", "gru(units=4, activation=tanh"
LAYERS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "lstm": ("LSTM", {}, (LSTM,)),
    "lstm of sequences": ("LSTM", {"return_sequences": True}, (LSTM,)),
    "lstm backwards": ("LSTM", {"return_sequences": True, "go_backwards": True}, (LSTM,)),
    "lstm hard": (
        "LSTM",
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
        ("lstm(units=4, activation=softsign, recurrent_activation={hard})",),
    ),
    "gru": ("GRU", {"return_sequences": True}, (f"{GRU}, reset_after)",)),
    "gru before": ("GRU", {"reset_after": False}, (f"{GRU})",)),
    "rnn": ("SimpleRNN", {"return_sequences": True}, ("rnn(units=4, activation=tanh)",)),
    "rnn gelu": ("SimpleRNN", {"activation": "gelu"}, ("rnn(units=4, activation=gelu)",)),
}
HARD = {"keras": "hard_sigmoid", "tf_keras": "keras2_hard_sigmoid"}
"""The two libraries mean different lines by one name."""
SAMPLE = [("keras", "lstm backwards"), ("tf_keras", "lstm hard"), ("keras", "gru")]
REST = [(keras, name) for keras in ("keras", "tf_keras") for name in LAYERS if (keras, name) not in SAMPLE]


def _check(library: str, name: str, time: int | None, pool: WorkerPool) -> None:
    import tensorflow as tf

    keras = pytest.importorskip(library)
    kind, options, cells = LAYERS[name]
    layer = getattr(keras.layers, kind)(4, **options)
    layer.build((None, time, 5))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.standard_normal(array.shape) * 0.5 for array in layer.get_weights()])

    @tf.function(input_signature=[tf.TensorSpec([None, time, 5], name="x")], autograph=False)
    def model(x: Any) -> dict[str, Any]:
        return {"y": layer(x)}

    converted = compile_source(model)
    expected = tuple(cell.format(hard=HARD[library]) for cell in cells)
    assert tuple(record.cell for record in converted.report.lowerings) == expected
    cases = [
        {"x": rng.standard_normal((batch, time or steps, 5)).astype(np.float32)}
        for batch, steps in ((2, 5), (1, 8))
    ]
    report = compare(
        converted.model, lambda inputs: {"y": np.asarray(model(**inputs)["y"])}, cases, pool=pool, runtimes=QUICK
    )
    assert report.ok, str(report)


@pytest.mark.parametrize(("library", "name"), SAMPLE)
def test_a_layer_is_recognised(library: str, name: str, pool: WorkerPool) -> None:
    _check(library, name, None, pool)


@pytest.mark.exhaustive
@pytest.mark.parametrize("time", [None, 6])
@pytest.mark.parametrize(("library", "name"), REST)
def test_every_layer_is_recognised(library: str, name: str, time: int | None, pool: WorkerPool) -> None:
    _check(library, name, time, pool)
