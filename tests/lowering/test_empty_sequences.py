"""Sequences without steps and batches without rows give outputs without elements, from loops as from fused ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from converter.convert import compile_source
from converter.options import ConvertOptions
from tests.runtimes import QUICK
from tests.unknown_cells import Leaky
from tflite_rnn import nn
from tflite_rnn.runtime import WorkerPool, compare

DEPTH = 3


CELLS = {
    "lstm": lambda: nn.LSTMCell(4),
    "gru": lambda: nn.GRUCell(4),
    "rnn": lambda: nn.BasicRNNCell(4),
    "layer norm": lambda: nn.LayerNormBasicLSTMCell(4),
    "unknown": lambda: Leaky(DEPTH),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("has_lengths", [True, False])
def test_no_steps_and_no_rows(cell: str, time_major: bool, has_lengths: bool, pool: WorkerPool) -> None:
    made = CELLS[cell]()

    @tf.function(input_signature=[tf.TensorSpec([None, None, DEPTH], name="x")])
    def run(x: tf.Tensor) -> dict[str, Any]:
        rows, steps = (tf.shape(x)[axis] for axis in ((1, 0) if time_major else (0, 1)))
        lengths = tf.fill([rows], steps // 2) if has_lengths else None
        y, state = nn.dynamic_rnn(made, x, lengths, dtype=tf.float32, time_major=time_major)
        return {"y": y, "h": tf.nest.flatten(state)[-1]}

    converted = compile_source(run, ConvertOptions.parse(lowering="while" if cell in {"lstm", "rnn"} else "auto"))

    def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in run(tf.constant(inputs["x"])).items()}

    rng = np.random.default_rng(0)
    shapes = ((0, 2, DEPTH), (2, 0, DEPTH), (0, 0, DEPTH), (3, 2, DEPTH))
    cases = [{"x": rng.standard_normal(shape).astype(np.float32)} for shape in shapes]
    report = compare(converted.model, reference, cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)
