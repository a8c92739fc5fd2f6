"""Keras 2 files that act while they are read: refused before tf_keras sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trust.canaries import Canary
from tests.trust.keras_files import (
    KERAS2,
    Json,
    bytecode,
    called,
    dense3,
    functional2,
    h5_file,
    keras3_object,
    keras_archive,
    op_layer,
    sequential2,
    sequential3,
)
from tests.trust.refusals import Hostility

pytestmark = pytest.mark.tensorflow

Build = Callable[[Canary], Json]

COMPUTE = "comput"


def lstm(**options: Json) -> Json:
    return {"class_name": "LSTM", "config": {"name": "lstm", "units": 2, **options}}


def wrapped(kind: str, **options: Json) -> Json:
    cell = {"class_name": "GRUCell", "config": {"name": "cell", "units": 3}}
    wrapper = {"class_name": kind, "config": {"name": "wrapped", "cell": cell, **options}}
    return sequential2({"class_name": "RNN", "config": {"name": "rnn", "cell": wrapper}})


TEXT = {
    "standardize": "lower",
    "split": "whitespace",
    "ngrams": None,
    "output_mode": "int",
    "output_sequence_length": None,
    "pad_to_max_tokens": False,
    "max_tokens": None,
}


def writing(place: str) -> list[Json]:
    """A lambda that writes ``place`` when it is called; its module can only use what is built in."""

    def act(inputs: Json, outputs: Json, path: str = place) -> Json:
        return open(path, "w").write("written")  # one expression, as a lambda is

    return bytecode(act)


FILES: dict[str, tuple[Build, str]] = {
    # Layers made of a function of TensorFlow, called on constants while the file is read.
    "write_file": (lambda c: op_layer("io.write_file", str(c.written), contents="written"), COMPUTE),
    "alias of write_file": (lambda c: op_layer("compat.v1.write_file", str(c.written), contents="x"), COMPUTE),
    "read_file": (lambda c: op_layer("io.read_file", str(c.secret)), COMPUTE),
    "alias of read_file": (lambda c: op_layer("compat.v1.read_file", str(c.secret)), COMPUTE),
    "gfile.Copy": (lambda c: op_layer("compat.v1.gfile.Copy", str(c.secret), newpath=str(c.written)), COMPUTE),
    "gfile.copy": (lambda c: op_layer("io.gfile.copy", str(c.secret), dst=str(c.written)), COMPUTE),
    "gfile.MakeDirs": (lambda c: op_layer("compat.v1.gfile.MakeDirs", str(c.written)), COMPUTE),
    "gfile.makedirs": (lambda c: op_layer("io.gfile.makedirs", str(c.written)), COMPUTE),
    "gfile.Remove": (lambda c: op_layer("compat.v1.gfile.Remove", str(c.secret)), COMPUTE),
    "gfile.rename": (lambda c: op_layer("io.gfile.rename", str(c.secret), dst=str(c.written)), COMPUTE),
    "load_op_library": (lambda c: op_layer("load_op_library", str(c.secret)), COMPUTE),
    "load_library": (lambda c: op_layer("load_library", str(c.secret)), COMPUTE),
    "register_filesystem_plugin": (
        lambda c: op_layer("experimental.register_filesystem_plugin", str(c.secret)),
        COMPUTE,
    ),
    "load_model": (lambda c: op_layer("keras.models.load_model", str(c.secret)), COMPUTE),
    "saved_model.load": (lambda c: op_layer("saved_model.load", str(c.secret.parent)), COMPUTE),
    "get_file": (
        lambda c: op_layer(
            "keras.utils.get_file",
            c.written.name,
            origin=c.secret.as_uri(),
            cache_dir=str(c.secret.parent),
            cache_subdir=".",
        ),
        COMPUTE,
    ),
    "create_file_writer": (lambda c: op_layer("summary.create_file_writer", str(c.written)), COMPUTE),
    "print to a file": (lambda c: op_layer("print", "written", output_stream=c.written.as_uri()), COMPUTE),
    "list_variables": (lambda c: op_layer("train.list_variables", str(c.secret)), COMPUTE),
    "raw_ops.WriteFile": (lambda c: op_layer("raw_ops.WriteFile", str(c.written), contents="written"), COMPUTE),
    "matching_files": (lambda c: op_layer("io.matching_files", str(c.secret)), COMPUTE),
    "SlicingOpLambda": (
        lambda c: op_layer("io.write_file", str(c.written), kind="SlicingOpLambda", contents="written"),
        COMPUTE,
    ),
    "ClassMethod": (
        lambda c: functional2(
            called(
                "ClassMethod",
                {"cls_symbol": "lite.TFLiteConverter", "method_name": "from_saved_model"},
                [str(c.secret.parent)],
                kwargs={},
            )
        ),
        COMPUTE,
    ),
    "InstanceMethod": (
        lambda c: functional2(
            called("InstanceMethod", {"attr_name": "tofile"}, [1.0], args=[str(c.written)], kwargs={})
        ),
        COMPUTE,
    ),
    "InstanceProperty": (
        lambda _: functional2(called("InstanceProperty", {"attr_name": "__class__"}, [1.0])),
        COMPUTE,
    ),
    "TensorFlowOpLayer": (
        lambda c: functional2(
            called(
                "TensorFlowOpLayer",
                {"node_def": {"name": "w", "op": "WriteFile", "input": ["a", "b"]}, "constants": {"1": "written"}},
                str(c.written),
            )
        ),
        COMPUTE,
    ),
    # Code in the file itself.
    "Lambda": (
        lambda c: sequential2(
            {
                "class_name": "Lambda",
                "config": {"name": "l", "function": writing(str(c.written)), "function_type": "lambda"},
            }
        ),
        "Python code",
    ),
    "ResidualWrapper": (
        lambda c: wrapped(
            "ResidualWrapper",
            residual_fn=writing(str(c.written)),
            residual_fn_type="lambda",
            residual_fn_module=None,
        ),
        "Python code",
    ),
    "DropoutWrapper": (
        lambda c: wrapped(
            "DropoutWrapper",
            dropout_fn=writing(str(c.written)),
            dropout_fn_type="lambda",
            dropout_fn_module=None,
            input_keep_prob=1.0,
            output_keep_prob=1.0,
            state_keep_prob=1.0,
        ),
        "Python code",
    ),
    # Options that are names of files.
    "StringLookup": (
        lambda c: sequential2(
            {"class_name": "StringLookup", "config": {"name": "lookup", "vocabulary": str(c.secret)}},
            shape=(None,),
            dtype="string",
        ),
        "would read the file",
    ),
    "TextVectorization": (
        lambda c: sequential2(
            {"class_name": "TextVectorization", "config": {"name": "text", "vocabulary": str(c.secret), **TEXT}},
            shape=(None,),
            dtype="string",
        ),
        "would read the file",
    ),
    "IntegerLookup": (
        lambda c: sequential2(
            {"class_name": "IntegerLookup", "config": {"name": "lookup", "vocabulary": str(c.secret)}},
            shape=(None,),
            dtype="int64",
        ),
        "would read the file",
    ),
    "DenseFeatures": (
        lambda c: sequential2(
            {
                "class_name": "DenseFeatures",
                "config": {
                    "name": "features",
                    "feature_columns": [
                        {
                            "class_name": "VocabularyFileCategoricalColumn",
                            "config": {
                                "key": "x",
                                "vocabulary_file": str(c.secret),
                                "vocabulary_size": 1,
                                "num_oov_buckets": 0,
                                "dtype": "string",
                                "default_value": -1,
                            },
                        }
                    ],
                },
            }
        ),
        COMPUTE,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_an_hdf5_file_that_acts_is_refused(
    name: str, tmp_path: Path, canary: Canary, hostility: Hostility, request: pytest.FixtureRequest
) -> None:
    build, words = FILES[name]
    hostility.assert_refused(h5_file(tmp_path / "hostile.h5", build(canary)), words)


def evil_module(folder: Path, canary: Canary) -> str:
    """A module that writes the canary when it is imported."""
    (folder / "evil_module.py").write_text(f"open({str(canary.written)!r}, 'w')\nclass Layer: pass\n")
    return "evil_module"


ARCHIVES: dict[str, Callable[[str], Json]] = {
    "class of another module": lambda evil: sequential3(keras3_object(evil, "Layer", {})),
    "function of another module": lambda evil: sequential3(
        dense3(activation={"module": evil, "class_name": "function", "config": "f", "registered_name": "function"})
    ),
    "type of another module": lambda evil: sequential3(
        keras3_object(
            "keras.layers",
            "InputLayer",
            {
                "type_spec": {
                    "class_name": "__typespec__",
                    "spec_name": "Spec",
                    "module": evil,
                    "registered_name": None,
                }
            },
        )
    ),
    "another name": lambda evil: sequential3(
        keras3_object("keras.layers", "Dense", {}, registered_name=f"{evil}>Layer")
    ),
    "a dotted name": lambda evil: sequential3(
        keras3_object("tf_keras.src.layers.core", f"lambda_layer.{evil}", {})
    ),
    "inside an initializer": lambda evil: sequential3(dense3(kernel_initializer=keras3_object(evil, "Layer", {}))),
    "inside a nested model": lambda evil: sequential3(sequential3(keras3_object(evil, "Layer", {}))),
    "in what was compiled": lambda evil: sequential3(
        {**sequential3(dense3()), "compile_config": {"loss": keras3_object(evil, "Layer", {})}}
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_keras_2_imports_no_module_of_others(
    name: str, tmp_path: Path, canary: Canary, hostility: Hostility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    config = ARCHIVES[name](evil_module(tmp_path, canary))
    hostility.assert_refused(keras_archive(tmp_path / "hostile.keras", config, version=KERAS2), "it names the")


def test_an_archive_that_names_another_class_than_it_says_is_refused(
    tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    """tf_keras falls back on the registered name, here that of a Lambda layer."""
    layer = keras3_object(
        "keras.src.layers.core.lambda_layer",
        "Dense",
        {"function": {"class_name": "__lambda__", "config": {"value": writing(str(canary.written))}}},
        registered_name="Lambda",
    )
    path = keras_archive(tmp_path / "hostile.keras", sequential3(layer), version=KERAS2)
    hostility.assert_refused(path, "by another name")
