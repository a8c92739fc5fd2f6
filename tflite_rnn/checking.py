"""`check`: compare a converted model with its float reference on every installed runtime."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.analysis.index_bounds import index_bounds
from converter.chunks import ChunkContract
from converter.convert import Converted
from converter.errors import OptionError
from converter.flatbuffer import read_file, read_model
from converter.ir import Program, TfliteOp, Value, attributes
from converter.targets import Target
from tflite_rnn.chunked_check import ONE, UNEVEN, WHOLE, ChunkRunner, fed_inputs, sequence_cases, states_of
from tflite_rnn.isolation import Limits
from tflite_rnn.isolation.limits import DEFAULT_MEMORY, DEFAULT_TIMEOUT
from tflite_rnn.reference import (
    guarded,
    is_plain_function,
    new_names,
    notes_on_bounds,
    open_reference,
    renamed,
    with_open_time,
    with_steps,
)
from tflite_rnn.runtime import (
    COMPILED_MODEL,
    MICRO,
    CheckError,
    ModelMetadata,
    ModelRunner,
    ParityReport,
    Progress,
    Reference,
    Runtime,
    Signature,
    TensorSpec,
    WorkerPool,
    compare,
    example_cases,
    installed_runtimes,
    is_installed,
    read_metadata,
)
from tflite_rnn.runtime.signature import Array

_MADE_FOR = {
    Target.TFLM.value: Runtime(MICRO),
    Target.LITERT_COMPILED.value: Runtime(COMPILED_MODEL),
    Target.LITERT_WEB.value: Runtime(COMPILED_MODEL),
}
"""The runtime of each target that not every model runs on."""

_LOADS = 5
"""How often a model with loops over open sizes is loaded."""

_FUSED = ("UNIDIRECTIONAL_SEQUENCE_", "BIDIRECTIONAL_SEQUENCE_")


def check(
    model: Converted | bytes | str | os.PathLike[str],
    source: Any,
    *,
    inputs: Sequence[Mapping[str, Array]] | None = None,
    runtimes: Sequence[Runtime] | None = None,
    invokes: int = 3,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    timeout: float = DEFAULT_TIMEOUT,
    memory_limit_mb: int = DEFAULT_MEMORY,
    pool: WorkerPool | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Run a model on real interpreters and compare every output with its float reference.

    A model with loops over open sizes is loaded several times, because what delegates do where lengths grow may
    differ from load to load. A model that runs on chunks is fed whole sequences, cut in several ways, and its
    outputs, joined along time, are compared with those of the reference on the whole.

    Args:
        model: what `convert` returned, the bytes of a ``.tflite``, or its path.
        source: the reference: anything that `convert` takes, or a function from a mapping of input names to arrays
            to a mapping of output names to arrays. For a `FrozenGraph` without ``inputs`` and ``outputs`` those of
            the model are used. A ``.tflite`` runs on an interpreter, without TensorFlow.
        inputs: the inputs to try, each a mapping from input names to arrays; by default random ones in several
            batch and time sizes. Inputs that are indices into a table are within it. For a model that runs on
            chunks, whole sequences, without states.
        runtimes: the runtimes to try; by default every installed one, with and without its delegate, and the one
            that the model was made for, as its metadata says.
        invokes: how often each case is run in a row; the answers must be equal bit for bit.
        atol, rtol: an output may differ from the reference by ``atol + rtol * abs(reference)``.
        rename: new names of inputs and outputs by their names in the reference, as given to `convert`.
        seed: seed of the random inputs.
        timeout, memory_limit_mb: limits, in seconds and MB, of the process that reads and runs a reference file,
            as for `convert`.
        pool: workers to use and leave running; by default new ones, which end with the check.
        progress: called before each step of the comparison.

    Returns:
        A report with a row per runtime and output; ``report.ok`` is True only if every row is within tolerance and
        repeatable. A runtime that fails or crashes is a failed row, not an exception.

    Raises:
        TfliteRnnError: the model or the reference cannot be read, or there is nothing to compare.
    """
    limits = Limits(timeout, memory_limit_mb)
    if not isinstance(seed, int) or seed < 0:
        raise OptionError(f"seed: expected an integer from 0 on, got {seed!r}")
    content = model_bytes(model)
    program = read_model(content, source=_describe(model))
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(WorkerPool()) if pool is None else pool
        metadata = read_metadata(content, source=_describe(model))
        steps = {} if metadata is None else metadata.max_steps
        same = with_steps(with_open_time(source, program, metadata), steps)
        reference, names = open_reference(same, program, rename or {}, workers, stack, limits)
        if not is_plain_function(source):
            reference = guarded(reference)
        if rename:
            reference, names = renamed(reference, rename), new_names(names, rename)
        chosen, notes = _runtimes(runtimes, metadata)
        notes = (*notes, *notes_on_bounds(source, steps))

        def compared(cases: Sequence[Mapping[str, Array]], pool: ModelRunner = workers) -> ParityReport:
            return compare(
                content,
                reference,
                cases,
                runtimes=chosen,
                invokes=invokes,
                atol=atol,
                rtol=rtol,
                pool=pool,
                progress=progress,
                loads=_LOADS if _may_depend_on_memory(program) else 1,
            )

        signature = _signature(program)
        if metadata is not None and _runs_on_chunks(metadata, signature, names):
            fed = tuple(spec.name for spec in fed_inputs(signature))
            _check_inputs(fed, names)
            cases = _sequences(program, metadata, reference, seed) if inputs is None else inputs
            _check_arrays(cases, fed_inputs(signature), metadata)
            cuts = (ONE, UNEVEN, WHOLE) if metadata.chunks is not None else (WHOLE,)
            reports = {cut: compared(cases, ChunkRunner(workers, metadata, cut)) for cut in cuts}
            return _joined(reports, notes)
        _check_inputs(program.signature.inputs, names)
        is_padded = metadata is not None and metadata.mask_padding is not None
        cases = _example_cases(program, seed, is_padded=is_padded) if inputs is None else inputs
        _check_arrays(cases, signature.inputs, metadata)
        broken = sorted(_with_gaps(cases, 0 if _is_time_major(program) else 1)) if is_padded else []
        gaps = [f"{name} has zero steps before others: masks must be padding on the right" for name in broken]
        return replace(compared(cases), notes=(*notes, *gaps))


