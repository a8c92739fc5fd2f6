"""Run models in worker processes: one process per interpreter package, kept alive, restarted after a crash.

A kernel that crashes ends only its worker; a kernel that hangs is killed after a timeout. A
`Worker` and its models belong to one thread at a time.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import numpy as np

from tflite_rnn.runtime.errors import RuntimeFailure, RuntimeTimeout, WorkerCrashed
from tflite_rnn.runtime.messages import (
    Failed,
    Load,
    Reply,
    Request,
    Reset,
    Run,
    Time,
    Unload,
    read_message,
    write_message,
)
from tflite_rnn.runtime.python import isolated_command
from tflite_rnn.runtime.runtimes import Runtime
from tflite_rnn.runtime.signature import RESET_KEY, Array, Signature, default_signature, describe_shapes

TIMEOUT: Final = 60.0
START_TIMEOUT: Final = 180.0

_TAIL_BYTES: Final = 2000
_END_TIMEOUT: Final = 5.0
_QUIET: Final = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class _Child:
    """A started worker process, its pipes, and the last lines that it printed."""

    def __init__(self, interpreter: str) -> None:
        self._process = subprocess.Popen(
            isolated_command("tflite_rnn.runtime.worker", interpreter),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_QUIET},
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        self._errors = cast("io.BufferedReader", self._process.stderr)
        self._printed = b""
        self._listener = threading.Thread(target=self._listen, args=(self._errors,), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exchange(self, request: Request | None, timeout: float) -> Reply | None:
        """Send a request (None: only listen) and return the reply; None if the process died instead.

        Raises TimeoutError if there is no reply within ``timeout`` seconds, after killing the process.
        """
        self._printed = b""  # drop what it printed during earlier requests
        expired = threading.Event()
        timer = threading.Timer(timeout, self._expire, args=(expired,))
        timer.start()
        try:
            reply = self._exchange(request)
        finally:
            timer.cancel()
            timer.join()  # the timer may fire at this moment: `expired` is final only now
        if expired.is_set():
            raise TimeoutError(f"no answer within {timeout:g} s")
        return reply

    def _exchange(self, request: Request | None) -> Reply | None:
        try:
            if request is not None:
                write_message(self._requests, request)
        except BrokenPipeError:
            return None
        return cast("Reply | None", read_message(self._replies))

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self._process.kill()  # closes both pipes, which wakes the thread that waits on them

    def _listen(self, stream: io.BufferedReader) -> None:
        while chunk := stream.read1(_TAIL_BYTES):
            self._printed = (self._printed + chunk)[-_TAIL_BYTES:]

    def end(self, *, patience: float) -> None:
        """Close the request pipe, which asks the process to end; kill it when ``patience`` seconds are over."""
        with contextlib.suppress(BrokenPipeError):  # it died while a request was written
            self._requests.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(_END_TIMEOUT)
        self._replies.close()
        self._errors.close()

    def last_words(self) -> str:
        """Return how the process ended and what it printed last; call it after `end`."""
        printed = self._printed.decode(errors="replace").strip()
        return f"{_ending(self._process.returncode)}" + (f"; it printed last:\n{printed}" if printed else "")


def _ending(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class Worker:
    """A worker process for one interpreter package, started when first needed and after every crash.

    Args:
        interpreter: one of `tflite_rnn.runtime.INTERPRETERS`.
        timeout: seconds that one request (a load, a run) may take before the process is killed.
        start_timeout: seconds that starting and importing the package may take.
    """

    def __init__(
        self, interpreter: str, *, timeout: float = TIMEOUT, start_timeout: float = START_TIMEOUT
    ) -> None:
        self._interpreter = Runtime(interpreter).interpreter  # which refuses an unknown name
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._child: _Child | None = None
        self._ids = itertools.count(1)
        self._loaded: set[int] = set()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the worker; None while none runs."""
        return self._child.pid if self._child else None

    def load(self, model: bytes, *, delegate: bool = True, threads: int = 1) -> LoadedModel:
        """Load a model, starting the worker process if none runs.

        Raises:
            RuntimeFailure: if the package cannot be imported, or refuses the model.
            WorkerCrashed: if the process dies.
        """
        runtime = Runtime(self._interpreter, delegate)
        self.start()
        request = Load(next(self._ids), model, delegate, threads)
        signatures = self._request(request, runtime.label, f"loading a model of {len(model)} bytes")
        self._loaded.add(request.model_id)
        return LoadedModel(self, request.model_id, runtime, signatures)

    def close(self) -> None:
        """End the worker process, if one runs. A later `load` starts another."""
        self._end(patience=_END_TIMEOUT)

    def start(self) -> None:
        """Start the worker process and import the package in it, unless one runs. Errors as `load`."""
        if self._child is not None:
            return
        try:
            self._child = _Child(self._interpreter)
        except OSError as error:
            raise RuntimeFailure(f"{self._interpreter}: cannot start a process: {error}") from error
        try:
            self._exchange(None, self._interpreter, "starting", self._start_timeout)
        except BaseException:
            self._end(patience=0)
            raise

    def _request(self, request: Request, label: str, doing: str) -> Any:
        if not isinstance(request, Load) and request.model_id not in self._loaded:
            raise RuntimeFailure(
                f"{label}: cannot continue {doing}: the model was unloaded or its worker process has "
                "ended; load it again"
            )
        return self._exchange(request, label, doing, self._timeout)

    def _exchange(self, request: Request | None, label: str, doing: str, timeout: float) -> Any:
        child = cast("_Child", self._child)
        try:
            reply = child.exchange(request, timeout)
        except TimeoutError as error:
            self._end(patience=0)
            raise RuntimeTimeout(f"{label}: {error} while {doing}; its process was killed") from None
        except BaseException:
            self._end(patience=0)  # a late reply must not be taken for the answer to the next request
            raise
        if reply is None:
            self._end(patience=_END_TIMEOUT)
            raise WorkerCrashed(f"{label}: crashed while {doing}: {child.last_words()}")
        if isinstance(reply, Failed):
            raise RuntimeFailure(f"{label}: failed while {doing}: {reply.message}")
        return reply.value

    def _unload(self, model_id: int, label: str) -> None:
        if model_id in self._loaded:
            self._loaded.remove(model_id)
            self._exchange(Unload(model_id), label, "unloading a model", self._timeout)

    def _end(self, *, patience: float) -> None:
        child, self._child = self._child, None
        self._loaded.clear()
        if child is not None:
            child.end(patience=patience)


