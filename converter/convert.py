"""The compiler from end to end: a source in, a proven-by-construction ``.tflite`` out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converter.errors import ConversionError, InvalidProgramError, Rejection
from converter.files import write_atomically
from converter.flatbuffer import build_model, read_model
from converter.importers.keras import from_keras_model, is_keras_file, is_keras_model, load_keras_file
from converter.importers.saved_model import load_function
from converter.importers.tf_function import FlatFunction, flatten_function
from converter.importers.tflite_model import import_tflite
from converter.ir import Bidirectional, Program, TfliteOp, verify
from converter.lowering import lower
from converter.options import AUTO, ConvertOptions, StatePolicy
from converter.passes.choose_lowering import Choice, explain_lowering
from converter.passes.pipeline import CANONICALIZE, clean_up, pairing, prepare, run_passes
from converter.report import LoweringRecord, Report
from converter.targets import RULES, Target, target_rejections

DESCRIPTION = "Converted by tflite-rnn"
DEFAULTS = ConvertOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A converted model: the bytes of the ``.tflite``, the program they came from, and what was done."""

    model: bytes
    program: Program
    report: Report

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to ``path``, whole or not at all, and return the path. Raises TfliteRnnError."""
        target = Path(path)
        write_atomically(target, self.model)
        return target


def convert(
    source: Any,
    *,
    lowering: str = AUTO,
    state: str = "stateless",
    target: str = "litert",
    pair_directions: bool = True,
    signature_key: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Converted:
    """Compile ``source`` to a ``.tflite`` of builtin ops only.

    Args:
        source: a ``tf.function`` with an input signature, a concrete function, the directory of a SavedModel, a
            model of Keras 3 or tf_keras, or the ``.keras`` or ``.h5`` file of one.
        lowering: ``"auto"`` lowers each recurrence built by ``dynamic_rnn`` to a fused op where that is exact, and
            to a loop of builtin ops where it is not; ``"fused"`` or ``"while"`` insists on one form.
        state: ``"stateless"`` starts every invoke from zero or from the network's own initial state;
            ``"explicit"`` makes inputs and outputs of every state, called alike (``state_0_c``, ``state_0_h``, …),
            so that a caller can feed back what it got; ``"streaming"`` keeps the states in the model from one
            invoke to the next, until its signature ``reset`` is run (`tflite_rnn.runtime.Stream` does both).
        target: where the model is to run: ``"litert"`` (the interpreter of ai-edge-litert and tf.lite),
            ``"tflite-runtime"``, ``"litert-compiled"`` (LiteRT's CompiledModel), ``"litert-web"`` (LiteRT.js) or
            ``"tflm"`` (microcontrollers). Recurrences take a form that it has; ``tflite-rnn targets`` lists them.
        pair_directions: make one BIDIRECTIONAL_SEQUENCE op of two fused recurrences that run over one sequence in
            both directions, where that is exact; two ops otherwise.
        signature_key: which signature of a SavedModel; its ``serving_default`` or only one if not given.
        custom_objects: classes and functions that a Keras file names, as for Keras' ``load_model``.
        safe_mode: refuse a Keras file that brings its own code (Lambda layers), instead of running it.

    Unless it is streamed, no state survives an invoke: equal inputs give equal outputs, whatever ran before. Equal
    sources give equal bytes.

    Raises:
        SourceError: the source cannot be read, or is of no kind that this tool converts.
        ConversionError: something in the model has no exact lowering; its ``rejections`` say what and why.
    """
    options = ConvertOptions.parse(lowering=lowering, state=state, target=target, pair_directions=pair_directions)
    function = open_source(source, signature_key=signature_key, custom_objects=custom_objects, safe_mode=safe_mode)
    program = import_tflite(function.to_tflite(), source=function.name)
    _refuse_variables(program)
    converted = compile_program(program, options)
    notes = function.notes if options.state is StatePolicy.STATELESS else ()
    return replace(converted, report=replace(converted.report, notes=notes))


def open_source(
    source: Any,
    *,
    signature_key: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> FlatFunction:
    """Return the TensorFlow function that ``source`` stands for; arguments are those of `convert`.

    Raises SourceError, and ConversionError for a Keras model of another precision than float32.
    """
    if isinstance(source, FlatFunction):
        return source
    if is_keras_model(source):
        return from_keras_model(source)
    if isinstance(source, str | os.PathLike) and is_keras_file(Path(source)):
        return load_keras_file(Path(source), custom_objects=custom_objects, safe_mode=safe_mode)
    if isinstance(source, str | os.PathLike):
        return load_function(Path(source), signature_key=signature_key)
    return flatten_function(source)


def compile_program(program: Program, options: ConvertOptions = DEFAULTS) -> Converted:
    """Compile a program of recurrences and TFLite ops. Raises ConversionError."""
    program = verify(program, after="import")
    program = run_passes(program, CANONICALIZE)
    preparation = prepare(options)
    prepared = run_passes(program, preparation)
    joining = pairing(options)
    paired = run_passes(prepared, joining)
    lowered = verify(lower(paired), after="lowering")
    finish = clean_up(options)
    lowered = run_passes(lowered, finish)
    _refuse_foreign_ops(lowered)
    _refuse_beyond_target(lowered, options.target)
    model = build_model(replace(lowered, description=DESCRIPTION))
    report = Report(
        lowerings=_records(explain_lowering(prepared, options), paired),
        passes=tuple(step.name for step in (*CANONICALIZE, *preparation, *joining, *finish)),
        op_counts=_checked_op_counts(model, lowered.op_counts()),
        size=len(model),
    )
    return Converted(model, prepared, report)


def _records(choices: Iterable[Choice], paired: Program) -> tuple[LoweringRecord, ...]:
    pairs = [op for op in paired.ops() if isinstance(op, Bidirectional)]
    joined = {direction.name for op in pairs for direction in (op.forward, op.backward)}
    return tuple(
        LoweringRecord(
            choice.op.name,
            str(choice.op.cell),
            "bidirectional" if choice.op.name in joined else choice.op.lowering.value,
            choice.refused,
        )
        for choice in choices
        if choice.op.lowering is not None
    )


def _refuse_variables(program: Program) -> None:
    """Raise ConversionError if TFLiteConverter left a weight as a variable: nothing would set it in the file."""
    rejections = [
        Rejection(
            "constant-weights",
            op.name,
            "a variable of the model is no constant, because the model changes it while it runs",
            "convert the model at inference, with variables that it only reads",
        )
        for op in program.ops()
        if isinstance(op, TfliteOp) and op.builtin == "VAR_HANDLE"
    ]
    if rejections:
        raise ConversionError("the model keeps something from one run to the next", rejections)


def _refuse_foreign_ops(program: Program) -> None:
    rejections = [
        Rejection(
            "builtin-ops-only",
            op.name,
            f"the TensorFlow op {op.custom_code.removeprefix('Flex')} has no TFLite builtin",
            "replace it by ops that TFLite has",
        )
        for op in program.ops()
        if isinstance(op, TfliteOp) and op.custom_code is not None
    ]
    if rejections:
        raise ConversionError("the model needs ops that no plain TFLite runtime has", rejections)


def _refuse_beyond_target(program: Program, target: Target) -> None:
    rejections = list(target_rejections(program, target))
    if rejections:
        raise ConversionError(f"the model does not run on {RULES[target].title}", rejections)


def _checked_op_counts(model: bytes, expected: Mapping[str, int]) -> dict[str, int]:
    counts = read_model(model).op_counts()
    if counts != expected:
        raise InvalidProgramError(f"the file holds {counts}, the program {dict(expected)}")
    return counts