def _may_depend_on_memory(program: Program) -> bool:
    has_loops = any(isinstance(op, TfliteOp) and op.builtin == "WHILE" for op in program.main.ops)
    return has_loops and not all(value.type.is_static for value in program.main.inputs)


def model_bytes(model: Converted | bytes | str | os.PathLike[str]) -> bytes:
    """Return the bytes of a model given as a conversion, as bytes or as a path. Raises SourceError."""
    if isinstance(model, Converted):
        return model.model
    return model if isinstance(model, bytes) else read_file(Path(model))


def _describe(model: Converted | bytes | str | os.PathLike[str]) -> str:
    return str(model) if isinstance(model, str | os.PathLike) else "the model"


def _check_inputs(model: tuple[str, ...], reference: tuple[str, ...] | None) -> None:
    if reference is not None and set(model) != set(reference):
        raise CheckError(
            f"the inputs of the model ({', '.join(model)}) differ from those of the reference "
            f"({', '.join(reference)}); check the model against the source it was converted from"
        )


def _runtimes(
    given: Sequence[Runtime] | None, metadata: ModelMetadata | None
) -> tuple[Sequence[Runtime], tuple[str, ...]]:
    """Return where to run, and a note for the runtime that the model was made for if it is not installed."""
    if given is not None:
        if isinstance(given, str) or not all(isinstance(one, Runtime) for one in given):
            raise OptionError(f"runtimes: expected members of tflite_rnn.runtime.RUNTIMES, got {given!r:.80}")
        return given, ()
    chosen = list(installed_runtimes())
    special = _MADE_FOR.get(metadata.target) if metadata is not None else None
    if special is None:
        return chosen, ()
    if is_installed(special.interpreter):
        return [special, *chosen], ()
    return chosen, (f"not run on {special}, for which the model was made: it is not installed",)


def _runs_on_chunks(metadata: ModelMetadata, signature: Signature, names: tuple[str, ...] | None) -> bool:
    """Return whether whole sequences are fed, or states are given: not if the reference has states, too."""
    if metadata.state == "stateless" or (metadata.chunks is None and metadata.state != "explicit"):
        return False
    return names is None or not set(states_of(signature)) & set(names)


