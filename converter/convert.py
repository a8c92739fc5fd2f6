"""The compiler from end to end: a source in, a proven-by-construction ``.tflite`` out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converter.errors import ConversionError, InvalidProgramError
from converter.files import write_atomically
from converter.flatbuffer import build_model, read_model
from converter.importers.source import Source
from converter.ir import Bidirectional, Program, TfliteOp, verify
from converter.lowering import lower
from converter.options import AUTO, ConvertOptions, SourceOptions, StatePolicy
from converter.passes.choose_lowering import Choice, explain_lowering
from converter.passes.pipeline import CANONICALIZE, clean_up, pairing, prepare, run_passes
from converter.raising.refusals import is_about_loops, refuse_custom_op
from converter.report import LoweringRecord, Report
from converter.sources import import_source, open_source
from converter.targets import RULES, Target, target_rejections

DESCRIPTION = "Converted by tflite-rnn"
DEFAULTS = ConvertOptions()
UNTOLD = SourceOptions()


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
    rename: Mapping[str, str] | None = None,
    signature_key: str | None = None,
    source_format: str = AUTO,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Converted:
    """Compile ``source`` to a ``.tflite`` of builtin ops only.

    Args:
        source: a ``tf.function`` with an input signature, a concrete function, a model of Keras 3 or tf_keras,
            or a path: the directory of a SavedModel, a ``.keras`` or ``.h5`` file, the ``.pb`` of a frozen graph
            of TensorFlow 1, or a ``.tflite`` that holds loops.
        lowering: ``"auto"`` lowers each recurrence built by ``dynamic_rnn`` to a fused op where that is exact, and
            to a loop of builtin ops where it is not; ``"fused"`` or ``"while"`` insists on one form, and
            ``"unrolled"`` writes all steps out one after another, if their number is fixed.
        state: ``"stateless"`` starts every invoke from zero or from the network's own initial state;
            ``"explicit"`` makes inputs and outputs of every state, called alike (``state_0_c``, ``state_0_h``, …),
            so that a caller can feed back what it got; ``"streaming"`` keeps the states in the model from one
            invoke to the next, until its signature ``reset`` is run (`tflite_rnn.runtime.Stream` does both).
        target: where the model is to run: ``"litert"`` (the interpreter of ai-edge-litert and tf.lite),
            ``"tflite-runtime"``, ``"litert-compiled"`` (LiteRT's CompiledModel), ``"litert-web"`` (LiteRT.js) or
            ``"tflm"`` (microcontrollers). Recurrences take a form that it has; ``tflite-rnn targets`` lists them.
        pair_directions: make one BIDIRECTIONAL_SEQUENCE op of two fused recurrences that run over one sequence in
            both directions, where that is exact; two ops otherwise.
        rename: new names of inputs and outputs by their old ones, as in ``{"output_0": "phonemes"}``.
        signature_key: which signature of a SavedModel; its ``serving_default`` or only one if not given.
        source_format: what a path holds: ``"saved_model"``, ``"keras"``, ``"frozen_graph"`` or ``"tflite"``;
            ``"auto"`` looks.
        inputs: the nodes that are the inputs of a frozen graph; the placeholders it needs if not given.
        outputs: the nodes that are its outputs; the one node that nothing reads if not given.
        input_shapes: shapes of inputs, None where a size is known only when the model runs, as in
            ``{"x": (1, None, 80)}``; as in the source if not given. Streaming needs a fixed batch, some targets
            need all sizes fixed.
        constants: numbers for placeholders that are to be no inputs, as in ``{"keep_prob": 1.0}``.
        custom_objects: classes and functions that a Keras file names, as for Keras' ``load_model``.
        safe_mode: refuse a Keras file that brings its own code (Lambda layers), instead of running it.

    Unless it is streamed, no state survives an invoke: equal inputs give equal outputs, whatever ran before. Equal
    sources give equal bytes.

    Raises:
        SourceError: the source cannot be read, or is of no kind that this tool converts.
        ConversionError: something in the model has no exact lowering; its ``rejections`` say what and why.
    """
    options = ConvertOptions.parse(
        lowering=lowering, state=state, target=target, pair_directions=pair_directions, rename=rename
    )
    told = SourceOptions(
        source_format, signature_key, inputs, outputs, input_shapes, constants, custom_objects, safe_mode
    )
    opened = open_source(source, told)
    converted = _compile_source(opened, options)
    notes = opened.notes if options.state is StatePolicy.STATELESS else ()
    return replace(converted, report=replace(converted.report, notes=notes))


def _compile_source(source: Source, options: ConvertOptions) -> Converted:
    try:
        return compile_program(import_source(source, keep_lists=True), options)
    except ConversionError as refusal:
        if not is_about_loops(refusal):
            raise
        # TFLiteConverter lowers lists of known sizes itself, whatever the loop around them does.
        try:
            return compile_program(import_source(source, keep_lists=False), options)
        except ConversionError:
            raise refusal from None


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


def _refuse_foreign_ops(program: Program) -> None:
    foreign = [op for op in program.ops() if isinstance(op, TfliteOp) and op.custom_code is not None]
    if foreign:
        rejections = dict.fromkeys(map(refuse_custom_op, foreign))
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
