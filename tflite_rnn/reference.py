"""Run a ``.tflite`` as the float reference of another one, on an interpreter, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converter.errors import SourceError
from converter.flatbuffer import read_model
from converter.importers.tflite_file import load_tflite
from converter.ir import Program, TfliteOp
from converter.sources import TfliteModel
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    TF_LITE,
    Runtime,
    RuntimeFailure,
    WorkerCrashed,
    WorkerPool,
    is_installed,
)
from tflite_rnn.runtime.signature import Array


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
