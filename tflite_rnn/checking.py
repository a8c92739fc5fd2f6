"""`check`: a converted model against the float reference it came from, on every installed runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.convert import Converted
from converter.flatbuffer import read_file, read_model
from converter.importers.keras import is_keras_model
from converter.importers.source import FROZEN_GRAPH, format_of
from converter.importers.tf_function import FlatFunction
from converter.ir import Program, TfliteOp, Value
from converter.options import AUTO, SourceOptions
from converter.sources import open_source
from tflite_rnn.runtime import (
    CheckError,
    ParityReport,
    Progress,
    Reference,
    Runtime,
    Signature,
    TensorSpec,
    WorkerPool,
    compare,
    example_cases,
)
from tflite_rnn.runtime.signature import Array

_FUSED = ("UNIDIRECTIONAL_SEQUENCE_", "BIDIRECTIONAL_SEQUENCE_")


def check(
    converted: Converted | bytes | str | os.PathLike[str],
    against: Any,
    *,
    inputs: Sequence[Mapping[str, Array]] | None = None,
    runtimes: Sequence[Runtime] | None = None,
    invokes: int = 3,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    signature_key: str | None = None,
    source_format: str = AUTO,
    constants: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    seed: int = 0,
    pool: WorkerPool | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Run a model on real interpreters and compare every output with the float reference.

    Args:
        converted: what `convert` returned, the bytes of a ``.tflite``, or its path.
        against: the reference: anything `convert` accepts, or a function from a mapping of input names to arrays
            to a mapping of output names to arrays.
        inputs: the inputs to try, each a mapping from input names to arrays; random ones in several batch and
            time sizes if not given.
        runtimes: the runtimes to try; every installed one, with and without its delegate, if not given.
        invokes: how often each input is run in a row; the answers must be equal bit for bit.
        atol, rtol: an output may differ from the reference by ``atol + rtol * abs(reference)``.
        signature_key: which signature of a SavedModel is the reference.
        source_format: what the path of a reference holds, as in `convert`.
        constants: numbers for placeholders of a frozen graph that are no inputs of the model, as in `convert`.
        rename: the new names that the model's inputs and outputs were given, by those of the reference.
        custom_objects, safe_mode: how a Keras file is read; see `convert`.
        seed: seed of the random inputs.
        pool: workers to use and leave running; workers of its own if not given.
        progress: called before each step of the comparison.

    Returns a report with a row per runtime and output; ``report.ok`` is True only if every row is within
    tolerance and repeatable. A runtime that fails or crashes is a failed row, not an exception.

    Raises:
        TfliteRnnError: the model or the reference cannot be read, or there is nothing to compare.
    """
    model = model_bytes(converted)
    program = read_model(model, source=_describe(converted))
    told = SourceOptions(
        source_format, signature_key, constants=constants, custom_objects=custom_objects, safe_mode=safe_mode
    )
    reference, names = _open_reference(against, told, program, rename or {})
    if rename:
        reference, names = _renamed(reference, rename), _new_names(names, rename)
    _check_inputs(program.signature.inputs, names)
    cases = inputs if inputs is not None else _example_cases(program, seed)
    return compare(
        model,
        reference,
        cases,
        runtimes=runtimes,
        invokes=invokes,
        atol=atol,
        rtol=rtol,
        pool=pool,
        progress=progress,
    )


def model_bytes(model: Converted | bytes | str | os.PathLike[str]) -> bytes:
    """Return the bytes of a model given as a conversion, as bytes or as a path. Raises SourceError."""
    if isinstance(model, Converted):
        return model.model
    return model if isinstance(model, bytes) else read_file(Path(model))


def _describe(model: Converted | bytes | str | os.PathLike[str]) -> str:
    return str(model) if isinstance(model, str | os.PathLike) else "the model"


def _open_reference(
    against: Any, told: SourceOptions, program: Program, rename: Mapping[str, str]
) -> tuple[Reference, tuple[str, ...] | None]:
    """Return the reference, and its input names if they are known before it is called."""
    if _is_plain_function(against):
        return against, None
    if _is_frozen_graph(against, told):
        # A graph may end in more nodes than were converted; the model says which of them it has.
        names, old = program.signature, {new: name for name, new in rename.items()}
        told = replace(
            told,
            inputs=tuple(old.get(name, name) for name in names.inputs),
            outputs=tuple(old.get(name, name) for name in names.outputs),
        )
    source = open_source(against, told)
    return source, source.input_names


def _is_frozen_graph(against: Any, told: SourceOptions) -> bool:
    if told.source_format != AUTO:
        return told.source_format == FROZEN_GRAPH
    return isinstance(against, str | os.PathLike) and format_of(Path(against)) == FROZEN_GRAPH


def _is_plain_function(against: Any) -> bool:
    is_tensorflow = isinstance(against, FlatFunction) or type(against).__module__.startswith("tensorflow.")
    return callable(against) and not is_tensorflow and not is_keras_model(against)


def _renamed(reference: Reference, rename: Mapping[str, str]) -> Reference:
    """Return the reference with the names of the model."""
    old = {new: name for name, new in rename.items()}

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = reference({old.get(name, name): array for name, array in inputs.items()})
        return {rename.get(name, name): array for name, array in outputs.items()}

    return run


def _new_names(names: tuple[str, ...] | None, rename: Mapping[str, str]) -> tuple[str, ...] | None:
    return None if names is None else tuple(rename.get(name, name) for name in names)


def _check_inputs(model: tuple[str, ...], reference: tuple[str, ...] | None) -> None:
    if reference is not None and set(model) != set(reference):
        raise CheckError(
            f"the model's inputs ({', '.join(model)}) are not the reference's ({', '.join(reference)}); "
            "check it against the source it was converted from"
        )


def _example_cases(program: Program, seed: int) -> Sequence[Mapping[str, Array]]:
    main, names = program.main, program.signature
    signature = Signature(
        names.key,
        tuple(_spec(name, value) for name, value in zip(names.inputs, main.inputs, strict=True)),
        tuple(_spec(name, value) for name, value in zip(names.outputs, main.outputs, strict=True)),
    )
    rng = np.random.default_rng(seed)
    return example_cases(signature, rng, time_major=_is_time_major(program))


def _spec(name: str, value: Value) -> TensorSpec:
    dtype = value.type.dtype.numpy
    if dtype is None or value.type.shape is None:
        raise CheckError(f"no example can be made for {name}, which is {value.type}; give the inputs yourself")
    return TensorSpec(name, dtype, value.type.shape)


def _is_time_major(program: Program) -> bool:
    """Return the layout of the first fused recurrence: it tells time from batch in the model's inputs."""
    for op in program.ops():
        if isinstance(op, TfliteOp) and op.builtin.startswith(_FUSED):
            return bool(op.options["timeMajor"])
    return False
