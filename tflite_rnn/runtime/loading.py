"""Loading models into the interpreter of one package, in this process: what workers and streams are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tflite_rnn.runtime.interpreter_model import InterpreterLoader
from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.runtimes import COMPILED_MODEL, MICRO
from tflite_rnn.runtime.signature import Array, Signature


class LoadsModels(Protocol):
    """Makes models of one package ready to run."""

    def load(self, request: Load) -> RunsModel:
        """Load a model; whatever the package raises passes through."""


class RunsModel(Protocol):
    """A loaded model; whatever its package raises passes through."""

    def signatures(self) -> tuple[Signature, ...]:
        """Describe every signature; one without a key if the file has none."""

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once, leaving the state as it then is."""

    def reset(self) -> None:
        """Zero the state."""


def open_loader(interpreter: str) -> LoadsModels:
    """Import the package of an interpreter and return what loads models into it; whatever it raises passes."""
    if interpreter == COMPILED_MODEL:
        from tflite_rnn.runtime.compiled_model import CompiledModelLoader

        return CompiledModelLoader()
    if interpreter == MICRO:
        from tflite_rnn.runtime.micro_model import MicroModelLoader

        return MicroModelLoader()
    return InterpreterLoader(interpreter)
