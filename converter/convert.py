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
from converter.importers.saved_model import load_function
from converter.importers.tf_function import FlatFunction, flatten_function
from converter.importers.tflite_model import import_tflite
from converter.ir import Program, TfliteOp, verify
from converter.lowering import lower
from converter.options import AUTO, ConvertOptions
from converter.passes.choose_lowering import Choice, explain_lowering
from converter.passes.pipeline import CANONICALIZE, CLEAN_UP, prepare, run_passes
from converter.report import LoweringRecord, Report

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
    source: Any, *, lowering: str = AUTO, state: str = "stateless", signature_key: str | None = None
) -> Converted:
    """Compile ``source`` to a ``.tflite`` of builtin ops only.

    Args:
        source: a ``tf.function`` with an input signature, a concrete function, or the directory of a SavedModel.
        lowering: ``"auto"`` lowers each recurrence built by ``dynamic_rnn`` to a fused op where that is exact, and
            to a loop of builtin ops where it is not; ``"fused"`` or ``"while"`` insists on one form.
        state: ``"stateless"`` starts every invoke from zero or from the network's own initial state;
            ``"explicit"`` makes inputs and outputs of every state, called alike (``state_0_c``, ``state_0_h``, …),
            so that a caller can feed back what it got; ``"streaming"`` keeps the states in the model from one
            invoke to the next, until its signature ``reset`` is run (`tflite_rnn.runtime.Stream` does both).
        signature_key: which signature of a SavedModel; its ``serving_default`` or only one if not given.

    Unless it is streamed, no state survives an invoke: equal inputs give equal outputs, whatever ran before. Equal
    sources give equal bytes.

    Raises:
        SourceError: the source cannot be read, or is of no kind that this tool converts.
        ConversionError: something in the model has no exact lowering; its ``rejections`` say what and why.
    """
    options = ConvertOptions.parse(lowering=lowering, state=state)
    function = open_source(source, signature_key=signature_key)
    return compile_program(import_tflite(function.to_tflite(), source=function.name), options)


def open_source(source: Any, *, signature_key: str | None = None) -> FlatFunction:
    """Return the TensorFlow function that ``source`` (see `convert`) stands for. Raises SourceError."""
    if isinstance(source, FlatFunction):
        return source
    if isinstance(source, str | os.PathLike):
        return load_function(Path(source), signature_key=signature_key)
    return flatten_function(source)


def compile_program(program: Program, options: ConvertOptions = DEFAULTS) -> Converted:
    """Compile a program of recurrences and TFLite ops. Raises ConversionError."""
    program = verify(program, after="import")
    program = run_passes(program, CANONICALIZE)
    preparation = prepare(options)
    prepared = run_passes(program, preparation)
    lowered = verify(lower(prepared), after="lowering")
    lowered = run_passes(lowered, CLEAN_UP)
    _refuse_foreign_ops(lowered)
    model = build_model(replace(lowered, description=DESCRIPTION))
    report = Report(
        lowerings=_records(explain_lowering(prepared, options)),
        passes=tuple(step.name for step in (*CANONICALIZE, *preparation, *CLEAN_UP)),
        op_counts=_checked_op_counts(model, lowered.op_counts()),
        size=len(model),
    )
    return Converted(model, prepared, report)


def _records(choices: Iterable[Choice]) -> tuple[LoweringRecord, ...]:
    return tuple(
        LoweringRecord(choice.op.name, str(choice.op.cell), choice.op.lowering.value, choice.refused)
        for choice in choices
        if choice.op.lowering is not None
    )


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


def _checked_op_counts(model: bytes, expected: Mapping[str, int]) -> dict[str, int]:
    counts = read_model(model).op_counts()
    if counts != expected:
        raise InvalidProgramError(f"the file holds {counts}, the program {dict(expected)}")
    return counts
