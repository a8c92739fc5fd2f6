"""A stack of known and unknown cells in one loop: the known ones are recurrences of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from converter.convert import compile_source
from converter.ir import Recurrence, Scan
from converter.options import ConvertOptions
from tests.runtimes import QUICK
from tests.unknown_cells import Leaky
from tflite_rnn import check, nn
from tflite_rnn.runtime import WorkerPool

DEPTH, UNITS = 5, 4
LIBRARIES = {"keras": keras, "tf_keras": tf_keras}


def own_cell(library: Any) -> Any:
    class Own(library.layers.Layer):  # type: ignore[misc]
        def __init__(self, units: int) -> None:
            super().__init__()
            self.state_size = self.output_size = units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], self.state_size), name="kernel")
            self.built = True

        def call(self, x: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
            state = 0.5 * states[0] + tf.cos(tf.matmul(x, self.kernel))
            return state * state, [state]

    return Own(UNITS)


STACKS = {
    "lstm, own": lambda k: [k.layers.LSTMCell(UNITS), own_cell(k)],
    "own, lstm": lambda k: [own_cell(k), k.layers.LSTMCell(3)],
    "lstm, own, own, gru": lambda k: [k.layers.LSTMCell(UNITS), own_cell(k), own_cell(k), k.layers.GRUCell(3)],
}


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(("sequences", "states", "batch"), [(True, False, 2), (False, True, None)])
def test_the_known_cells_of_a_stack_are_recognised(
    name: str, stack: str, sequences: bool, states: bool, batch: int | None, pool: WorkerPool
) -> None:
    library = LIBRARIES[name]
    library.utils.set_random_seed(2)
    cells = STACKS[stack](library)
    x = library.Input((None, DEPTH), batch_size=batch, name="x")
    layer = library.layers.RNN(cells, return_sequences=sequences, return_state=states)
    model = library.Model(x, layer(x))
    converted = compile_source(model)
    found = [type(op) for op in converted.program.main.ops if isinstance(op, Recurrence | Scan)]
    assert found.count(Recurrence) == stack.count("lstm") + stack.count("gru")
    assert found.count(Scan) == 1  # those that stand together stay in one loop
    if batch is not None:
        assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    report = check(converted, model, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("state", "has_lengths"),
    [("stateless", True), ("stateless", False), ("explicit", False), ("streaming", False)],
)
def test_a_stack_with_lengths_and_states_is_exact(state: str, has_lengths: bool, pool: WorkerPool) -> None:
    cell = nn.MultiRNNCell([nn.LSTMCell(UNITS), Leaky(UNITS)])

    @tf.function(
        input_signature=[tf.TensorSpec([2, None, DEPTH], name="x"), tf.TensorSpec([2], tf.int32, name="n")][
            : 2 if has_lengths else 1
        ]
    )
    def run(x: tf.Tensor, n: tf.Tensor | None = None) -> dict[str, Any]:
        y, states = nn.dynamic_rnn(cell, x, n, dtype=tf.float32)
        return {"y": y, "last": tf.nest.flatten(states)[-1]}

    converted = compile_source(run, ConvertOptions.parse(state=state))
    report = check(converted, run, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


def test_cells_that_read_each_other_stay_in_one_loop(pool: WorkerPool) -> None:
    """The first cell reads what the second one gave a step before."""
    kernel = np.random.default_rng(0).standard_normal((DEPTH + UNITS, UNITS)).astype(np.float32)

    class Coupled(nn.RNNCell):
        @property
        def state_size(self) -> tuple[int, int]:
            return UNITS, UNITS

        @property
        def output_size(self) -> int:
            return UNITS

        def call(self, x: tf.Tensor, state: tuple[Any, Any]) -> tuple[tf.Tensor, tuple[Any, Any]]:
            first = tf.tanh(tf.concat([x, state[1]], 1) @ kernel)
            second = tf.sin(first) - 0.5 * state[0]
            return second, (first, second)

    cell = Coupled()

    @tf.function(input_signature=[tf.TensorSpec([2, None, DEPTH], name="x")])
    def run(x: tf.Tensor) -> Any:
        return nn.dynamic_rnn(cell, x, dtype=tf.float32)[0]

    converted = compile_source(run)
    assert [type(op) for op in converted.program.main.ops if isinstance(op, Recurrence | Scan)] == [Scan]
    report = check(converted, run, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)
