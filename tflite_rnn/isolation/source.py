"""A model in a file, read by a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from converter.errors import SourceError
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Program, Signature
from tflite_rnn.isolation.description import FileSource, describe_source, error_of
from tflite_rnn.isolation.frames import Frame, FrameError, arrays_of_frame, frame_of_arrays
from tflite_rnn.isolation.limits import Limits
from tflite_rnn.isolation.process import IsolatedProcess

_DAMAGED = "the process that did it sent a damaged answer"


class InternalError(Exception):
    """Our own code failed in the process that reads models; the message holds its traceback."""


class Isolation:
    """Processes that read models, one at a time; a context manager that ends them.

    A process is started when a source is opened and kept for the next one, unless it has ended, or the next one
    brings custom objects.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._process: IsolatedProcess | None = None
        self._has_objects = False

    def __enter__(self) -> Isolation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, source: FileSource) -> IsolatedSource:
        """Read a source and return its model, which takes the place of the one that was opened before.

        Raises SourceError or ConversionError as `converter.opening.open_source` does, and SourceError if reading
        it crashes, takes too long or takes too much memory. Raises ValueError if the source has custom objects
        that another process cannot import: see `can_isolate`.
        """
        described = describe_source(source)
        if described is None:
            raise ValueError("the source has custom objects that exist in this process only")
        self._start(has_objects=bool(described["options"].get("custom_objects")))
        doing = f"{described['shown']}: reading it"
        reply = self._ask(Frame({"do": "open", "source": described}), doing)
        return _opened(self, reply.content, described["shown"])

    def _start(self, *, has_objects: bool) -> None:
        """Have a process that runs; only one for custom objects finds modules where the user does."""
        if self._process is not None and (not self._process.is_running or has_objects or self._has_objects):
            self.close()
        if self._process is None:
            self._process = IsolatedProcess(self._limits, importable=_places() if has_objects else ())
            self._has_objects = has_objects

    def _ask(self, request: Frame, doing: str) -> Frame:
        if self._process is None:
            raise SourceError(f"{doing}: its process has ended")
        reply = self._process.ask(request, doing)
        error = reply.content.get("error")
        if error is None:
            return reply
        try:
            if error["kind"] == "internal":
                raise InternalError(f"{doing}: {error['message']}\n{error['traceback']}")
            raised = error_of(error)
        except (AttributeError, KeyError, TypeError, ValueError) as damage:
            raise SourceError(f"{doing}: {_DAMAGED}") from damage
        raise raised

    def close(self) -> None:
        """End the process, if one runs, and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


class IsolatedSource:
    """A model that another process has read: see `converter.importers.source.RunnableSource`.

    Every method raises SourceError if that process ends over it or has ended before.
    """

    def __init__(self, isolation: Isolation, name: str, names: Mapping[str, tuple[str, ...]], shown: str) -> None:
        self.name = name
        self.input_names = names["input_names"]
        self.output_names = names["output_names"]
        self.notes = names["notes"]
        self._isolation = isolation
        self._shown = shown

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the program that TFLiteConverter makes of it. Raises ConversionError or SourceError."""
        signature = Signature(SIGNATURE_KEY, self.input_names, self.output_names)
        return import_tflite(self.to_tflite(keep_lists=keep_lists), source=self.name, signature=signature)

    def to_tflite(self, *, keep_lists: bool = True) -> bytes:
        """Return what TFLiteConverter makes of it. Raises ConversionError or SourceError."""
        request = Frame({"do": "tflite", "keep_lists": keep_lists})
        doing = f"{self._shown}: converting it with TFLiteConverter"
        parts = self._isolation._ask(request, doing).parts
        if len(parts) != 1:
            raise SourceError(f"{doing}: {_DAMAGED}")
        return parts[0]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the original in its process: arrays by input name to arrays by output name."""
        doing = f"{self._shown}: running it"
        try:
            return arrays_of_frame(self._isolation._ask(frame_of_arrays(inputs, do="run"), doing))
        except FrameError as error:
            raise SourceError(f"{doing}: only arrays of numbers go in and out ({error})") from error


def can_isolate(source: FileSource) -> bool:
    """Whether another process can read the source: not if its custom objects exist in this process only."""
    return describe_source(source) is not None


@contextmanager
def isolated(source: FileSource, limits: Limits | None = None) -> Iterator[IsolatedSource]:
    """Read a source in a process of its own, which ends with the block. Errors as `Isolation.open`."""
    with Isolation(limits) as isolation:
        yield isolation.open(source)


def _opened(isolation: Isolation, content: Mapping[str, Any], shown: str) -> IsolatedSource:
    try:
        names = {key: tuple(map(str, content[key])) for key in ("input_names", "output_names", "notes")}
        return IsolatedSource(isolation, str(content["name"]), names, shown)
    except (KeyError, TypeError) as error:
        raise SourceError(f"{shown}: reading it: {_DAMAGED}") from error


def _places() -> tuple[str, ...]:
    """Return where this process finds modules, the current directory included: what the user named is there."""
    return tuple(os.path.abspath(path) if path else str(Path.cwd()) for path in sys.path)
