"""Keep the output of native libraries and of TensorFlow's import off the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from converter.errors import TfliteRnnError
from tflite_rnn.interrupts import interrupts_end_the_process


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what native code prints to stderr from the terminal; if the block fails unexpectedly, it is a note of
    the exception.

    It redirects the file descriptor of the whole process: for programs, not for libraries.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except Exception as error:
            sink.seek(0)
            _add_note(error, sink.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def _add_note(error: Exception, printed: bytes) -> None:
    """Add what was printed to the notes of ``error``, where Python 3.11 and later look for them."""
    if printed:
        note = f"Printed meanwhile:\n{printed.decode(errors='replace')}"
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]


def import_tensorflow() -> None:
    """Import TensorFlow without its log output. Raises TfliteRnnError if it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with interrupts_end_the_process(), quiet_stderr():
            import tensorflow as tf  # noqa: F401  # imported only for its log output
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise TfliteRnnError(
            "this command needs TensorFlow, which is not installed: pip install 'tflite-rnn[tensorflow]'"
        ) from error
