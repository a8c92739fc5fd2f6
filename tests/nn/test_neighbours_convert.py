"""The functions beside dynamic_rnn are made of the same recurrences: they convert to the same fused ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tflite_rnn as rnn
from tests.nn.cases import unnamed_tanh
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool

T, D, U = 5, 3, 4
LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"
CASES = [(1, T), (3, T), (2, T + 3), (1, 1)]


def lstm() -> Any:
    return rnn.LSTMCell(U, use_peepholes=True, num_proj=2)


def dynamic_inputs(time_major: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    shapes = [(steps, batch, D) if time_major else (batch, steps, D) for batch, steps in CASES]
    return [{"x": rng.normal(size=shape).astype(np.float32)} for shape in shapes]


def static_inputs() -> list[dict[str, Any]]:
    rng = np.random.default_rng(8)
    return [{f"x{t}": rng.normal(size=[batch, D]).astype(np.float32) for t in range(T)} for batch in (1, 4)]


def over_a_list(network: Any) -> tuple[Any, list[dict[str, Any]]]:
    specs = [tf.TensorSpec([None, D], tf.float32, name=f"x{t}") for t in range(T)]
    return tf.function(
        lambda *steps: network(list(steps)), input_signature=specs, autograph=False
    ), static_inputs()


def over_a_tensor(network: Any, time_major: bool) -> tuple[Any, list[dict[str, Any]]]:
    specs = [tf.TensorSpec([None, None, D], tf.float32, name="x")]
    return tf.function(network, input_signature=specs, autograph=False), dynamic_inputs(time_major)


def named(*results: Any) -> dict[str, Any]:
    return {f"r{index}": part for index, part in enumerate(tf.nest.flatten(results))}


def static() -> Any:
    cell = rnn.MultiRNNCell([lstm(), rnn.BasicRNNCell(U)])
    return over_a_list(lambda steps: named(*rnn.static_rnn(cell, steps, dtype=tf.float32)))


def static_bidirectional() -> Any:
    cells = lstm(), rnn.LSTMCell(U)
    return over_a_list(lambda steps: named(*rnn.static_bidirectional_rnn(*cells, steps, dtype=tf.float32)))


def bidirectional() -> Any:
    cells = lstm(), rnn.LSTMCell(U)

    def network(x: Any) -> Any:
        return named(*rnn.nn.bidirectional_dynamic_rnn(*cells, x, dtype=tf.float32, swap_memory=True))

    return over_a_tensor(network, time_major=False)


def bidirectional_lite() -> Any:
    cells = rnn.BasicRNNCell(U), lstm()
    return over_a_tensor(
        lambda x: named(*rnn.bidirectional_dynamic_rnn(*cells, x, dtype=tf.float32)), time_major=True
    )


def stack_bidirectional() -> Any:
    cells_fw, cells_bw = [lstm(), rnn.LSTMCell(U)], [rnn.LSTMCell(U), rnn.BasicRNNCell(2)]

    def network(x: Any) -> Any:
        return named(*rnn.stack_bidirectional_dynamic_rnn(cells_fw, cells_bw, x, dtype=tf.float32))

    return over_a_tensor(network, time_major=False)


NETWORKS = {
    "static_rnn of two cells": (static, {LSTM: 1, RNN: 1}),
    "static_bidirectional_rnn": (static_bidirectional, {LSTM: 2}),
    "bidirectional_dynamic_rnn": (bidirectional, {LSTM: 2}),
    "lite bidirectional_dynamic_rnn": (bidirectional_lite, {LSTM: 1, RNN: 1}),
    "stack_bidirectional_dynamic_rnn of two layers": (stack_bidirectional, {LSTM: 3, RNN: 1}),
}


@pytest.mark.parametrize(("build", "fused"), NETWORKS.values(), ids=NETWORKS)
def test_the_file_holds_one_fused_op_per_cell_and_computes_the_same(
    build: Any, fused: dict[str, int], pool: WorkerPool
) -> None:
    function, inputs = build()
    converted = rnn.convert(function)
    counts = converted.report.op_counts
    assert {
        op: count for op, count in counts.items() if op.startswith(("UNIDIRECTIONAL", "BIDIRECTIONAL"))
    } == fused
    assert not {"WHILE", "CUSTOM"} & set(counts)
    assert QUICK
    report = rnn.check(converted, function, inputs=inputs, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


def test_a_cell_that_is_not_marked_stays_a_loop() -> None:
    cell = rnn.LSTMCell(U, activation=unnamed_tanh)
    function, _ = over_a_list(lambda steps: named(*rnn.static_rnn(cell, steps, dtype=tf.float32)))
    graph = function.get_concrete_function().graph
    assert any(op.type in {"While", "StatelessWhile"} for op in graph.get_operations())
