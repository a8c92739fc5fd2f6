"""SavedModels that act or read outside themselves when they are loaded: refused before TensorFlow loads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import tflite_rnn as rnn
from converter.importers.saved_model_check import check_saved_model
from tests.trust.canaries import Canary
from tests.trust.refusals import Hostility
from tests.trust.saved_models import (
    acting_loader,
    acting_model,
    changed,
    loading_model,
    table_model,
    variable_model,
)

COMPUTE = "do more than compute"


# --- what loading runs, in TensorFlow 2 --------------------------------------------------------------------------


def write(canary: Canary) -> Any:
    return tf.io.write_file(str(canary.written), "written")


def write_in_branch(canary: Canary) -> Any:
    return tf.cond(tf.random.uniform([]) < 2.0, lambda: (write(canary), 1)[1], lambda: 2)


def write_in_loop(canary: Canary) -> Any:
    return tf.while_loop(lambda i: i < 1, lambda i: ((write(canary), i + 1)[1],), (0,))


def write_in_function(canary: Canary) -> Any:
    return tf.function(lambda: (write(canary), tf.constant(1))[1])()


def read(canary: Canary) -> Any:
    return tf.io.read_file(str(canary.secret))


def run_python(canary: Canary) -> Any:
    return tf.py_function(lambda: canary.written.write_text("written"), [], tf.int64)


def run_numpy(canary: Canary) -> Any:
    return tf.numpy_function(lambda: canary.written.write_text("written"), [], tf.int64)


def print_to_file(canary: Canary) -> Any:
    tf.print("written", output_stream=canary.written.as_uri())


def fill_table_from_file(canary: Canary) -> Any:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    return tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=str(canary.secret), key_index=-2, value_index=-1
    )


def save_variables(canary: Canary) -> Any:
    return tf.raw_ops.SaveV2(
        prefix=str(canary.written), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )


def restore_variables(canary: Canary) -> Any:
    return tf.raw_ops.RestoreV2(
        prefix=str(canary.secret), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )


def list_files(canary: Canary) -> Any:
    return tf.io.matching_files(str(canary.secret))


def read_records(canary: Canary) -> Any:
    dataset = tf.data.TextLineDataset(str(canary.secret))
    return next(iter(dataset))


LOADING = [
    write,
    write_in_branch,
    write_in_loop,
    write_in_function,
    read,
    run_python,
    run_numpy,
    print_to_file,
    fill_table_from_file,
    save_variables,
    restore_variables,
    list_files,
    read_records,
]


@pytest.mark.parametrize("act", LOADING)
def test_an_initializer_that_acts_is_refused(
    act: Callable[[Canary], Any], tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    path = acting_loader(tmp_path / "model", lambda: act(canary))
    hostility.assert_refused(path, COMPUTE)


@pytest.mark.parametrize("act", [write, read, run_python])
def test_a_function_that_acts_is_refused(
    act: Callable[[Canary], Any], tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    path = acting_model(tmp_path / "model", lambda x: (act(canary), x + 1.0)[1])
    hostility.assert_refused(path, COMPUTE)


def test_a_function_that_only_a_gradient_names_is_refused(tmp_path: Path, hostility: Hostility) -> None:
    def change(meta_graph: Any) -> None:
        library = meta_graph.graph_def.library
        function = library.function.add()
        function.signature.name = "gradient_that_acts"
        node = function.node_def.add()
        node.name, node.op = "write", "WriteFile"
        gradient = library.gradient.add()
        gradient.function_name = library.function[0].signature.name
        gradient.gradient_func = "gradient_that_acts"

    hostility.assert_refused(changed(variable_model(tmp_path / "model"), change), "gradient_that_acts")


# --- what loading runs, in TensorFlow 1 --------------------------------------------------------------------------

LOADING1 = [act for act in LOADING if act not in (write_in_loop, write_in_function, run_python, read_records)]


def op_of(act: Callable[[Canary], Any], canary: Canary, tf1: Any) -> Any:
    """The op that acts, as a main op must be: without results."""
    before = set(tf1.get_default_graph().get_operations())
    result = act(canary)
    added = [op for op in tf1.get_default_graph().get_operations() if op not in before]
    with tf1.control_dependencies([*added] if result is None else [*added, *tf.nest.flatten(result)][-1:]):
        return tf1.no_op("main")


@pytest.mark.parametrize("legacy", [False, True], ids=["main op", "legacy init op"])
@pytest.mark.parametrize("act", LOADING1)
def test_a_main_op_that_acts_is_refused(
    act: Callable[[Canary], Any], legacy: bool, tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    path = loading_model(tmp_path / "model", lambda tf1: op_of(act, canary, tf1), legacy=legacy)
    hostility.assert_refused(path, COMPUTE)


def test_an_initializer_in_a_collection_that_acts_is_refused(
    tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    def act(tf1: Any) -> Any:
        tf1.add_to_collection(tf1.GraphKeys.TABLE_INITIALIZERS, op_of(fill_table_from_file, canary, tf1))

    hostility.assert_refused(loading_model(tmp_path / "model", act, runs_main=False), COMPUTE)


def test_reading_variables_that_writes_some_is_refused(tmp_path: Path, hostility: Hostility) -> None:
    """The op that restores the variables waits for another that saves them, with a name of its own."""

    def change(meta_graph: Any) -> None:
        restore = meta_graph.saver_def.restore_op_name
        nodes = {node.name: node for node in meta_graph.graph_def.node}
        (save,) = [node for node in nodes.values() if node.op == "SaveV2"]
        nodes[restore].input.append(f"^{save.name}")

    path = loading_model(tmp_path / "model", lambda tf1: tf1.no_op())
    hostility.assert_refused(changed(path, change), COMPUTE)


def test_variables_from_another_file_are_refused(tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    def change(meta_graph: Any) -> None:
        (restore,) = [node for node in meta_graph.graph_def.node if node.op == "RestoreV2"]
        elsewhere = meta_graph.graph_def.node.add()
        elsewhere.name, elsewhere.op = "elsewhere", "Const"
        elsewhere.attr["dtype"].type = tf.string.as_datatype_enum
        elsewhere.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(canary.secret)))
        restore.input[0] = "elsewhere"

    path = loading_model(tmp_path / "model", lambda tf1: tf1.no_op())
    hostility.assert_refused(changed(path, change), COMPUTE)


# --- its files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["climbing", "absolute", "link"])
def test_an_asset_outside_is_refused(how: str, tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    path = table_model(tmp_path / "model", vocabulary)
    if how == "link":
        (path / "assets" / "words.txt").unlink()
        (path / "assets" / "words.txt").symlink_to(canary.secret)
    else:
        climbing = os.path.relpath(canary.secret, path / "assets")
        name = str(canary.secret) if how == "absolute" else climbing

        def change(meta_graph: Any) -> None:
            meta_graph.asset_file_def[0].filename = name

        changed(path, change)
    hostility.assert_refused(path, "lies outside")


def test_variables_behind_a_link_are_refused(tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    path = variable_model(tmp_path / "model")
    (path / "variables" / "variables.index").unlink()
    (path / "variables" / "variables.index").symlink_to(canary.secret)
    hostility.assert_refused(path, "lies outside")


def test_a_second_graph_in_parts_is_refused(tmp_path: Path, hostility: Hostility) -> None:
    """TensorFlow reads saved_model.cpb first, if it is there, whatever saved_model.pb holds."""
    path = variable_model(tmp_path / "model")
    (path / "saved_model.cpb").write_bytes(b"parts")
    hostility.assert_refused(path, "saved_model.cpb")


def test_nodes_of_one_name_are_refused(tmp_path: Path, hostility: Hostility) -> None:
    def change(meta_graph: Any) -> None:
        meta_graph.graph_def.node.add().CopyFrom(meta_graph.graph_def.node[0])

    hostility.assert_refused(changed(variable_model(tmp_path / "model"), change), "have one name")


def test_a_truncated_graph_is_refused(tmp_path: Path) -> None:
    path = variable_model(tmp_path / "model")
    whole = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(rnn.SourceError):
        rnn.convert(path)


# --- negative twins --------------------------------------------------------------------------------------------


def test_variables_and_tables_with_assets_pass(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    check_saved_model(variable_model(tmp_path / "variables"))
    check_saved_model(table_model(tmp_path / "table", vocabulary))


@pytest.mark.parametrize("legacy", [False, True])
def test_models_of_tensorflow_1_pass(legacy: bool, tmp_path: Path) -> None:
    path = loading_model(tmp_path / "model", lambda tf1: tf1.tables_initializer(), legacy=legacy)
    check_saved_model(path)
    assert rnn.convert(path).report.op_counts["FULLY_CONNECTED"] == 1


def test_keras_models_pass(tmp_path: Path) -> None:
    import keras
    import tf_keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((4, 3)), layers.LSTM(3), layers.Dropout(0.5), layers.Dense(2)])
    model.export(str(tmp_path / "keras3"), verbose=False)
    check_saved_model(tmp_path / "keras3")
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((4, 3)), layers.Bidirectional(layers.GRU(3)), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["accuracy"])
    model.fit(tf.zeros([2, 4, 3]), tf.zeros([2, 2]), verbose=0)
    model.save(str(tmp_path / "keras2"), save_format="tf")
    check_saved_model(tmp_path / "keras2")
