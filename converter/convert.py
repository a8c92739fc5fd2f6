"""The compiler from end to end, from a source to a ``.tflite``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from converter.analysis.kept_states import state_tensors
from converter.analysis.open_states import open_states
from converter.analysis.streaming.contract import contract_of
from converter.analysis.streaming.flow import flow_of, windows_of_one_step
from converter.analysis.variables import FLUSH, REMAINING, state_variables
from converter.chunks import ChunkContract
from converter.errors import ConversionError, InvalidProgramError
from converter.files import write_atomically
from converter.flatbuffer import build_model, read_model
from converter.importers.source import STARTS_FROM_ZERO, Source
from converter.ir import (
    Bidirectional,
    Graph,
    Program,
    Recurrence,
    Recurrent,
    Scan,
    TfliteOp,
    Trait,
    Value,
    as_tflite,
    has,
    verify,
)
from converter.ir.verify import verify_states
from converter.lowering import lower
from converter.metadata import NAME as METADATA
from converter.metadata import encode_metadata
from converter.opening import import_source, open_source
from converter.options import ConvertOptions, StatePolicy
from converter.passes.masks_to_lengths import is_masked
from converter.passes.pipeline import CANONICALIZE, accept, clean_up, loop_passes, pairing, prepare, run_passes
from converter.passes.refine_shapes import with_known_sizes
from converter.passes.stream_layers import runs_backwards, with_main
from converter.raising.fused_notes import fused_notes
from converter.raising.refusals import is_about_loops, refuse_custom_op
from converter.report import LoweringRecord, Report
from converter.sources import AnySource, as_source
from converter.targets import LIMITS, Target, target_rejections

DESCRIPTION = "Converted by tflite-rnn"
DEFAULTS = ConvertOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A converted model: the bytes of the ``.tflite``, its program, and the report of the conversion."""

    model: bytes
    program: Program
    report: Report

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to ``path``, whole or not at all, and return the path. Raises TfliteRnnError."""
        target = Path(path)
        write_atomically(target, self.model)
        return target


def compile_source(source: object, options: ConvertOptions = DEFAULTS) -> Converted:
    """Compile a source, or a path, function or model as in `converter.sources.as_source`.

    Raises SourceError if it cannot be read; ConversionError if something in it has no exact lowering.
    """
    typed = as_source(source)
    return compile_opened(open_source(typed), with_steps_of(typed, options))


def with_steps_of(source: AnySource, options: ConvertOptions) -> ConvertOptions:
    """Return ``options`` with the bounds that a source has for the steps of its loops."""
    return replace(options, max_steps=tuple((source.max_steps or {}).items()))


def compile_opened(source: Source, options: ConvertOptions = DEFAULTS) -> Converted:
    """Compile a source that has been read. Raises ConversionError if something in it has no exact lowering."""
    converted = _compile(source, options)
    is_stateless = options.policy is StatePolicy.STATELESS
    notes = [note for note in source.notes if is_stateless or not note.endswith(STARTS_FROM_ZERO)]
    report = converted.report
    return replace(converted, report=replace(report, notes=(*notes, *report.notes)))


def _compile(source: Source, options: ConvertOptions) -> Converted:
    try:
        return compile_program(import_source(source, keep_lists=True), options)
    except ConversionError as refusal:
        if not is_about_loops(refusal):
            raise
        # TFLiteConverter itself lowers lists of known sizes in any loop.
        try:
            return compile_program(import_source(source, keep_lists=False), options)
        except ConversionError:
            raise refusal from None


def compile_program(program: Program, options: ConvertOptions = DEFAULTS) -> Converted:
    """Compile a program of recurrences and TFLite ops. Raises ConversionError."""
    program = verify(program, after="import")
    notes = fused_notes(program, options.policy)
    accepting = accept(options)
    canonical = (*CANONICALIZE, *loop_passes(options))
    program = run_passes(program, (*accepting, *canonical))
    contract, streaming_notes = _contract(program, options)
    preparation = prepare(options)
    prepared = run_passes(program, preparation)
    joining = pairing(options)
    paired = run_passes(prepared, joining)
    lowered = verify(lower(paired), after="lowering")
    finish = clean_up(options)
    lowered = run_passes(lowered, finish)
    verify_states(lowered, after="clean-up", kept=_kept_on_purpose(lowered, options))
    _refuse_foreign_ops(lowered)
    _refuse_beyond_target(lowered, options.target)
    padding = options.mask_padding if is_masked(program) else None
    metadata = {METADATA: encode_metadata(options, contract, padding)}
    bounds = (f"the loop {name} ends after at most {n} steps, as max_steps says" for name, n in options.max_steps)
    model = build_model(replace(lowered, description=DESCRIPTION), metadata=metadata)
    padding_notes = _padding_notes(options, is_masked=padding is not None)
    report = Report(
        lowerings=_records(prepared, paired),
        passes=tuple(one.name for one in (*accepting, *canonical, *preparation, *joining, *finish)),
        op_counts=_checked_op_counts(model, lowered.op_counts()),
        size=len(model),
        notes=(
            *notes,
            *streaming_notes,
            *padding_notes,
            *bounds,
            *_notes_on_ops(lowered, options),
        ),
        chunks=contract,
    )
    return Converted(model, prepared, report)


def _padding_notes(options: ConvertOptions, *, is_masked: bool) -> tuple[str, ...]:
    if options.mask_padding is None:
        return ()
    if not is_masked:
        return ("no recurrence has a mask: mask_padding changes nothing",)
    return ("masks count as padding on the right: rows with masked steps before unmasked ones would be wrong",)


def _notes_on_ops(program: Program, options: ConvertOptions) -> Iterator[str]:
    """Yield what ops of the file mean for its user."""
    kinds = sorted({op.kind for op in program.ops() if isinstance(op, TfliteOp) and has(op, Trait.RANDOM)})
    if kinds:
        yield f"results differ from run to run: the model has {', '.join(kinds)}, as dropout that is left on does"
    has_loops = any(as_tflite(op, "WHILE") for op in program.ops())
    if options.target is Target.LITERT_WEB and has_loops:
        yield "in LiteRT.js, compile it with {accelerator: 'wasm'}: its default, webgpu, has no WHILE"
    is_open = any(not value.type.is_static for value in program.main.inputs)
    if options.target is Target.LITERT and options.policy is not StatePolicy.STATELESS and has_loops and is_open:
        yield (
            "on ai-edge-litert with its delegate, first run a longer chunk than those to come, and reset (Stream "
            "does): its memory must not grow between chunks, or some loads give wrong numbers"
        )


def _contract(program: Program, options: ConvertOptions) -> tuple[ChunkContract | None, tuple[str, ...]]:
    """Return what the model promises on chunks, and notes on why it promises nothing."""
    if options.policy is StatePolicy.STATELESS:
        return None, ()
    ends = options.lookahead is not None
    program = with_main(program, with_known_sizes(program.main))
    flow = flow_of(program, ends=ends)
    if runs_backwards(flow):
        places = ", ".join(one.op for one in flow.rejections)
        return None, (f"{places} runs backwards: feed whole sequences, for chunks would not give their outputs",)
    windows = windows_of_one_step(program)
    if windows:
        return None, (
            f"each invoke is one step: {', '.join(windows)} sees no steps before it; leave time open, or fix it "
            "to two steps or more, if it is to",
        )
    if not flow.starts and not state_variables(program) and not any(open_states(program)):
        return None, (
            "nothing is kept from one invoke to the next: the model has no state, and no axis of time was found; "
            "leave time open, [batch, None, ...], to see what keeps it from running on chunks",
        )
    flush = (FLUSH if LIMITS[options.target].signatures else REMAINING) if ends else None
    return contract_of(program, flow, flush=flush, names=dict(options.rename)), ()


def _records(prepared: Program, paired: Program) -> tuple[LoweringRecord, ...]:
    pairs = [op for op in paired.ops() if isinstance(op, Bidirectional)]
    joined = {direction.name for op in pairs for direction in (op.forward, op.backward)}
    return tuple(
        LoweringRecord(
            op.name,
            str(op.cell),
            "bidirectional" if op.name in joined else op.lowering.value,
            op.refused,
        )
        for graph in _but_flush(prepared)
        for op in _recurrent_ops(graph)
        if op.lowering is not None
    )


def _but_flush(program: Program) -> list[Graph]:
    """Return the graphs but the one that takes the end of a sequence; its recurrences are the main one's."""
    flush = {signature.graph for signature in program.signatures if signature.key == FLUSH}
    return [graph for number, graph in enumerate(program.graphs) if number not in flush]


