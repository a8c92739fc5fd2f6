"""Stream through TensorFlow Lite's C interface, as a program in C would: allocate once, then invoke.

``python c_interpreter.py LIBRARY MODEL CHUNKS.npy OUTPUTS.npy``: every chunk is fed, then the signature ``reset``
is run, and every chunk is fed again. A kernel that crashes ends this process alone.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import c_char_p, c_size_t, c_void_p

import numpy as np


class Interpreter:
    """A model in the C interpreter. RuntimeError if a call fails."""

    def __init__(self, library: str, model: bytes) -> None:
        self._c = ctypes.CDLL(library)
        self._model = model  # the interpreter reads its weights from here
        loaded = self._pointer("TfLiteModelCreate", c_char_p(model), c_size_t(len(model)))
        options = self._pointer("TfLiteInterpreterOptionsCreate")
        self._interpreter = self._pointer("TfLiteInterpreterCreate", loaded, options)
        self._runners = {key: self._runner(key) for key in ("serving_default", "reset")}

    def _runner(self, key: str) -> c_void_p:
        runner = self._pointer("TfLiteInterpreterGetSignatureRunner", self._interpreter, c_char_p(key.encode()))
        self._status("TfLiteSignatureRunnerAllocateTensors", runner)
        return runner

    def run(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Invoke the main signature on its input ``x``, and return its output ``y`` of ``shape``."""
        runner, y = self._runners["serving_default"], np.zeros(shape, np.float32)
        given = self._pointer("TfLiteSignatureRunnerGetInputTensor", runner, c_char_p(b"x"))
        self._status("TfLiteTensorCopyFromBuffer", given, x.ctypes.data_as(c_void_p), c_size_t(x.nbytes))
        self._status("TfLiteSignatureRunnerInvoke", runner)
        made = self._pointer("TfLiteSignatureRunnerGetOutputTensor", runner, c_char_p(b"y"))
        self._status("TfLiteTensorCopyToBuffer", made, y.ctypes.data_as(c_void_p), c_size_t(y.nbytes))
        return y

    def reset(self) -> None:
        """Run the signature ``reset``."""
        self._status("TfLiteSignatureRunnerInvoke", self._runners["reset"])

    def _pointer(self, name: str, *arguments: object) -> c_void_p:
        function = getattr(self._c, name)
        function.restype = c_void_p
        found = function(*arguments)
        if not found:
            raise RuntimeError(f"{name} returned nothing")
        return c_void_p(found)

    def _status(self, name: str, *arguments: object) -> None:
        status = getattr(self._c, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with status {status}")


def main() -> None:
    """Stream, reset, and stream again."""
    library, model, chunks_file, outputs_file = sys.argv[1:]
    with open(model, "rb") as file:
        interpreter = Interpreter(library, file.read())
    chunks = np.load(chunks_file)
    shape = (*chunks.shape[1:-1], 4)
    rounds = []
    for _ in range(3):
        rounds.append([interpreter.run(np.ascontiguousarray(chunk), shape) for chunk in chunks])
        interpreter.reset()
    np.save(outputs_file, np.array(rounds))


if __name__ == "__main__":
    main()
