"""Frozen graphs of TensorFlow 1, under control flow v1, as they were made in its time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

DEPTH, UNITS = 5, 4


@contextmanager
def control_flow_v1() -> Iterator[None]:
    """Loops of the time: Enter, Merge, Switch, NextIteration and Exit."""
    import tensorflow as tf

    was_enabled = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if was_enabled:
            tf.compat.v1.enable_control_flow_v2()


def frozen(build: Callable[[Any], None], outputs: Sequence[str]) -> bytes:
    """The GraphDef that ``build`` makes with TensorFlow 1's module, its variables frozen at random numbers."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with control_flow_v1(), warnings.catch_warnings(), tf.Graph().as_default() as graph:
        warnings.simplefilter("ignore")
        tf1.set_random_seed(7)
        build(tf1)
        with tf1.Session(graph=graph) as session:
            session.run(tf1.global_variables_initializer())
            definition = graph.as_graph_def()
            made: Any = tf1.graph_util.convert_variables_to_constants(session, definition, list(outputs))
            return bytes(made.SerializeToString())


def frozen_lstm(*, batch: int | None = None, time: int | None = None, keep_prob: bool = False) -> bytes:
    """``y`` [B, T, 4] and ``h`` [B, 4] of a dynamic_rnn over x [B, T, 5] with lengths n [B].

    With ``keep_prob``, the cell's outputs are dropped out with the probability of that placeholder.
    """

    def build(tf1: Any) -> None:
        from tensorflow.python.ops import rnn, rnn_cell_impl

        x = tf1.placeholder("float32", [batch, time, DEPTH], name="x")
        n = tf1.placeholder("int32", [batch], name="n")
        cell = rnn_cell_impl.BasicLSTMCell(UNITS)
        if keep_prob:
            kept = tf1.placeholder("float32", name="keep_prob")
            cell = rnn_cell_impl.DropoutWrapper(cell, output_keep_prob=kept)
        y, state = rnn.dynamic_rnn(cell, x, sequence_length=n, dtype="float32")
        tf1.identity(y, name="y")
        tf1.identity(state.h, name="h")

    return frozen(build, ["y", "h"])
