"""Keras files by hand: configurations that Keras itself would never write."""

from __future__ import annotations

import codecs
import json
import marshal
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

Json: TypeAlias = Any

KERAS2, KERAS3 = "2.15.0", "3.5.0"


def h5_file(path: Path, config: Json | str, *, version: str = KERAS2) -> Path:
    """An HDF5 file as Keras 2 writes it, without weights; a configuration may be text already."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text_of(config)
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([], "S1")
        weights.attrs["keras_version"] = version
        weights.attrs["backend"] = "tensorflow"
    return path


def text_of(config: Json | str) -> str:
    return config if isinstance(config, str) else json.dumps(config)


def keras_archive(path: Path, config: Json | str, *, version: str = KERAS3, weights: bytes | None = None) -> Path:
    """An archive as Keras writes it; its weights are an empty HDF5 file unless given. See `h5_file`."""
    if weights is None:
        empty = path.with_suffix(".weights.h5")
        with h5py.File(empty, "w") as file:
            file.create_group("layers")
        weights = empty.read_bytes()
        empty.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "2026-01-01"}))
        archive.writestr("config.json", text_of(config))
        archive.writestr("model.weights.h5", weights)
    return path


# --- configurations of Keras 2 ---------------------------------------------------------------------------------


def sequential2(*layers: Json, shape: Sequence[int | None] = (None, 4, 3), dtype: str = "float32") -> Json:
    """A Sequential model: an input of ``shape``, then ``layers``."""
    first = {"batch_input_shape": list(shape), "dtype": dtype, "name": "x"}
    listed = [{"class_name": "InputLayer", "config": first}, *layers]
    return {"class_name": "Sequential", "config": {"name": "model", "layers": listed}}


def functional2(*layers: Json) -> Json:
    """A functional model: ``layers``, each called on its ``inbound_nodes``; the last one is the output."""
    first = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"},
        "name": "x",
        "inbound_nodes": [],
    }
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": [first, *layers], **ends}}


def called(kind: str, options: Json, argument: Json, **keywords: Json) -> Json:
    """A layer that is called on a constant: Keras calls it while it reads the file."""
    name = f"{kind.lower()}_layer"
    return {
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **options},
        "name": name,
        "inbound_nodes": [["_CONSTANT_VALUE", -1, argument, keywords]],
    }


def op_layer(function: str, argument: Json, *, kind: str = "TFOpLambda", **keywords: Json) -> Json:
    """A functional model that calls a function of TensorFlow on constants."""
    return functional2(called(kind, {"function": function}, argument, **keywords))


def bytecode(function: Callable[..., Any]) -> list[Json]:
    """A function as Keras writes lambdas: its code, marshalled, and its defaults."""
    code = codecs.encode(marshal.dumps(function.__code__), "base64").decode("ascii")
    return [code, list(function.__defaults__ or ()) or None, None]


# --- configurations of Keras 3 ---------------------------------------------------------------------------------


def keras3_object(module: str | None, name: str, config: Json, **rest: Json) -> Json:
    """An object as Keras 3 writes it."""
    return {"module": module, "class_name": name, "config": config, "registered_name": None, **rest}


def sequential3(*layers: Json, shape: Sequence[int | None] = (None, 4, 3), dtype: str = "float32") -> Json:
    """A Sequential model of Keras 3 (or of tf_keras, in an archive)."""
    first = keras3_object("keras.layers", "InputLayer", {"batch_shape": list(shape), "dtype": dtype, "name": "x"})
    return keras3_object("keras", "Sequential", {"name": "model", "layers": [first, *layers]})


def dense3(**options: Json) -> Json:
    """A dense layer of Keras 3."""
    return keras3_object("keras.layers", "Dense", {"name": "dense", "units": 2, **options})
