"""Sequences fed chunk by chunk, to models converted with a streaming or an explicit state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from converter.errors import SourceError
from tflite_rnn.runtime.errors import StreamError
from tflite_rnn.runtime.local import load_local
from tflite_rnn.runtime.metadata import ModelMetadata, read_metadata
from tflite_rnn.runtime.runtimes import Runtime
from tflite_rnn.runtime.signature import Array, Signature, TensorSpec


class Running(Protocol):
    """A loaded model, in this process or in a worker."""

    @property
    def signature(self) -> Signature:
        """The signature that `run` uses."""

    @property
    def keeps_state(self) -> bool:
        """True if the model keeps its state from one invoke to the next on purpose, and has a reset."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once and return the outputs by name."""

    def rewind(self) -> None:
        """Put the state that the model keeps back to its start."""


class Stream:
    """A sequence on its way through a model, one chunk after the other.

    The outputs of the chunks, joined along time, are those of the whole sequence. A model converted with
    ``state="streaming"`` keeps its state itself; to one converted with ``state="explicit"`` the states that it
    returned are given back. Which of the two it is makes no difference here::

        with Stream.open("model.tflite") as stream:
            for chunk in chunks:
                y = stream.feed({"x": chunk})["y"]
            stream.reset()  # the next chunk starts another sequence

    `open` runs the model in this process, on one installed interpreter. The constructor streams through a model
    that is loaded already, as in a worker of a `WorkerPool`; such a model that keeps its state has one, so two
    streams over it at the same time disturb each other.

    Args:
        model: the loaded model. Its state is reset.
        initial_state: what explicit states start from, by name, each [batch, size]; zeros for those left out.
        batch: rows of an explicit state that starts from zeros, where the model leaves the batch open.
        metadata: what the file says of itself, if that is known.

    Raises:
        StreamError: the model neither keeps a state nor takes and returns one; or ``initial_state`` names none.
    """

    def __init__(
        self,
        model: Running,
        *,
        initial_state: Mapping[str, Array] | None = None,
        batch: int = 1,
        metadata: ModelMetadata | None = None,
    ) -> None:
        self._start = _start(model, dict(initial_state or {}), batch, metadata)
        self._model: Running | None = model
        self._state = self._start
        self.reset()

    @classmethod
    def open(
        cls,
        model: bytes | str | os.PathLike[str],
        *,
        runtime: Runtime | str | None = None,
        threads: int = 1,
        initial_state: Mapping[str, Array] | None = None,
        batch: int = 1,
    ) -> Stream:
        """Load a model in this process and begin a stream through it.

        Args:
            model: the path or the bytes of a ``.tflite``. Only open files that you trust: some interpreters do not
                check what they load.
            runtime: the interpreter, such as ``"ai-edge-litert"``, ``"tflite-runtime"`` or ``"tf.lite"``, or a
                `Runtime`; by default the first of these that is installed.
            threads: how many threads a kernel may use.
            initial_state: what explicit states start from, by name, each [batch, size]; zeros for those left out.
            batch: rows of an explicit state that starts from zeros, where the model leaves the batch open.

        Raises:
            SourceError: the file cannot be read, or is not a ``.tflite``.
            OptionError: no interpreter is called ``runtime``.
            RuntimeFailure: no interpreter is installed, or it refuses the model.
            StreamError: the model neither keeps a state nor takes and returns one, or ``initial_state`` names
                none.
        """
        content, source = _content(model)
        metadata = read_metadata(content, source=source)
        chosen = Runtime(runtime) if isinstance(runtime, str) else runtime
        loaded = load_local(content, chosen, threads=threads)
        return cls(loaded, initial_state=initial_state, batch=batch, metadata=metadata)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one chunk of any length and return its outputs by name, without the states that are fed back.

        Raises RuntimeFailure if the interpreter reports an error (in a worker, WorkerCrashed too); StreamError if
        a state is among ``inputs``, or the stream is closed.
        """
        given = sorted(self._state.keys() & inputs.keys())
        if given:
            raise StreamError(
                f"cannot feed the states {', '.join(given)}: the stream feeds them itself; give them when "
                "it is opened"
            )
        outputs = self._open_model().run({**inputs, **self._state})
        self._state = {name: outputs[name] for name in self._state}
        return {name: array for name, array in outputs.items() if name not in self._state}

    def reset(self) -> None:
        """Begin a new sequence: the next chunk starts from the initial state. Errors as `feed`."""
        self._open_model().rewind()
        self._state = self._start

    def close(self) -> None:
        """Let go of the model; the stream cannot be used any more."""
        self._model = None

    def _open_model(self) -> Running:
        if self._model is None:
            raise StreamError("the stream is closed; open a new one")
        return self._model


def _content(model: bytes | str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the bytes of a model, and what messages call it."""
    if isinstance(model, bytes):
        return model, "the model"
    try:
        return Path(model).read_bytes(), str(model)
    except OSError as error:
        raise SourceError(f"{model}: cannot read the file: {error.strerror or error}") from error


def _start(
    model: Running, given: Mapping[str, Array], batch: int, metadata: ModelMetadata | None
) -> dict[str, Array]:
    """Return what each explicit state starts from."""
    signature = model.signature
    outputs = {spec.name for spec in signature.outputs}
    states = [spec for spec in signature.inputs if spec.name in outputs]
    if not states and not model.keeps_state:
        raise StreamError(_without_state(metadata))
    unknown = sorted(given.keys() - {spec.name for spec in states})
    if unknown:
        raise StreamError(f"unknown state {', '.join(unknown)}; the states are {_names(states)}")
    return {spec.name: np.asarray(given.get(spec.name, _zeros(spec, batch))) for spec in states}


def _without_state(metadata: ModelMetadata | None) -> str:
    if metadata is not None and metadata.state != "stateless":
        return f"the model was converted with state={metadata.state!r}, but it has no state to continue from"
    return (
        "the model starts every invoke from its initial state, so it cannot continue in the next "
        "chunk; convert it with state='streaming' or state='explicit'"
    )


def _zeros(spec: TensorSpec, batch: int) -> Array:
    return np.zeros([batch if size is None else size for size in spec.shape], spec.dtype)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs) or "none that callers give"
