"""Sources: the kinds of models that can be converted, each with the options to read it.

Creating one checks its options and reads nothing; `converter.opening` reads it. A plain path, function or Keras
model is a shorthand for its source, see `as_source`.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

from converter.errors import OptionError, SourceError
from converter.importers.source import FROZEN_GRAPH, KERAS, SAVED_MODEL, TFLITE, format_of

StrPath: TypeAlias = str | os.PathLike[str]
InputShapes: TypeAlias = Mapping[str, Sequence[int | None]]
"""Sizes of inputs by name, None where a size stays unknown, as in ``{"x": (1, None, 80)}``."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedModel:
    """The directory of a SavedModel of any origin.

    ``signature_key`` names one of its signatures: by default ``serving_default``, or the only one.
    ``input_shapes`` fixes unknown dimensions of inputs, with None for those that stay unknown:
    ``{"x": (1, None, 80)}``. ``max_steps`` bounds the steps of loops that nothing else bounds: ``{"while": 50}``.
    Loading a SavedModel runs parts of it: with ``safe_mode`` one that would do more than
    compute is refused instead. Raises OptionError if an option has another form.
    """

    path: StrPath
    _: KW_ONLY
    signature_key: str | None = None
    safe_mode: bool = True
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        _check_path(self, self.path)
        _check(self, "signature_key", self.signature_key, str | None, "the name of a signature")
        _check(self, "safe_mode", self.safe_mode, bool, "True or False")
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)


@dataclass(frozen=True, slots=True, eq=False)
class FrozenGraph:
    """The ``.pb`` file of a frozen graph of TensorFlow 1.

    ``inputs`` and ``outputs`` name the nodes that become inputs and outputs of the file: by default the
    placeholders that the outputs need, and the only node without readers. ``constants`` gives numbers to
    placeholders that are not to be inputs: ``{"keep_prob": 1.0}``. With ``safe_mode`` a graph that does more than
    compute is refused. ``input_shapes`` and ``max_steps`` as for `SavedModel`. Raises OptionError if an option has
    another form.
    """

    path: StrPath
    _: KW_ONLY
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    constants: Mapping[str, Any] | None = None
    safe_mode: bool = True
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        _check_path(self, self.path)
        _check_names(self, "inputs", self.inputs)
        _check_names(self, "outputs", self.outputs)
        _check_keys(self, "constants", self.constants, '{"keep_prob": 1.0}')
        _check(self, "safe_mode", self.safe_mode, bool, "True or False")
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)


@dataclass(frozen=True, slots=True, eq=False)
class KerasFile:
    """A ``.keras`` or HDF5 file of Keras 3 or Keras 2.

    ``custom_objects`` gives the classes and functions that the file names, as for Keras' ``load_model``; they are
    trusted. With ``safe_mode`` a file that brings its own code (Lambda layers), names what may do more than
    compute, or refers to other files is refused.
    ``input_shapes``, ``max_steps`` and ``open_time`` as for `KerasModel`. Raises OptionError if an option has
    another form.
    """

    path: StrPath
    _: KW_ONLY
    custom_objects: Mapping[str, Any] | None = None
    safe_mode: bool = True
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None
    open_time: bool = False

    def __post_init__(self) -> None:
        _check_path(self, self.path)
        _check_keys(self, "custom_objects", self.custom_objects, '{"MyLayer": MyLayer}')
        _check(self, "safe_mode", self.safe_mode, bool, "True or False")
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)
        _check(self, "open_time", self.open_time, bool, "True or False")


@dataclass(frozen=True, slots=True, eq=False)
class TfliteModel:
    """A ``.tflite`` with loops, as a path or bytes.

    ``input_shapes`` and ``max_steps`` as for `SavedModel`; sizes that were fixed when the file was made cannot be
    changed. Raises OptionError if an option has another form.
    """

    model: StrPath | bytes
    _: KW_ONLY
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        _check(self, "model", self.model, bytes | str | os.PathLike, "the path or the bytes of a .tflite")
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)


