"""Run a model in an interpreter in this process, as on a device without worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from tflite_rnn.runtime.errors import RuntimeFailure
from tflite_rnn.runtime.loading import RunsModel, open_loader
from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.runtimes import AI_EDGE_LITERT, TF_LITE, TFLITE_RUNTIME, Runtime, is_installed
from tflite_rnn.runtime.signature import RESET_KEY, Array, Signature, default_signature, describe_shapes

_PREFERRED = (AI_EDGE_LITERT, TFLITE_RUNTIME, TF_LITE)

_FAILURES = (ImportError, OSError, RuntimeError, TypeError, ValueError)
"""Errors that interpreters raise for a model or an input that they refuse."""


class LocalModel:
    """A model loaded in this process. A kernel that crashes ends the process.

    Every method raises RuntimeFailure if the interpreter reports an error.
    """

    def __init__(self, model: RunsModel, runtime: Runtime) -> None:
        self.runtime = runtime
        with _failures(runtime, "reading the signatures"):
            self.signatures: tuple[Signature, ...] = model.signatures()
        self._model = model

    @property
    def signature(self) -> Signature:
        """The signature that `run` uses: ``serving_default``, else the first."""
        return default_signature(self.signatures)

    @property
    def keeps_state(self) -> bool:
        """True if the model is meant to keep its state between invokes, and has a signature ``reset``."""
        return any(signature.key == RESET_KEY for signature in self.signatures)

    def run(self, inputs: Mapping[str, Array], *, signature_key: str | None = None) -> dict[str, Array]:
        """Invoke a signature, by default `signature`, once and return its outputs by name; the state is kept."""
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        with _failures(self.runtime, f"running a model with {describe_shapes(arrays)}"):
            return self._model.run(signature_key or self.signature.key, arrays)

    def rewind(self) -> None:
        """Run the model's signature ``reset`` if it keeps its state."""
        if self.keeps_state:
            with _failures(self.runtime, "resetting a model"):
                self._model.run(RESET_KEY, {})


def load_local(model: bytes, runtime: Runtime | None = None, *, threads: int = 1) -> LocalModel:
    """Load a model in this process, by default in the best interpreter that is installed.

    Raises RuntimeFailure if none is installed, or it cannot be imported, or refuses the model.
    """
    chosen = _best_runtime() if runtime is None else runtime
    if not is_installed(chosen.interpreter):
        raise RuntimeFailure(f"{chosen} is not installed; installed: {', '.join(_installed()) or 'none'}")
    with _failures(chosen, f"loading a model of {len(model)} bytes"):
        loader = open_loader(chosen.interpreter)
        loaded = loader.load(Load(0, model, chosen.delegate, threads))
    return LocalModel(loaded, chosen)


def _best_runtime() -> Runtime:
    for interpreter in _installed():
        return Runtime(interpreter)
    raise RuntimeFailure(
        f"no interpreter is installed: pip install {AI_EDGE_LITERT} (or one of {', '.join(_PREFERRED[1:])})"
    )


def _installed() -> list[str]:
    return [interpreter for interpreter in _PREFERRED if is_installed(interpreter)]


@contextmanager
def _failures(runtime: Runtime, doing: str) -> Iterator[None]:
    """Raise RuntimeFailure for the interpreter's errors, saying what it was doing."""
    try:
        yield
    except _FAILURES as error:
        raise RuntimeFailure(f"{runtime}: failed while {doing}: {type(error).__name__}: {error}") from error
