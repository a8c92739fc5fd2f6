"""The runtimes that tests run models on: those that are installed.

A list of several holds those of them that are installed. A test of one that is not is skipped by the worker pool,
which says why. The head of a test run lists both kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pytest

from tflite_rnn.runtime import (
    INTERPRETERS,
    RUNTIMES,
    TF_LITE,
    TFLITE_RUNTIME,
    LoadedModel,
    Runtime,
    WorkerPool,
    is_installed,
)

_PRESENT = frozenset(name for name in INTERPRETERS if is_installed(name))


def installed(runtimes: Iterable[Runtime]) -> list[Runtime]:
    """Return those of ``runtimes`` that are installed, in their order."""
    return [runtime for runtime in runtimes if runtime.interpreter in _PRESENT]


INSTALLED = installed(RUNTIMES)
"""Where every model runs."""

QUICK = [runtime for runtime in INSTALLED if runtime.interpreter != TF_LITE]
"""The same without TensorFlow's own interpreter, which is slow to start."""


def has_wheels(interpreter: str) -> bool:
    """Whether the interpreter's package can be installed on this Python."""
    return interpreter != TFLITE_RUNTIME or sys.version_info < (3, 12)


def why_missing(interpreter: str) -> str:
    """Say that an interpreter's package is not installed, and why that may be."""
    reason = "" if has_wheels(interpreter) else ": its wheels stop at Python 3.11"
    return f"{interpreter} is not installed{reason}"


def skip_if_missing(interpreter: str) -> None:
    """Skip the test if the interpreter's package is not installed."""
    if interpreter not in _PRESENT:
        pytest.skip(why_missing(interpreter))


def summary() -> str:
    """Return a line that says which runtimes are installed and which are not."""
    there = [name for name in INTERPRETERS if name in _PRESENT]
    missing = [why_missing(name) for name in INTERPRETERS if name not in _PRESENT]
    return "; ".join([f"runtimes: {', '.join(there)}", *missing])


class SkippingPool(WorkerPool):
    """Worker processes; a test that asks for a runtime that is not installed is skipped."""

    def open(self, runtime: Runtime, model: bytes) -> LoadedModel:
        """Load a model, or skip the test."""
        skip_if_missing(runtime.interpreter)
        return super().open(runtime, model)
