"""A file about an internal error: what is needed to report it, and nothing of the model."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

import tflite_rnn
from tflite_rnn.terminal import printable

PACKAGES = (
    "ai-edge-litert",
    "click",
    "flatbuffers",
    "h5py",
    "keras",
    "numpy",
    "rich",
    "tensorflow",
    "tf_keras",
    "tflite-micro",
    "tflite-runtime",
)


def write_crash_report(error: Exception) -> str:
    """Write the traceback, the command and the versions to a new temporary file; return words that name it.

    Where no file can be written, the report goes to standard error.
    """
    report = "\n".join(_lines(error)) + "\n"
    try:
        path = _written(report.encode("utf-8", "backslashreplace"))
    except OSError:
        click.echo(printable(report), err=True)
        return "please report it with the lines above"
    return f"please report it with the file {path}"


def _written(report: bytes) -> Path:
    """Write a temporary file that only the user can read, whole or not at all."""
    handle, name = tempfile.mkstemp(prefix="tflite-rnn-error-", suffix=".txt")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(report)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _lines(error: Exception) -> Iterator[str]:
    yield f"tflite-rnn {tflite_rnn.__version__}"
    yield f"command: {shlex.join(['tflite-rnn', *sys.argv[1:]])}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{package}: not installed"
    yield ""
    yield "".join(traceback.format_exception(error)).rstrip()
    if sys.version_info < (3, 11):  # later Pythons print the notes of an error themselves
        yield from getattr(error, "__notes__", ())