@dataclass(frozen=True, slots=True, eq=False)
class KerasModel:
    """A live model of Keras 3 or tf_keras, at inference.

    ``input_shapes`` and ``max_steps`` as for `SavedModel`. With ``open_time`` the second axis of the inputs is
    open where the layers allow it, if ``input_shapes`` says nothing else: for a model that is to run on chunks.
    Raises OptionError if it is not a model, or an option has another form.
    """

    model: Any
    _: KW_ONLY
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None
    open_time: bool = False

    def __post_init__(self) -> None:
        if not _is_keras_model(self.model):
            _refuse(self, "model", self.model, "a model of Keras 3 or tf_keras")
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)
        _check(self, "open_time", self.open_time, bool, "True or False")


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A ``tf.function`` with an input signature, or a concrete function.

    ``input_shapes`` and ``max_steps`` as for `SavedModel`. Raises OptionError if it is not a function, or an
    option has another form.
    """

    function: Any
    _: KW_ONLY
    input_shapes: InputShapes | None = None
    max_steps: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            _refuse(
                self, "function", self.function, "a tf.function with an input_signature, or a concrete function"
            )
        _check_shapes(self, self.input_shapes)
        _check_steps(self, self.max_steps)


AnySource: TypeAlias = SavedModel | FrozenGraph | KerasFile | TfliteModel | KerasModel | Function


def as_source(given: object) -> AnySource:
    """Return the source for ``given``, detecting the kind of a path from the file.

    Raises SourceError if the file is of no known kind, or ``given`` is not a source.
    """
    if isinstance(given, AnySource):
        return given
    if isinstance(given, str | os.PathLike):
        return _AT_PATHS[format_of(Path(given))](given)
    if isinstance(given, bytes):
        return TfliteModel(given)
    if _is_keras_model(given):
        return KerasModel(given)
    if callable(given):
        return Function(given)
    raise SourceError(
        f"expected a model to read, got {_shown(given)}; give a path, a tf.function, a Keras model, or a source "
        "such as SavedModel(path)"
    )


_AT_PATHS: Mapping[str, type[SavedModel | FrozenGraph | KerasFile | TfliteModel]] = {
    SAVED_MODEL: SavedModel,
    FROZEN_GRAPH: FrozenGraph,
    KERAS: KerasFile,
    TFLITE: TfliteModel,
}


def _is_keras_model(given: object) -> bool:
    from converter.importers.keras import is_keras_model

    return is_keras_model(given)


# --- checks ------------------------------------------------------------------------------------------------------


def _check(source: object, option: str, value: object, kind: Any, expected: str) -> None:
    if not isinstance(value, kind):
        _refuse(source, option, value, expected)


def _check_path(source: object, path: object) -> None:
    _check(source, "path", path, str | os.PathLike, "a path (str or os.PathLike)")


def _check_names(source: object, option: str, names: object) -> None:
    if names is None:
        return
    is_list = isinstance(names, Sequence) and not isinstance(names, str | bytes)
    if not is_list or not _are_names(names):
        _refuse(source, option, names, 'a list of names, as in ["probs"]')


def _check_keys(source: object, option: str, entries: object, example: str) -> None:
    if entries is not None and not (isinstance(entries, Mapping) and _are_names(entries)):
        _refuse(source, option, entries, f"a mapping from names, as in {example}")


def _are_names(names: Any) -> bool:
    return all(isinstance(name, str) and name for name in names)


def _check_steps(source: object, max_steps: object) -> None:
    pairs = [] if max_steps is None else list(max_steps.items()) if isinstance(max_steps, Mapping) else [(None, 0)]
    for name, count in pairs:
        is_count = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 1 << 31
        if not isinstance(name, str) or not is_count:
            _refuse(source, "max_steps", max_steps, 'numbers of steps by loops, such as {"while": 50}')


def _check_shapes(source: object, shapes: InputShapes | None) -> None:
    _check_keys(source, "input_shapes", shapes, '{"x": (1, None, 80)}')
    for name, shape in (shapes or {}).items():
        option = f"input_shapes[{name!r}]"
        if isinstance(shape, str | bytes) or not isinstance(shape, Sequence):
            _refuse(source, option, shape, "a list of sizes, None where a size stays open")
        for size in shape:
            if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
                _refuse(source, option, size, "sizes of at least 1, None where a size stays open")


def _refuse(source: object, option: str, value: object, expected: str) -> None:
    raise OptionError(f"{type(source).__name__}: {option}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    return reprlib.repr(value)
