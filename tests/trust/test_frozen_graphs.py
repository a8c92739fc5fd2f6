"""Frozen graphs that act or read: refused before TensorFlow imports them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import tflite_rnn as rnn
from converter.importers.graph_check import check_graph
from tests.frozen_graphs import frozen_lstm
from tests.trust.canaries import Canary
from tests.trust.refusals import Hostility

tf1 = tf.compat.v1
Act = Callable[[Any, Canary], Any]


def read(x: Any, canary: Canary) -> Any:
    return x + tf.cast(tf.strings.length(tf.io.read_file(str(canary.secret))), tf.float32)


def write(x: Any, canary: Canary) -> Any:
    with tf1.control_dependencies([tf.io.write_file(str(canary.written), "written")]):
        return tf.identity(x)


def run_python(x: Any, canary: Canary) -> Any:
    return tf1.py_func(lambda array: array, [x], tf.float32)


def read_queue(x: Any, canary: Canary) -> Any:
    queue = tf.queue.FIFOQueue(1, tf.string, shapes=[[]])
    reader = tf1.WholeFileReader()
    return x + tf.cast(tf.strings.length(reader.read(queue).value), tf.float32)


def map_memory(x: Any, canary: Canary) -> Any:
    return x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[3], memory_region_name=str(canary.secret))


def sample_from_file(x: Any, canary: Canary) -> Any:
    sampled = tf.raw_ops.FixedUnigramCandidateSampler(
        true_classes=[[0]], num_true=1, num_sampled=1, unique=True, range_max=1, vocab_file=str(canary.secret)
    )
    return x + tf.cast(sampled[0][0], tf.float32)


def restore(x: Any, canary: Canary) -> Any:
    return x + tf.raw_ops.RestoreV2(
        prefix=str(canary.secret), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )


def print_to_file(x: Any, canary: Canary) -> Any:
    with tf1.control_dependencies([tf.print("written", output_stream=canary.written.as_uri())]):
        return tf.identity(x)


ACTS: list[Act] = [read, write, run_python, read_queue, map_memory, sample_from_file, restore, print_to_file]


def graph_of(act: Act, canary: Canary) -> Any:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [2, 3], "x")
        tf.identity(act(x, canary), "y")
        return graph.as_graph_def()


@pytest.mark.parametrize("act", ACTS)
def test_a_graph_that_acts_is_refused(act: Act, tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(graph_of(act, canary).SerializeToString())
    hostility.assert_refused(path, "do more than compute")


def test_an_act_in_the_library_is_refused(tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    graph = graph_of(lambda x, _: tf.tanh(x), canary)
    function = graph.library.function.add()
    function.signature.name = "unused"
    node = function.node_def.add()
    node.name, node.op = "write", "WriteFile"
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.SerializeToString())
    hostility.assert_refused(path, "WriteFile (write in the function unused)")


def test_graphs_that_only_compute_pass(canary: Canary) -> None:
    for graph in (
        graph_of(lambda x, _: tf.tanh(x), canary),
        frozen(frozen_lstm()),
        frozen(frozen_lstm(keep_prob=True)),
    ):
        check_graph(graph, "graph.pb")
    with pytest.raises(rnn.SourceError, match="WriteFile"):
        check_graph(graph_of(write, canary), "graph.pb")


def frozen(data: bytes) -> Any:
    graph = tf1.GraphDef()
    graph.ParseFromString(data)
    return graph