def _sequences(
    program: Program, metadata: ModelMetadata, reference: Reference, seed: int
) -> Sequence[Mapping[str, Array]]:
    """Return the sequences that the reference takes; if it takes none, one of a chunk, and compare says why."""
    rng = np.random.default_rng(seed)
    signature, bounds = _signature(program), index_bounds(program)
    cases = sequence_cases(signature, metadata, rng, bounds, time_major=_is_time_major(program))
    chunks = metadata.chunks
    if chunks is None or len(cases) == 1:
        return cases
    return [case for case in cases if _takes(reference, case, chunks)] or cases[1:2]


def _takes(reference: Reference, case: Mapping[str, Array], chunks: ChunkContract) -> bool:
    """Tell whether the reference makes of a sequence as many rows as the model promises."""
    name, axis = next(iter(chunks.inputs.items()))
    steps = case[name].shape[axis]
    try:
        outputs = reference({name: array.copy() for name, array in case.items()})
        counts = [
            np.shape(outputs[name])[rows.axis] == rows.rows_of(steps) for name, rows in chunks.outputs.items()
        ]
    except Exception:  # whatever a reference raises for a length that it does not take
        return False
    return all(counts)


def _joined(reports: Mapping[str, ParityReport], notes: tuple[str, ...]) -> ParityReport:
    """Return one report of those for each way to cut a sequence."""
    rows = [
        replace(row, worst_case=f"{row.worst_case}, fed {cut}") for cut, one in reports.items() for row in one.rows
    ]
    return replace(next(iter(reports.values())), rows=tuple(rows), notes=notes)


def _check_arrays(
    cases: Sequence[Mapping[str, Array]], specs: Sequence[TensorSpec], metadata: ModelMetadata | None
) -> None:
    """Raise CheckError if inputs are not those of the model: other names, ranks, sizes or types."""
    timed = metadata.chunks.inputs if metadata is not None and metadata.chunks is not None else {}
    for case in cases:
        if set(case) != {spec.name for spec in specs}:
            names = ", ".join(spec.name for spec in specs)
            raise CheckError(f"inputs: expected the names {names}, got {', '.join(case) or 'none'}")
        for spec in specs:
            array = np.asarray(case[spec.name])
            shape = [None if axis == timed.get(spec.name) else size for axis, size in enumerate(spec.shape)]
            fits = array.ndim == len(shape) and all(
                size in {None, found} for size, found in zip(shape, array.shape, strict=True)
            )
            if not fits or array.dtype != spec.dtype:
                expected = str(shape).replace("None", "?")
                seen = f"{array.dtype} {list(array.shape)}"
                raise CheckError(f"inputs: {spec.name}: expected {spec.dtype} {expected}, got {seen}")


def _with_gaps(cases: Sequence[Mapping[str, Array]], axis: int) -> set[str]:
    """Return the names of inputs of which some row has a step of zeros before another step."""
    found = set()
    for case in cases:
        for name, array in case.items():
            if array.ndim < 2:
                continue
            steps = np.moveaxis(np.asarray(array) != 0, axis, 1)
            steps = steps.reshape(*steps.shape[:2], -1)
            has = steps.any(2)
            if (has[:, 1:] & ~has[:, :-1]).any():
                found.add(name)
    return found


def _example_cases(program: Program, seed: int, *, is_padded: bool) -> Sequence[Mapping[str, Array]]:
    rng = np.random.default_rng(seed)
    bounds = index_bounds(program)
    return example_cases(
        _signature(program), rng, time_major=_is_time_major(program), bounds=bounds, is_padded=is_padded
    )


def _signature(program: Program) -> Signature:
    main, names = program.main, program.signature
    return Signature(
        names.key,
        tuple(_spec(name, value) for name, value in zip(names.inputs, main.inputs, strict=True)),
        tuple(_spec(name, value) for name, value in zip(names.outputs, main.outputs, strict=True)),
    )


def _spec(name: str, value: Value) -> TensorSpec:
    dtype = value.type.dtype.numpy
    if dtype is None or value.type.shape is None:
        raise CheckError(f"cannot make an example for {name}: it is {value.type}; give the inputs yourself")
    return TensorSpec(name, dtype, value.type.shape)


def _is_time_major(program: Program) -> bool:
    """Return the layout of the first fused recurrence, which distinguishes time from batch in the inputs."""
    for op in program.ops():
        if isinstance(op, TfliteOp) and op.builtin.startswith(_FUSED):
            return attributes.is_time_major(op)
    return False
