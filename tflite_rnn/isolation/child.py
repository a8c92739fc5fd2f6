"""The process that reads models: ``python -m tflite_rnn.isolation.child FOLDER``, started by `process`.

It reads requests from standard input and answers each on what was standard output: ``open`` a source, its
``tflite``, or ``run`` it. It holds one source at a time. It ends, and removes its folder, when its input is
closed, hence also when its parent dies.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

from converter.errors import SourceError, TfliteRnnError
from converter.importers.source import RunnableSource
from converter.opening import open_in_tensorflow
from tflite_rnn.isolation.description import describe_error, source_of
from tflite_rnn.isolation.frames import (
    Frame,
    FrameError,
    arrays_of_frame,
    frame_of_arrays,
    read_frame,
    write_frame,
)

_PROJECT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("converter", "tflite_rnn")
_EXTRAS: Final[Mapping[str, str]] = {
    "h5py": "'tflite-rnn[tensorflow]'",
    "keras": "'tflite-rnn[tensorflow]'",
    "tensorflow": "'tflite-rnn[tensorflow]'",
    "tf_keras": "'tflite-rnn[tf-keras]'",
}


class ConvertibleSource(RunnableSource, Protocol):
    """A source that TFLiteConverter converts."""

    def to_tflite(self, *, keep_lists: bool = True) -> bytes:
        """Return what TFLiteConverter makes of it."""


class Server:
    """Carries out requests on one source at a time."""

    def __init__(self) -> None:
        self._source: ConvertibleSource | None = None
        self._place = ""
        self._shown = ""

    def answer(self, request: Frame) -> Frame:
        """Carry out a request; whatever goes wrong is in the answer."""
        try:
            return self._carry_out(request)
        except (TfliteRnnError, FrameError) as error:
            return Frame({"error": self._worded(describe_error(_own(error)))})
        except ModuleNotFoundError as error:
            return Frame({"error": self._worded(describe_error(_missing(error)))})
        # TensorFlow, Keras and HDF5 raise whatever they like for a file that they cannot make sense of.
        except Exception as error:
            return Frame({"error": self._worded(_described(error, self._shown))})

    def _carry_out(self, request: Frame) -> Frame:
        doing = request.content["do"]
        if doing == "open":
            return self._open(request.content["source"])
        if self._source is None:
            raise SourceError("nothing has been opened")
        if doing == "tflite":
            model = self._source.to_tflite(keep_lists=bool(request.content["keep_lists"]))
            return Frame({}, [model])
        return frame_of_arrays(self._source(arrays_of_frame(request)))

    def _open(self, described: dict[str, Any]) -> Frame:
        self._place, self._shown = described["path"], described["shown"]
        self._source = None
        source = cast("ConvertibleSource", open_in_tensorflow(source_of(described)))
        self._source = source
        names = {"input_names": list(source.input_names), "output_names": list(source.output_names)}
        return Frame(self._worded({"name": source.name, "notes": list(source.notes), **names}))

    def _worded(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in which the source is called as the user calls it."""
        return cast("dict[str, Any]", _replaced(content, self._place, self._shown))


def _own(error: TfliteRnnError | FrameError) -> TfliteRnnError:
    return error if isinstance(error, TfliteRnnError) else SourceError(f"only arrays of numbers go out: {error}")


def _missing(error: ModuleNotFoundError) -> TfliteRnnError:
    """Return what to install for a module that is missing; SourceError if it is nothing of ours."""
    package = (error.name or "").partition(".")[0]
    if package in _EXTRAS:
        return TfliteRnnError(f"this needs {package}, which is not installed: pip install {_EXTRAS[package]}")
    return SourceError(f"it needs the module {error.name}, which is not installed")


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new) if old else value
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    return [_replaced(inner, old, new) for inner in value] if isinstance(value, list) else value


def _described(error: Exception, shown: str) -> dict[str, Any]:
    """Return an error that nobody raised on purpose: the file's fault, unless it was raised in our own code."""
    *_, innermost = traceback.extract_tb(error.__traceback__)
    words = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    if _is_ours(Path(innermost.filename)):
        return {"kind": "internal", "message": words, "traceback": "".join(traceback.format_exception(error))}
    return {"kind": "SourceError", "message": f"{shown}: cannot be read, or is damaged: {words}"}


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PROJECT) and path.relative_to(_PROJECT).parts[0] in _PACKAGES


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for frames only: native libraries that print get standard error instead."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _become_quiet() -> None:
    """Leave Ctrl-C to the parent, and leave no core file where TensorFlow crashes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _forward(requests: BinaryIO, inbox: queue.SimpleQueue[Frame], folder: Path) -> None:
    """Pass requests on until the parent closes the pipe, then end the process, whatever it is doing."""
    while (request := read_frame(requests)) is not None:
        inbox.put(request)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main(folder: Path) -> None:
    """Serve requests until the process ends."""
    _become_quiet()
    requests, replies = _claim_pipes()
    inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_forward, args=(requests, inbox, folder), daemon=True).start()
    server = Server()
    while True:
        write_frame(replies, server.answer(inbox.get()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
