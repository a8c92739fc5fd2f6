"""The worker process: holds one interpreter package and runs models on request.

Started by `tflite_rnn.runtime.client` as ``python -m tflite_rnn.runtime.worker INTERPRETER``. Requests arrive on
standard input and replies leave on what was standard output; the process ends when its input is closed, hence
also when its parent dies. Interpreters are imported here and nowhere else.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Final

import numpy as np

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
from tflite_rnn.runtime.runtimes import AI_EDGE_LITERT, TF_LITE, TFLITE_RUNTIME
from tflite_rnn.runtime.signature import Array, Signature, TensorSpec

_MODULES: Final = {
    TFLITE_RUNTIME: "tflite_runtime.interpreter",
    AI_EDGE_LITERT: "ai_edge_litert.interpreter",
}


class Model:
    """One model in one interpreter, run through its signatures, or by tensor names if the file has none."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
        self._shapes: dict[str, tuple[int, ...]] | None = None

    def signatures(self) -> tuple[Signature, ...]:
        """Describe every signature; one without a key if the file has none."""
        if not self._runners:
            inputs, outputs = self._details()
            return (Signature(None, _specs(inputs.items()), _specs(outputs.items())),)
        return tuple(
            Signature(key, _specs(runner.get_input_details().items()), _specs(runner.get_output_details().items()))
            for key, runner in self._runners.items()
        )

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once, resizing and allocating only if the shapes changed, and leave the state as it then is."""
        outputs = self._run_tensors(inputs) if signature_key is None else self._runners[signature_key](**inputs)
        self._shapes = {name: array.shape for name, array in inputs.items()}
        return {name: np.asarray(output) for name, output in outputs.items()}

    def time(self, signature_key: str | None, inputs: Mapping[str, Array], runs: int) -> list[float]:
        """Return the seconds that each of ``runs`` invokes takes, inputs and outputs included, after one more."""
        seconds = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            self.run(signature_key, inputs)
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    def reset(self) -> None:
        """Zero the variable tensors. Before the first run there are none yet, and the kernels start from zero."""
        if self._shapes is not None:
            self._interpreter.reset_all_variables()

    def _run_tensors(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted, outputs = self._details()
        if inputs.keys() != wanted.keys():
            raise ValueError(f"the model's inputs are {sorted(wanted)}, given were {sorted(inputs)}")
        if self._shapes != {name: array.shape for name, array in inputs.items()}:
            self._shapes = None  # should allocating fail, the next run must allocate again
            for name, array in inputs.items():
                self._interpreter.resize_tensor_input(wanted[name]["index"], array.shape)
            self._interpreter.allocate_tensors()
        for name, array in inputs.items():
            self._interpreter.set_tensor(wanted[name]["index"], array)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(detail["index"]) for name, detail in outputs.items()}

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        return _by_name(inputs, "inputs"), _by_name(outputs, "outputs")


def _by_name(details: list[Any], role: str) -> dict[str, Any]:
    named = {detail["name"]: detail for detail in details}
    if len(named) != len(details):
        names = [detail["name"] for detail in details]
        raise ValueError(f"the file has no signature and its {role} share a name: {names}; add a signature")
    return named


def _specs(details: Iterable[tuple[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, np.dtype(detail["dtype"]), _shape(detail["shape_signature"])) for name, detail in details
    )


def _shape(dimensions: Iterable[int]) -> tuple[int | None, ...]:
    return tuple(int(size) if size >= 0 else None for size in dimensions)


class Server:
    """Carries out requests on one interpreter package."""

    def __init__(self, interpreter: str) -> None:
        self._make, self._resolvers = _interpreter_classes(interpreter)
        self._models: dict[int, Model] = {}

    def handle(self, request: Request) -> Any:
        """Carry out one request and return its result; whatever the interpreter raises passes through."""
        if isinstance(request, Load):
            return self._load(request)
        if isinstance(request, Run):
            return self._models[request.model_id].run(request.signature_key, request.inputs)
        if isinstance(request, Time):
            return self._models[request.model_id].time(request.signature_key, request.inputs, request.runs)
        if isinstance(request, Reset):
            return self._models[request.model_id].reset()
        del self._models[request.model_id]
        return None

    def _load(self, request: Load) -> tuple[Signature, ...]:
        types = self._resolvers
        resolver = types.AUTO if request.delegate else types.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        model = Model(
            self._make(
                model_content=request.model,
                num_threads=request.threads,
                experimental_op_resolver_type=resolver,
            )
        )
        signatures = model.signatures()
        self._models[request.model_id] = model
        return signatures


def _interpreter_classes(interpreter: str) -> tuple[Any, Any]:
    """Import a package and return its Interpreter and OpResolverType."""
    if interpreter == TF_LITE:
        import tensorflow as tf

        return tf.lite.Interpreter, tf.lite.experimental.OpResolverType
    module = importlib.import_module(_MODULES[interpreter])
    return module.Interpreter, module.OpResolverType


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
    # A package that does not fit its surroundings (NumPy, the CPU) fails in many ways; all are to be reported.
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
