"""The worker process: holds one interpreter package and runs models on request.

Started by `tflite_rnn.runtime.client` as ``python -m tflite_rnn.runtime.worker INTERPRETER`` would be, but without
the current directory among the places of modules (`tflite_rnn.runtime.python`). Requests arrive on
standard input and replies leave on what was standard output; the process ends when its input is closed, hence
also when its parent dies. Interpreters are imported here, and where a `Stream` is opened.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

from tflite_rnn.runtime.loading import RunsModel, open_loader
from tflite_rnn.runtime.messages import (
    Done,
    Failed,
    Load,
    Reply,
    Request,
    Reset,
    Run,
    Time,
    read_message,
    write_message,
)
from tflite_rnn.runtime.signature import Signature


class Server:
    """Carries out requests on one interpreter package."""

    def __init__(self, interpreter: str) -> None:
        self._loader = open_loader(interpreter)
        self._models: dict[int, RunsModel] = {}

    def handle(self, request: Request) -> Any:
        """Carry out one request and return its result; whatever the interpreter raises passes through."""
        if isinstance(request, Load):
            return self._load(request)
        if isinstance(request, Run):
            return self._models[request.model_id].run(request.signature_key, request.inputs)
        if isinstance(request, Time):
            return _timed(self._models[request.model_id], request)
        if isinstance(request, Reset):
            return self._models[request.model_id].reset()
        del self._models[request.model_id]
        return None

    def _load(self, request: Load) -> tuple[Signature, ...]:
        model = self._loader.load(request)
        signatures = model.signatures()
        self._models[request.model_id] = model
        return signatures


def _timed(model: RunsModel, request: Time) -> list[float]:
    """Return the seconds that each invoke takes, inputs and outputs included, after one more."""
    seconds = []
    for _ in range(request.runs + 1):
        start = time.perf_counter()
        model.run(request.signature_key, request.inputs)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _answer(server: Server, request: Request) -> Reply:
    try:
        return Done(server.handle(request))
    # Interpreters raise whatever they like, and all of it is to be reported.
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> Failed:
    return Failed(f"{type(error).__name__}: {error}")


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for messages only: native libraries that print get standard error instead."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _become_quiet() -> None:
    """Leave Ctrl-C to the parent, and leave no core file where a kernel crashes: a crash is a result here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _forward(requests: BinaryIO, inbox: queue.SimpleQueue[Request]) -> None:
    """Pass requests on until the parent closes the pipe, then end the process even if an invoke still runs."""
    while (request := read_message(requests)) is not None:
        inbox.put(request)
    os._exit(0)


def main(interpreter: str) -> None:
    """Serve requests until the process ends."""
    _become_quiet()
    requests, replies = _claim_pipes()
    inbox: queue.SimpleQueue[Request] = queue.SimpleQueue()
    reader = threading.Thread(target=_forward, args=(requests, inbox), daemon=True)
    reader.start()
    try:
        server = Server(interpreter)
    # A package that is incompatible with its environment (NumPy, the CPU) fails in many ways; all are to be
    # reported.
    except Exception as error:
        write_message(replies, _failed(error))
        reader.join()  # does not return: the process ends when the parent has read why
        raise
    write_message(replies, Done(None))
    while True:
        request = inbox.get()
        write_message(replies, _answer(server, request))


if __name__ == "__main__":
    main(sys.argv[1])
