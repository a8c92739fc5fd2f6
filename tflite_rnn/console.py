"""Keeping the terminal for the user: native libraries print to it, and TensorFlow greets."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from converter.errors import TfliteRnnError


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what native code prints to stderr from the terminal; show it only if the block fails unexpectedly.

    It redirects the file descriptor of the whole process: for programs, not for libraries.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except TfliteRnnError:
            raise
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def import_tensorflow() -> None:
    """Import TensorFlow without its greetings. TfliteRnnError if it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with quiet_stderr():
            import tensorflow as tf  # noqa: F401  # imported for its greetings alone
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise TfliteRnnError(
            "this command needs TensorFlow, which is not installed: pip install 'tflite-rnn[tensorflow]'"
        ) from error
