"""Frozen graphs that no TensorFlow can import are refused in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from converter.convert import compile_source
from converter.errors import SourceError
from converter.sources import FrozenGraph


def graph() -> Any:
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [2, 3], name="x")
        tf.nn.relu(tf.matmul(x, tf.ones([3, 4]), name="product"), name="y")
    return made.as_graph_def()


def node(definition: Any, name: str) -> Any:
    return next(node for node in definition.node if node.name == name)


def with_cycle(definition: Any) -> None:
    node(definition, "product").input[0] = "y"


def with_missing_input(definition: Any) -> None:
    node(definition, "product").input[0] = "nobody"


def with_missing_port(definition: Any) -> None:
    node(definition, "y").input[0] = "product:7"


def with_negative_size(definition: Any) -> None:
    node(definition, "x").attr["shape"].shape.dim[0].size = -7


def with_another_type(definition: Any) -> None:
    node(definition, "product").attr["T"].type = tf.int32.as_datatype_enum


def with_an_input_less(definition: Any) -> None:
    del node(definition, "product").input[1]


def with_inputs_without_end(definition: Any) -> None:
    node(definition, "product").op = "ConcatV2"
    node(definition, "product").attr["N"].i = (1 << 31) - 1


def with_outputs_without_end(definition: Any) -> None:
    node(definition, "product").op = "Split"
    node(definition, "product").attr["num_split"].i = (1 << 31) - 1


@pytest.mark.parametrize(
    "damage",
    [
        with_cycle,
        with_missing_input,
        with_missing_port,
        with_negative_size,
        with_another_type,
        with_an_input_less,
        with_inputs_without_end,
        with_outputs_without_end,
    ],
)
def test_a_damaged_graph_is_refused(damage: Callable[[Any], None], tmp_path: Path) -> None:
    definition = graph()
    damage(definition)
    path = tmp_path / "graph.pb"
    path.write_bytes(definition.SerializeToString())
    with pytest.raises(SourceError):
        compile_source(FrozenGraph(path, outputs=["y"]))


def test_a_placeholder_with_a_default_can_be_set(tmp_path: Path) -> None:
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 5], name="x")
        keep = tf.compat.v1.placeholder_with_default(0.5, [], name="keep_prob")
        tf.identity(tf.compat.v1.nn.dropout(x, keep_prob=keep), name="y")
    path = tmp_path / "dropout.pb"
    path.write_bytes(made.as_graph_def().SerializeToString())
    report = compile_source(FrozenGraph(path, outputs=["y"])).report
    assert "results differ from run to run: the model has RANDOM_UNIFORM" in str(report)
    kept = compile_source(FrozenGraph(path, outputs=["y"], constants={"keep_prob": 1.0})).report
    assert "RANDOM_UNIFORM" not in kept.op_counts
    assert "differ from run to run" not in str(kept)
