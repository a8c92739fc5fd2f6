"""Load models into the interpreter of one package, in this process; used by workers and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tflite_rnn.runtime.interpreter_model import InterpreterLoader
from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.runtimes import COMPILED_MODEL, MICRO
from tflite_rnn.runtime.signature import Array, Signature


class LoadsModels(Protocol):
    """Loads models with one package."""

    def load(self, request: Load) -> RunsModel:
        """Load a model. Errors of the package are not caught."""


class RunsModel(Protocol):
    """A loaded model. Errors of its package are not caught."""

    def signatures(self) -> tuple[Signature, ...]:
        """Describe every signature; one without a key if the file has none."""

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once; the state is kept."""

    def reset(self) -> None:
        """Zero the state."""


def open_loader(interpreter: str) -> LoadsModels:
    """Import the package of an interpreter and return its loader. Errors of the package are not caught."""
    if interpreter == COMPILED_MODEL:
        from tflite_rnn.runtime.compiled_model import CompiledModelLoader

        return CompiledModelLoader()
    if interpreter == MICRO:
        from tflite_rnn.runtime.micro_model import MicroModelLoader

        return MicroModelLoader()
    return InterpreterLoader(interpreter)
