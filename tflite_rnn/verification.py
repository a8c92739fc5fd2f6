"""A model is tried before it is handed out: a worker loads it on its target's runtimes, and runs it once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Final

import numpy as np

from converter.convert import Converted
from converter.errors import VerificationError
from converter.report import TrialRecord
from converter.targets import Target
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    COMPILED_MODEL,
    MICRO,
    RESET_KEY,
    TFLITE_RUNTIME,
    LoadedModel,
    Runtime,
    RuntimeFailure,
    RuntimeTimeout,
    Signature,
    TensorSpec,
    WorkerCrashed,
    WorkerPool,
    is_installed,
)
from tflite_rnn.runtime.signature import Array

RUNTIMES: Final[Mapping[Target, tuple[Runtime, ...]]] = {
    Target.LITERT: (Runtime(AI_EDGE_LITERT), Runtime(AI_EDGE_LITERT, delegate=False)),
    Target.LITERT_COMPILED: (Runtime(COMPILED_MODEL),),
    Target.LITERT_WEB: (Runtime(COMPILED_MODEL),),  # the nearest to LiteRT.js, which runs in a browser only
    Target.TFLITE_RUNTIME: (Runtime(TFLITE_RUNTIME), Runtime(TFLITE_RUNTIME, delegate=False)),
    Target.TFLM: (Runtime(MICRO),),
}
"""Where the files of each target are tried."""

SIZES: Final = (*range(1, 9), 10, 12, 16, 20, 24, 32, 48, 64, 80, 96, 100, 128, 160, 256, 400, 512, 1024)
"""What open sizes are tried with, until one is legal: the source does not say which are."""

MOST_ELEMENTS: Final = 1 << 24
"""How many numbers the inputs may hold that are tried for open sizes."""

TIMEOUT: Final = 300.0
"""Seconds that loading or running may take."""


def verified(converted: Converted, target: Target, *, pool: WorkerPool | None = None) -> Converted:
    """Return ``converted`` with a report that says where it was tried.

    Where a runtime is not installed, takes too long, or refuses every size that is tried for the open ones, the
    report says that the file was not run, and why. Raises VerificationError if it does not load, crashes, or does
    not run on inputs of zeros or of ones though all its sizes are fixed. ``pool`` holds workers to use and leave
    running; by default there are new ones, which end here.
    """
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(WorkerPool(timeout=TIMEOUT)) if pool is None else pool
        trials = tuple(_trial(workers, runtime, converted) for runtime in RUNTIMES[target])
    return replace(converted, report=replace(converted.report, trials=trials))


def _trial(pool: WorkerPool, runtime: Runtime, converted: Converted) -> TrialRecord:
    model, chunks = converted.model, converted.report.chunks
    if not is_installed(runtime.interpreter):
        return TrialRecord(runtime.label, not_run="it is not installed")
    try:
        pool.worker(runtime.interpreter).start()
    except (RuntimeFailure, WorkerCrashed) as error:
        return TrialRecord(runtime.label, not_run=_first_line(error))
    try:
        with pool.open(runtime, model) as loaded:
            signature = loaded.signature
        return _tried(pool, runtime, model, signature, 1 if chunks is None else chunks.multiple)
    except RuntimeTimeout as error:
        return TrialRecord(runtime.label, not_run=_first_line(error))
    except (RuntimeFailure, WorkerCrashed) as error:
        raise VerificationError(
            f"the converted model does not run on {runtime} (verify=False, or --no-verify, returns it all the "
            f"same): {error}"
        ) from error


def _tried(pool: WorkerPool, runtime: Runtime, model: bytes, signature: Signature, multiple: int) -> TrialRecord:
    """Run the model on the first inputs that it takes. The last error passes if it ought to take some.

    Open sizes are multiples of ``multiple``, for chunks are.
    """
    failure: RuntimeFailure | WorkerCrashed | None = None
    crashed: WorkerCrashed | None = None
    for inputs in _attempts(signature, multiple):
        try:
            with pool.open(runtime, model) as running:
                ran = _run(running, inputs)
        except RuntimeTimeout:
            raise
        except WorkerCrashed as error:
            failure = crashed = error
        except RuntimeFailure as error:
            failure = error
        else:
            shapes = {name: array.shape for name, array in inputs.items()}
            return TrialRecord(runtime.label, ran, shapes, crash=None if crashed is None else _first_line(crashed))
    if failure is None:
        return TrialRecord(runtime.label, not_run="its open sizes are too many to try")
    if crashed is not None or not _is_open(signature):
        raise crashed or failure
    return TrialRecord(runtime.label, not_run=f"no open sizes were found that it takes: {_first_line(failure)}")


def _run(running: LoadedModel, inputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Run the model, and where it keeps its state reset it and run it again; return the signatures that ran."""
    running.run(inputs)
    key = running.signature.key or "its only graph"
    if not running.keeps_state:
        return (key,)
    running.rewind()
    running.run(inputs)
    return (key, RESET_KEY, key)


def _attempts(signature: Signature, multiple: int) -> Iterator[dict[str, Array]]:
    """Yield inputs to try: indices and lengths of zero are legal everywhere, divisors of zero are not."""
    if not _is_open(signature):
        yield {spec.name: _filled(spec, spec.shape, 0) for spec in signature.inputs}
        yield {spec.name: _filled(spec, spec.shape, 1) for spec in signature.inputs}
        return
    for open_size in (size * multiple for size in SIZES):
        shapes = {
            spec.name: tuple(open_size if size is None else size for size in spec.shape)
            for spec in signature.inputs
        }
        if sum(map(prod, shapes.values())) <= MOST_ELEMENTS:
            yield {spec.name: _filled(spec, shapes[spec.name], 0) for spec in signature.inputs}


def _is_open(signature: Signature) -> bool:
    return any(None in spec.shape for spec in signature.inputs)


def _filled(spec: TensorSpec, shape: Sequence[int | None], number: int) -> Array:
    """Return an array that is ``number`` everywhere; strings are its digit."""
    if spec.dtype.kind in "SUO":
        return np.full([size or 0 for size in shape], str(number).encode(), object)
    return np.full([size or 0 for size in shape], number, spec.dtype)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