class LoadedModel:
    """A model that a worker holds ready; a context manager that unloads it.

    Every method raises RuntimeFailure if the interpreter reports an error or the model is no longer loaded, and
    WorkerCrashed if the worker process dies.
    """

    def __init__(self, worker: Worker, model_id: int, runtime: Runtime, signatures: tuple[Signature, ...]) -> None:
        self.runtime = runtime
        self.signatures = signatures
        self._worker = worker
        self._id = model_id

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unload()

    @property
    def signature(self) -> Signature:
        """The signature that `run` uses by default: ``serving_default``, else the first."""
        return default_signature(self.signatures)

    def run(self, inputs: Mapping[str, Array], *, signature_key: str | None = None) -> dict[str, Array]:
        """Invoke once and return the outputs by name.

        The model keeps its state between invokes: each starts from the state after the last one, as on a device.
        Tensors are resized and allocated again only if the shapes differ from the last call's.
        """
        key, arrays = self._key(signature_key), _arrays(inputs)
        outputs = self._request(Run(self._id, key, arrays), f"running a model with {describe_shapes(arrays)}")
        return cast("dict[str, Array]", outputs)

    def time(self, inputs: Mapping[str, Array], *, runs: int, signature_key: str | None = None) -> list[float]:
        """Return the seconds that each of ``runs`` invokes takes in the worker, after one to warm up."""
        key, arrays = self._key(signature_key), _arrays(inputs)
        doing = f"timing a model with {describe_shapes(arrays)}"
        return cast("list[float]", self._request(Time(self._id, key, arrays, runs), doing))

    def _key(self, wanted: str | None) -> str | None:
        key = self.signature.key if wanted is None else wanted
        keys = [signature.key for signature in self.signatures]
        if key not in keys:
            raise RuntimeFailure(f"{self.runtime}: unknown signature {key!r}; the signatures are {keys}")
        return key

    @property
    def keeps_state(self) -> bool:
        """True if the model is meant to keep its state between invokes, and has a signature ``reset``."""
        return any(signature.key == RESET_KEY for signature in self.signatures)

    def rewind(self) -> None:
        """Run the model's signature ``reset`` if it keeps its state."""
        if self.keeps_state:
            self.run({}, signature_key=RESET_KEY)

    def reset(self) -> None:
        """Set every state tensor of the model back to zero."""
        self._request(Reset(self._id), "resetting a model")

    def unload(self) -> None:
        """Free the model, if it is still loaded and its worker process runs."""
        self._worker._unload(self._id, self.runtime.label)

    def _request(self, request: Request, doing: str) -> Any:
        return self._worker._request(request, self.runtime.label, doing)


def _arrays(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.asarray(array) for name, array in inputs.items()}


class WorkerPool:
    """One worker per interpreter package, each started when first needed and kept until the pool closes."""

    def __init__(self, *, timeout: float = TIMEOUT, start_timeout: float = START_TIMEOUT) -> None:
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def worker(self, interpreter: str) -> Worker:
        """Return the worker of one interpreter package."""
        if interpreter not in self._workers:
            self._workers[interpreter] = Worker(
                interpreter, timeout=self._timeout, start_timeout=self._start_timeout
            )
        return self._workers[interpreter]

    def open(self, runtime: Runtime, model: bytes) -> LoadedModel:
        """Load a model on a runtime; errors as `Worker.load`. Use it in a ``with``, which unloads the model."""
        return self.worker(runtime.interpreter).load(model, delegate=runtime.delegate)

    def renew(self, runtime: Runtime) -> None:
        """End the process of this runtime's interpreter; the next model starts another."""
        self.worker(runtime.interpreter).close()

    def close(self) -> None:
        """End every worker process."""
        for worker in self._workers.values():
            worker.close()
