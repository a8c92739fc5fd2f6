"""SavedModels that act: made with TensorFlow, then changed where TensorFlow would not save them so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

SPEC = tf.TensorSpec([2, 3], tf.float32, "x")


def changed(directory: Path, change: Callable[[Any], None]) -> Path:
    """Change the protocol buffer of a SavedModel: the graph with its metadata, the first of one."""
    file = directory / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString(file.read_bytes())
    change(saved_model.meta_graphs[0])
    file.write_bytes(saved_model.SerializeToString())
    return directory


# --- of TensorFlow 2 -------------------------------------------------------------------------------------------


def acting_model(directory: Path, body: Callable[[Any], Any]) -> Path:
    """A SavedModel whose function is ``body``."""
    module = tf.Module()
    module.call = tf.function(body, input_signature=[SPEC])
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.call})
    return directory


def acting_loader(directory: Path, act: Callable[[], Any]) -> Path:
    """A SavedModel with a resource whose initializer acts."""

    from tensorflow.python.trackable import resource

    class ActingResource(resource.CapturableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.int64, shared_name="acting")

        def _initialize(self) -> Any:
            act()
            return tf.constant(1)

        def _destroy_resource(self) -> None:
            pass

    module = tf.Module()
    with tf.init_scope():
        module.acting = ActingResource()
    module.call = tf.function(tf.tanh, input_signature=[tf.TensorSpec([2, 3], tf.float32, "x")])
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.call})
    return directory


def table_model(directory: Path, vocabulary: Path) -> Path:
    """A SavedModel with a table that is read from a file, which becomes its asset."""
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, -1)

    @tf.function(input_signature=[SPEC])
    def call(x: Any) -> Any:
        return x * tf.cast(module.table.size(), tf.float32)

    module.call = call
    tf.saved_model.save(module, str(directory), signatures={"serving_default": call})
    return directory


def variable_model(directory: Path) -> Path:
    """A SavedModel with a variable, and nothing that acts."""
    module = tf.Module()
    module.weight = tf.Variable(tf.ones([3, 2]))
    module.call = tf.function(lambda x: x @ module.weight, input_signature=[SPEC])
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.call})
    return directory


# --- of TensorFlow 1 -------------------------------------------------------------------------------------------


def loading_model(
    directory: Path, act: Callable[[Any], Any], *, legacy: bool = False, runs_main: bool = True
) -> Path:
    """A SavedModel of TensorFlow 1 whose main op acts; ``act`` gets its module and returns the op."""
    tf1 = tf.compat.v1
    with warnings.catch_warnings(), tf.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
        warnings.simplefilter("ignore")
        x = tf1.placeholder(tf.float32, [2, 3], "x")
        weight = tf1.get_variable("weight", initializer=tf.ones([3, 2]), use_resource=True)
        y = tf.identity(tf.matmul(x, weight), "y")
        main = act(tf1)
        session.run(tf1.global_variables_initializer())
        builder = tf1.saved_model.builder.SavedModelBuilder(str(directory))
        signature = tf1.saved_model.predict_signature_def({"x": x}, {"y": y})
        options = {"legacy_init_op" if legacy else "main_op": main} if runs_main else {}
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"serving_default": signature},
            **options,
        )
        builder.save()
    return directory
