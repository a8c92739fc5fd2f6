"""`check`: compare a converted model with its float reference on every installed runtime."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.convert import Converted
from converter.flatbuffer import read_file, read_model
from converter.importers.keras import is_keras_model
from converter.importers.source import RunnableSource
from converter.importers.tf_function import FlatFunction
from converter.ir import Program, TfliteOp, Value, attributes
from converter.opening import open_in_tensorflow
from converter.sources import FrozenGraph, TfliteModel, as_source
from tflite_rnn.isolation import FileSource, Limits, can_isolate, isolated
from tflite_rnn.isolation.limits import DEFAULT_MEMORY, DEFAULT_TIMEOUT
from tflite_rnn.reference import open_tflite
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

    Args:
        model: what `convert` returned, the bytes of a ``.tflite``, or its path.
        source: the reference: anything that `convert` takes, or a function from a mapping of input names to arrays
            to a mapping of output names to arrays. For a `FrozenGraph` without ``inputs`` and ``outputs`` those of
            the model are used. A ``.tflite`` runs on an interpreter, without TensorFlow.
        inputs: the inputs to try, each a mapping from input names to arrays; by default random ones in several
            batch and time sizes.
        runtimes: the runtimes to try; by default every installed one, with and without its delegate.
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
    content = model_bytes(model)
    program = read_model(content, source=_describe(model))
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(WorkerPool()) if pool is None else pool
        reference, names = _open_reference(source, program, rename or {}, workers, stack, limits)
        if rename:
            reference, names = _renamed(reference, rename), _new_names(names, rename)
        _check_inputs(program.signature.inputs, names)
        return compare(
            content,
            reference,
            _example_cases(program, seed) if inputs is None else inputs,
            runtimes=runtimes,
            invokes=invokes,
            atol=atol,
            rtol=rtol,
            pool=workers,
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
    given: Any,
    program: Program,
    rename: Mapping[str, str],
    pool: WorkerPool,
    stack: contextlib.ExitStack,
    limits: Limits,
) -> tuple[Reference, tuple[str, ...] | None]:
    """Return the reference, and its input names if they are known before it is called.

    A process that reads it ends with ``stack``.
    """
    if _is_plain_function(given):
        return given, None
    source = as_source(given)
    if isinstance(source, TfliteModel):
        file = open_tflite(source, pool)
        return file, file.input_names
    if isinstance(source, FrozenGraph):
        # A graph may have more outputs than were converted; use those of the model.
        names, old = program.signature, {new: name for name, new in rename.items()}
        source = replace(
            source,
            inputs=source.inputs or tuple(old.get(name, name) for name in names.inputs),
            outputs=source.outputs or tuple(old.get(name, name) for name in names.outputs),
        )
    if isinstance(source, FileSource) and can_isolate(source):
        opened: RunnableSource = stack.enter_context(isolated(source, limits))
    else:
        opened = open_in_tensorflow(source)
    return opened, opened.input_names


def _is_plain_function(given: Any) -> bool:
    is_tensorflow = isinstance(given, FlatFunction) or type(given).__module__.startswith("tensorflow.")
    return callable(given) and not is_tensorflow and not is_keras_model(given)


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
            f"the inputs of the model ({', '.join(model)}) differ from those of the reference "
            f"({', '.join(reference)}); check the model against the source it was converted from"
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
        raise CheckError(f"cannot make an example for {name}: it is {value.type}; give the inputs yourself")
    return TensorSpec(name, dtype, value.type.shape)


def _is_time_major(program: Program) -> bool:
    """Return the layout of the first fused recurrence, which distinguishes time from batch in the inputs."""
    for op in program.ops():
        if isinstance(op, TfliteOp) and op.builtin.startswith(_FUSED):
            return attributes.is_time_major(op)
    return False
