"""Keras 3 files that act or reach outside while they are read: refused before Keras sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trust.canaries import Canary
from tests.trust.keras_files import Json, dense3, h5_file, keras3_object, keras_archive, sequential3
from tests.trust.refusals import Hostility

pytestmark = pytest.mark.tensorflow

Build = Callable[[Canary], Json]


def function3(module: str, name: str) -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


def lookup3(kind: str, vocabulary: str) -> Json:
    layer = keras3_object("keras.layers", kind, {"name": "lookup", "vocabulary": vocabulary})
    return sequential3(layer, shape=(None,), dtype="int64" if kind == "IntegerLookup" else "string")


FILES: dict[str, tuple[Build, str]] = {
    "StringLookup": (lambda c: lookup3("StringLookup", str(c.secret)), "would read the file"),
    "IntegerLookup": (lambda c: lookup3("IntegerLookup", str(c.secret)), "would read the file"),
    "TextVectorization": (lambda c: lookup3("TextVectorization", str(c.secret)), "would read the file"),
    "TFSMLayer": (
        lambda c: sequential3(
            keras3_object("keras.layers", "TFSMLayer", {"name": "t", "filepath": str(c.secret.parent)})
        ),
        "it names the class 'TFSMLayer'",
    ),
    "TorchModuleWrapper": (
        lambda c: sequential3(keras3_object("keras.layers", "TorchModuleWrapper", {"module": str(c.secret)})),
        "it names the class 'TorchModuleWrapper'",
    ),
    "Lambda": (
        lambda _: sequential3(
            keras3_object(
                "keras.layers",
                "Lambda",
                {"name": "l", "function": {"class_name": "__lambda__", "config": {"value": "code"}}},
            )
        ),
        "Python code",
    ),
    "load_model": (
        lambda _: sequential3(dense3(activation=function3("keras.saving", "load_model"))),
        "it names the",
    ),
    "get_file": (lambda _: sequential3(dense3(activation=function3("keras.utils", "get_file"))), "it names the"),
    "plot_model": (
        lambda _: sequential3(dense3(activation=function3("keras.utils", "plot_model"))),
        "it names the",
    ),
    "pickled": (
        lambda _: sequential3(keras3_object("keras.src.saving.keras_saveable", "KerasSaveable", {})),
        "it names the class",
    ),
    "os.system": (lambda _: sequential3(dense3(activation=function3("os", "system"))), "it names the function"),
    "eval": (lambda _: sequential3(dense3(activation=function3("builtins", "eval"))), "it names the function"),
    "a string as activation": (lambda _: sequential3(dense3(activation="eval")), "it names the activation"),
    "tensorflow": (
        lambda _: sequential3(dense3(activation=function3("tensorflow.io", "write_file"))),
        "it names the function",
    ),
    "an initializer": (
        lambda _: sequential3(dense3(kernel_initializer=keras3_object("subprocess", "Popen", {"args": ["true"]}))),
        "it names the class 'Popen' of the module 'subprocess'",
    ),
    "another registered name": (
        lambda _: sequential3(keras3_object("keras.layers", "Dense", {}, registered_name="package>Evil")),
        "by another name",
    ),
    "a class that is no name": (
        lambda _: sequential3(keras3_object("keras.layers", "Dense", {}) | {"class_name": ["Dense"]}),
        "not a name",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_an_archive_that_acts_is_refused(name: str, tmp_path: Path, canary: Canary, hostility: Hostility) -> None:
    build, words = FILES[name]
    hostility.assert_refused(keras_archive(tmp_path / "hostile.keras", build(canary)), words)


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_an_hdf5_file_of_keras_3_that_reads_a_vocabulary_is_refused(
    kind: str, tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    path = h5_file(tmp_path / "hostile.h5", lookup3(kind, str(canary.secret)), version="3.5.0")
    hostility.assert_refused(path, "would read the file")
