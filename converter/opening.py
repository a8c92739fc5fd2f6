"""Open a source with the importer of its kind. Importers are imported only when needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from converter.analysis.variables import state_variables
from converter.errors import ConversionError, Rejection, SourceError
from converter.files import check_readable
from converter.importers.source import RunnableSource, Source
from converter.ir import Program, as_tflite
from converter.rules import Rule
from converter.sources import (
    FrozenGraph,
    Function,
    KerasFile,
    KerasModel,
    SavedModel,
    StrPath,
    TfliteModel,
    as_source,
)

if TYPE_CHECKING:
    from converter.importers.tf_function import FlatFunction

TensorflowSource: TypeAlias = SavedModel | FrozenGraph | KerasFile | KerasModel | Function
"""The sources that TensorFlow reads and runs."""


def open_source(given: object) -> Source:
    """Return the model of a source, or of a shorthand for one (see `as_source`).

    Raises SourceError if it cannot be read, or lacks what the source's options name, and ConversionError for a
    Keras model of another precision than float32.
    """
    source = as_source(given)
    if isinstance(source, TfliteModel):
        from converter.importers.tflite_file import load_tflite

        return load_tflite(source.model).with_shapes(source.input_shapes or {})
    return open_in_tensorflow(source)


def open_in_tensorflow(source: TensorflowSource) -> RunnableSource:
    """Return the model of a source that TensorFlow reads and runs. Errors as `open_source`."""
    shapes, steps = source.input_shapes or {}, source.max_steps or {}
    match source:
        case SavedModel():
            from converter.importers.saved_model import load_function

            path = _existing(source.path)
            if not path.is_dir():
                raise SourceError(f"{path}: expected the directory of a SavedModel, got a file")
            function = load_function(path, signature_key=source.signature_key, safe_mode=source.safe_mode)
            return function.with_shapes(shapes).with_max_steps(steps)
        case FrozenGraph():
            from converter.importers.frozen_graph import load_frozen_graph

            graph = load_frozen_graph(
                _existing(source.path),
                inputs=source.inputs,
                outputs=source.outputs,
                input_shapes=shapes,
                constants=source.constants,
                safe_mode=source.safe_mode,
            )
            return replace(graph, max_steps=steps)
        case KerasFile():
            from converter.importers.keras import load_keras_file

            path, objects = _existing(source.path), source.custom_objects
            keras = load_keras_file(path, custom_objects=objects, safe_mode=source.safe_mode)
            return _shaped(keras, source).with_max_steps(steps)
        case KerasModel():
            from converter.importers.keras import from_keras_model

            return _shaped(from_keras_model(source.model), source).with_max_steps(steps)
        case Function():
            from converter.importers.tf_function import FlatFunction, flatten_function

            function = source.function
            flat = function if isinstance(function, FlatFunction) else flatten_function(function)
            return flat.with_shapes(shapes).with_max_steps(steps)


def _shaped(function: FlatFunction, source: KerasFile | KerasModel) -> FlatFunction:
    """Return a function with the shapes that its source gives, or with time open."""
    if source.open_time and not source.input_shapes:
        return function.with_open_time()
    return function.with_shapes(source.input_shapes or {})


def _existing(path: StrPath) -> Path:
    """Return ``path`` if it exists; checked before the slow import of TensorFlow."""
    found = Path(path)
    check_readable(found)
    return found


def import_source(source: Source, *, keep_lists: bool = True) -> Program:
    """Return the program of a source; see `Source.to_program`. Raises ConversionError."""
    program = source.to_program(keep_lists=keep_lists)
    if not state_variables(program):
        _refuse_variables(program)
    return program


def _refuse_variables(program: Program) -> None:
    """Raise ConversionError if TFLiteConverter left a weight as a variable, which nothing would initialize."""
    rejections = [
        Rejection(
            Rule.CONSTANT_WEIGHTS,
            op.name,
            "the model assigns this variable while it runs, so its value cannot be stored as a constant",
            "convert the model for inference, where it only reads its variables; a random layer, such as Dropout "
            "with training=True, changes its seed",
        )
        for op in program.ops()
        if as_tflite(op, "VAR_HANDLE")
    ]
    if rejections:
        raise ConversionError("cannot convert the model: it changes its own variables", rejections)
