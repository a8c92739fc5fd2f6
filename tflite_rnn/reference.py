"""What a model is compared with: a source that runs in TensorFlow, a function, or another ``.tflite``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converter.errors import SourceError, TfliteRnnError
from converter.flatbuffer import read_model
from converter.importers.keras import is_keras_model
from converter.importers.source import RunnableSource
from converter.importers.tf_function import FlatFunction
from converter.importers.tflite_file import load_tflite
from converter.ir import Program, TfliteOp
from converter.opening import open_in_tensorflow
from converter.sources import FrozenGraph, KerasFile, KerasModel, TfliteModel, as_source
from tflite_rnn.isolation import FileSource, Limits, can_isolate, isolated
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    TF_LITE,
    CheckError,
    ModelMetadata,
    Reference,
    Runtime,
    RuntimeFailure,
    WorkerCrashed,
    WorkerPool,
    is_installed,
)
from tflite_rnn.runtime.signature import Array, describe_shapes

_PLACES = ("File ", "Detected at node", "Graph execution error", "Stack trace for op", "Original stack trace")
"""How the lines of an error begin that name places in the source."""


@dataclass(frozen=True, slots=True, eq=False)
class TfliteReference:
    """A ``.tflite`` in a worker process, loaded again for each call so that no state is left over."""

    name: str
    data: bytes
    input_names: tuple[str, ...]
    signature_key: str | None
    runtime: Runtime
    pool: WorkerPool

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the file: arrays by input name to arrays by output name. Raises SourceError if it cannot run."""
        try:
            with self.pool.open(self.runtime, self.data) as running:
                return running.run(inputs, signature_key=self.signature_key)
        except (RuntimeFailure, WorkerCrashed) as error:
            raise SourceError(f"{self.name}: cannot run the reference: {error}") from error


def open_tflite(source: TfliteModel, pool: WorkerPool) -> TfliteReference:
    """Return the model of ``source`` as a reference that runs in a worker of ``pool``.

    Raises SourceError if it cannot be read, or needs TensorFlow, which is not installed.
    """
    file = load_tflite(source.model).with_shapes(source.input_shapes or {})
    program = read_model(file.data, source=file.name)
    key = program.signature.key or None
    return TfliteReference(file.name, file.data, file.input_names, key, _runtime_for(program, file.name), pool)


def _runtime_for(program: Program, name: str) -> Runtime:
    """Return the builtin kernels of an interpreter that has every op of ``program``."""
    custom = [op.custom_code for op in program.ops() if isinstance(op, TfliteOp) and op.custom_code is not None]
    if not custom:
        return Runtime(AI_EDGE_LITERT, delegate=False)
    if not is_installed(TF_LITE):
        raise SourceError(
            f"{name}: the op {custom[0]} needs TensorFlow's interpreter: pip install 'tflite-rnn[tensorflow]'"
        )
    return Runtime(TF_LITE)


def with_open_time(given: Any, program: Program, metadata: ModelMetadata | None) -> Any:
    """Return a source of Keras with its time open if the model has it open, to run on chunks."""
    chunks = None if metadata is None else metadata.chunks
    if chunks is None or is_plain_function(given):
        return given
    source, inputs = as_source(given), zip(program.signature.inputs, program.main.inputs, strict=True)
    shapes = {name: value.type.shape or () for name, value in inputs}
    is_open = any(shapes.get(name, ())[axis : axis + 1] == (None,) for name, axis in chunks.inputs.items())
    return replace(source, open_time=True) if is_open and isinstance(source, KerasFile | KerasModel) else given


def with_steps(given: Any, steps: Mapping[str, int]) -> Any:
    """Return a source whose loops end after the ``steps`` of the model; a plain function is what it is."""
    if not steps or is_plain_function(given):
        return given
    source = as_source(given)
    return replace(source, max_steps={**(source.max_steps or {}), **steps})


def notes_on_bounds(given: Any, steps: Mapping[str, int]) -> Iterator[str]:
    """Yield after how many steps the loops of the model end, and whether those of the reference do."""
    goes_on = is_plain_function(given) or isinstance(as_source(given), FrozenGraph | TfliteModel)
    for name, number in steps.items():
        if goes_on:
            yield (
                f"the model ends the loop {name} after {number} steps: where the reference takes more, compare "
                f"with one that has maximum_iterations={number}"
            )
        else:
            yield (
                f"the loop {name} ends after {number} steps, in the model and, where it has one of that name, in "
                "the reference"
            )


def open_reference(
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
    if is_plain_function(given):
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


def guarded(reference: Reference) -> Reference:
    """Return a reference that raises CheckError where it cannot be run."""

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            return reference(inputs)
        except TfliteRnnError:
            raise
        except Exception as error:
            words = f"{type(error).__name__}: {_reason(error)}"
            shapes = describe_shapes({name: np.asarray(array) for name, array in inputs.items()})
            raise CheckError(
                f"the reference failed with {shapes}: {words}; give inputs that it takes (--inputs FILE.npz)"
            ) from error

    return run


def _reason(error: Exception) -> str:
    """Return what an error says, without the places in the source that TensorFlow adds."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not line.startswith(_PLACES))[:300]


def is_plain_function(given: Any) -> bool:
    """Return whether a reference is a function that is called as it is."""
    is_tensorflow = isinstance(given, FlatFunction) or type(given).__module__.startswith("tensorflow.")
    return callable(given) and not is_tensorflow and not is_keras_model(given)


def renamed(reference: Reference, rename: Mapping[str, str]) -> Reference:
    """Return the reference with the names of the model."""
    old = {new: name for name, new in rename.items()}

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = reference({old.get(name, name): array for name, array in inputs.items()})
        return {rename.get(name, name): array for name, array in outputs.items()}

    return run


def new_names(names: tuple[str, ...] | None, rename: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the new names of inputs, where they are known."""
    return None if names is None else tuple(rename.get(name, name) for name in names)