def _recurrent_ops(graph: Graph) -> Iterator[Recurrent]:
    """Yield the scans of a graph and of their bodies, and the recurrences of the graph."""
    scans = [op for op in graph.ops if isinstance(op, Scan)]
    yield from scans
    for scan in scans:
        yield from _recurrent_ops(scan.body)
    yield from (op for op in graph.ops if isinstance(op, Recurrence))


def _kept_on_purpose(program: Program, options: ConvertOptions) -> frozenset[Value]:
    """Return the state tensors that the streaming policy leaves to ops that have no other place for them."""
    if options.policy is not StatePolicy.STREAMING:
        return frozenset()
    return frozenset(value for op in program.ops() for value in state_tensors(op))


def _refuse_foreign_ops(program: Program) -> None:
    foreign = [op for op in program.ops() if isinstance(op, TfliteOp) and op.custom_code is not None]
    if foreign:
        rejections = dict.fromkeys(map(refuse_custom_op, foreign))
        raise ConversionError(
            "cannot convert the model: it needs ops that TFLite runtimes do not have", rejections
        )


def _refuse_beyond_target(program: Program, target: Target) -> None:
    rejections = list(target_rejections(program, target))
    if rejections:
        raise ConversionError(f"cannot convert the model for {LIMITS[target].title}", rejections)


def _checked_op_counts(model: bytes, expected: Mapping[str, int]) -> dict[str, int]:
    counts = read_model(model).op_counts()
    if counts != expected:
        raise InvalidProgramError(
            f"the written file does not match the program: expected {dict(expected)}, got {counts}"
        )
    return counts
