"""Load Keras models from files: ``.keras`` archives and HDF5, each read by the Keras version that it needs."""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.errors import SourceError
from converter.importers.archive_check import check_archive
from converter.importers.hdf5_check import check_hdf5
from converter.importers.keras.allow_list import Json, check_config, parse_config
from converter.importers.keras.models import from_keras_model
from converter.importers.keras.stored_config import for_keras2
from converter.importers.tf_function import FlatFunction

HDF5_SUFFIXES = (".h5", ".hdf5")

DAMAGE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that Keras raises for a file that is damaged or that it cannot interpret."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredModel:
    """A Keras file with its configuration; it was written by ``keras_version``."""

    path: Path
    config: Json
    keras_version: str

    @property
    def is_hdf5(self) -> bool:
        """Whether the file is HDF5 rather than an archive."""
        return self.path.suffix.lower() in HDF5_SUFFIXES

    @property
    def is_for_keras2(self) -> bool:
        """Whether the file needs Keras 2."""
        # Keras 3 lacks some of their options (time_major) and weight names, and has another hard_sigmoid.
        return int(self.keras_version.partition(".")[0]) < 3


def load_keras_file(
    path: Path, *, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> FlatFunction:
    """Return the function of the model in a ``.keras`` or HDF5 file, its recurrent layers marked.

    Layers that run only on cuDNN become the ordinary ones, which compute the same. In ``safe_mode`` the file may
    only name what is known to compute and nothing else, and may refer to no other file. ``custom_objects`` are
    trusted.

    Raises:
        SourceError: the file is missing, damaged, holds no model, would run code, or needs tf_keras, which is not
            installed.
        ConversionError: see `from_keras_model`.
    """
    stored = _read(path, safe_mode=safe_mode)
    objects = dict(custom_objects or {})
    if safe_mode:
        check_config(stored.config, str(path), objects)
    try:
        model = _load(stored, objects, safe_mode=safe_mode)
    except DAMAGE as error:
        raise SourceError(f"{path}: Keras cannot load this model: {_first_line(error)}") from error
    except Exception as error:  # those of TensorFlow's kernels have classes of its own
        if not type(error).__module__.startswith("tensorflow."):
            raise
        raise SourceError(f"{path}: TensorFlow cannot build this model: {_first_line(error)}") from error
    return from_keras_model(model)


def _read(path: Path, *, safe_mode: bool) -> StoredModel:
    if not path.is_file():
        raise SourceError(f"{path}: no such file or directory")
    is_hdf5 = path.suffix.lower() in HDF5_SUFFIXES
    if safe_mode and is_hdf5:
        check_hdf5(path, str(path))
    elif safe_mode:
        check_archive(path)
    config, version = _read_hdf5(path) if is_hdf5 else _read_archive(path)
    if not version[:1].isdigit():
        raise SourceError(
            f"{path}: not a Keras model: expected the Keras version that wrote it, got {version!r:.40}"
        )
    if not isinstance(config, dict) or "class_name" not in config:
        raise SourceError(f"{path}: not a Keras model: expected a configuration with a class_name, found none")
    return StoredModel(path, config, version)


def _read_archive(path: Path) -> tuple[Json, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            config = parse_config(archive.read("config.json"), str(path))
            metadata = parse_config(archive.read("metadata.json"), str(path))
        return config, str(metadata["keras_version"])
    except DAMAGE as error:
        raise SourceError(
            f"{path}: not a Keras model, or damaged: expected a zip archive with config.json and "
            f"metadata.json ({_first_line(error)})"
        ) from error


def _read_hdf5(path: Path) -> tuple[Json, str]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = {name: file.attrs[name] for name in file.attrs}
            is_weights = (
                "layer_names" in attributes or "layers" in file or "_layer_checkpoint_dependencies" in file
            )
    except DAMAGE as error:
        raise SourceError(f"{path}: not an HDF5 file, or damaged: {_first_line(error)}") from error
    if "model_config" in attributes:
        config = parse_config(_text(attributes["model_config"]), str(path))
        return config, _text(attributes.get("keras_version", "1"))
    if is_weights:
        raise SourceError(
            f"{path}: the file holds only weights; build the model in Python, call its load_weights "
            "with this file, and convert the model"
        )
    raise SourceError(f"{path}: not a Keras model: this HDF5 file has no model_config")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _load(stored: StoredModel, custom_objects: dict[str, Any], *, safe_mode: bool) -> Any:
    if stored.is_for_keras2:
        _check_keras2(stored)
        return _load_with_keras2(stored, custom_objects, safe_mode=safe_mode)
    import keras

    return keras.models.load_model(
        str(stored.path), custom_objects=custom_objects, compile=False, safe_mode=safe_mode
    )


def _check_keras2(stored: StoredModel) -> None:
    if importlib.util.find_spec("tf_keras") is None:
        raise SourceError(
            f"{stored.path}: written by Keras {stored.keras_version}, whose files Keras 3 reads "
            "differently; install Keras 2: pip install tf_keras"
        )


def _load_with_keras2(stored: StoredModel, custom_objects: dict[str, Any], *, safe_mode: bool) -> Any:
    import tf_keras

    path = str(stored.path)
    if not stored.is_hdf5:
        return tf_keras.models.load_model(path, custom_objects=custom_objects, compile=False, safe_mode=safe_mode)
    with tf_keras.utils.custom_object_scope(custom_objects):
        model = tf_keras.models.model_from_config(for_keras2(stored.config))
    # This also turns weights in cuDNN's layout into that of the ordinary layers.
    model.load_weights(path)
    return model


def _first_line(error: BaseException) -> str:
    return f"{(str(error).strip() or type(error).__name__).splitlines()[0]:.300}"
