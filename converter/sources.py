"""Opening a source: which importer reads it, and what is told about it to which."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from converter.errors import ConversionError, Rejection, SourceError
from converter.importers.frozen_graph import load_frozen_graph
from converter.importers.keras import from_keras_model, is_keras_model, load_keras_file
from converter.importers.saved_model import load_function
from converter.importers.source import FROZEN_GRAPH, KERAS, TFLITE, Source, format_of
from converter.importers.tf_function import FlatFunction, flatten_function
from converter.importers.tflite_file import load_tflite
from converter.ir import Program, TfliteOp
from converter.options import AUTO, SourceOptions
from converter.rules import Rule

UNTOLD = SourceOptions()


def open_source(source: Any, told: SourceOptions = UNTOLD) -> Source:
    """Return the model that ``source`` (see `converter.convert.convert`) stands for.

    Raises SourceError if it cannot be read, or if what is told about it is about sources of another kind;
    ConversionError for a Keras model of another precision than float32.
    """
    if isinstance(source, FlatFunction):
        return source
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), told)
    _refuse_graph_options(told, "the source")
    function = from_keras_model(source) if is_keras_model(source) else flatten_function(source)
    return function.with_shapes(told.input_shapes or {})


def _open_path(path: Path, told: SourceOptions) -> Source:
    found = format_of(path) if told.source_format == AUTO else told.source_format
    if found == FROZEN_GRAPH:
        return load_frozen_graph(
            path,
            inputs=told.inputs,
            outputs=told.outputs,
            input_shapes=told.input_shapes,
            constants=told.constants,
        )
    _refuse_graph_options(told, str(path))
    if found == TFLITE:
        return _open_tflite(path, told)
    if found == KERAS:
        function = load_keras_file(path, custom_objects=told.custom_objects, safe_mode=told.safe_mode)
    else:
        function = load_function(path, signature_key=told.signature_key)
    return function.with_shapes(told.input_shapes or {})


def _open_tflite(path: Path, told: SourceOptions) -> Source:
    if told.input_shapes:
        raise SourceError(f"{path}: the shapes of a .tflite are its own; give input_shapes when it is made")
    return load_tflite(path)


def _refuse_graph_options(told: SourceOptions, what: str) -> None:
    if told.of_graphs:
        raise SourceError(
            f"{what} is no frozen graph: {', '.join(told.of_graphs)} say something about frozen graphs only"
        )


def import_source(source: Source, *, keep_lists: bool = True) -> Program:
    """Return the program of a source; see `Source.to_program`. Raises ConversionError."""
    program = source.to_program(keep_lists=keep_lists)
    _refuse_variables(program)
    return program


def _refuse_variables(program: Program) -> None:
    """Raise ConversionError if TFLiteConverter left a weight as a variable: nothing would set it in the file."""
    rejections = [
        Rejection(
            Rule.CONSTANT_WEIGHTS,
            op.name,
            "a variable of the model is no constant, because the model changes it while it runs",
            "convert the model at inference, with variables that it only reads",
        )
        for op in program.ops()
        if isinstance(op, TfliteOp) and op.builtin == "VAR_HANDLE"
    ]
    if rejections:
        raise ConversionError("the model keeps something from one run to the next", rejections)
