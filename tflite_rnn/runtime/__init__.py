"""Run a ``.tflite`` on real interpreters, and prove it against a reference.

It does not need TensorFlow: NumPy and one installed interpreter suffice, on a device too.
Importing this package imports no interpreter; the worker processes do, and `Stream.open`.

Feed a sequence to a model in chunks, as on a device, in this process::

    with Stream.open("model.tflite") as stream:
        for chunk in chunks:
            outputs = stream.feed({"x": chunk})

Prove a model on every installed runtime::

    cases = example_cases(signature, np.random.default_rng(0))
    report = compare(model, reference, cases)
    print(report)           # a table, one row per runtime and output, and a verdict
    assert report.ok

``reference`` is a function from named inputs to named outputs. Every case is invoked several times in a row
without a reset, because a recurrent model that leaks its state is right the first time and wrong the second.

Run a model by hand, and learn its signature::

    with WorkerPool() as pool, pool.open(Runtime("ai-edge-litert"), model) as running:
        signature = running.signature
        outputs = running.run({"x": x})

* `Runtime`, `RUNTIMES`, `installed_runtimes`: an interpreter (``tflite-runtime``, ``ai-edge-litert``,
  ``tf.lite``) with or without its default delegate, and which of the six are installed.
* `SPECIAL_RUNTIMES`: LiteRT's CompiledModel (``litert-compiled``) and TensorFlow Lite for Microcontrollers
  (``tflm``), which run models made for them.
* `WorkerPool`, `Worker`, `LoadedModel`: processes that run models. A crash or a hang ends one process, which is
  restarted for the next model.
* `Stream`: feeds a sequence chunk by chunk to a model that keeps its state, or that takes and returns it;
  `StreamError` if it does neither.
* `read_metadata`, `ModelMetadata`: which compiler made a file, for which target and with which state policy; and
  what it promises on chunks, a `ChunkContract` with `OutputRows`.
* `Signature`, `TensorSpec`: what a model takes and returns; None marks a dynamic dimension.
* `example_inputs`, `example_cases`: random inputs for a signature.
* `compare`, `ParityReport`, `ParityRow`: the comparison and its outcome; ``report.to_dict()`` is for JSON.
* `RuntimeFailure`: an interpreter refused a model, failed, or took too long (`RuntimeTimeout`). `WorkerCrashed`:
  it ended its process. `CheckError`: there is nothing to compare. All are `TfliteRnnError`.
"""

from __future__ import annotations

from converter.chunks import ChunkContract, OutputRows
from tflite_rnn.runtime.client import LoadedModel, Worker, WorkerPool
from tflite_rnn.runtime.errors import CheckError, RuntimeFailure, RuntimeTimeout, StreamError, WorkerCrashed
from tflite_rnn.runtime.inputs import example_cases, example_inputs
from tflite_rnn.runtime.metadata import ModelMetadata, read_metadata
from tflite_rnn.runtime.parity import ModelRunner, Progress, Reference, RunningModel, compare
from tflite_rnn.runtime.report import ParityReport, ParityRow
from tflite_rnn.runtime.runtimes import (
    AI_EDGE_LITERT,
    COMPILED_MODEL,
    INTERPRETERS,
    MICRO,
    RUNTIMES,
    SPECIAL_RUNTIMES,
    TF_LITE,
    TFLITE_RUNTIME,
    Runtime,
    installed_runtimes,
    is_installed,
)
from tflite_rnn.runtime.signature import RESET_KEY, Signature, TensorSpec
from tflite_rnn.runtime.stream import Stream

__all__ = [
    "AI_EDGE_LITERT",
    "COMPILED_MODEL",
    "INTERPRETERS",
    "MICRO",
    "RESET_KEY",
    "RUNTIMES",
    "SPECIAL_RUNTIMES",
    "TFLITE_RUNTIME",
    "TF_LITE",
    "CheckError",
    "ChunkContract",
    "LoadedModel",
    "ModelMetadata",
    "ModelRunner",
    "OutputRows",
    "ParityReport",
    "ParityRow",
    "Progress",
    "Reference",
    "RunningModel",
    "Runtime",
    "RuntimeFailure",
    "RuntimeTimeout",
    "Signature",
    "Stream",
    "StreamError",
    "TensorSpec",
    "Worker",
    "WorkerCrashed",
    "WorkerPool",
    "compare",
    "example_cases",
    "example_inputs",
    "installed_runtimes",
    "is_installed",
    "read_metadata",
]
