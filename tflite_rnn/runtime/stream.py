"""Sequences fed chunk by chunk, to models converted with a streaming or an explicit state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from converter.errors import SourceError
from tflite_rnn.runtime.chunks import ENDLESS, Joined, Pieces
from tflite_rnn.runtime.errors import StreamError
from tflite_rnn.runtime.local import load_local
from tflite_rnn.runtime.metadata import ModelMetadata, read_metadata
from tflite_rnn.runtime.runtimes import Runtime
from tflite_rnn.runtime.signature import FLUSH_KEY, REMAINING, Array, Signature, TensorSpec


class Running(Protocol):
    """A loaded model, in this process or in a worker."""

    @property
    def signature(self) -> Signature:
        """The signature that `run` uses."""

    @property
    def keeps_state(self) -> bool:
        """True if the model keeps its state from one invoke to the next on purpose, and has a reset."""

    def run(self, inputs: Mapping[str, Array], *, signature_key: str | None = None) -> dict[str, Array]:
        """Invoke a signature, by default `signature`, once and return its outputs by name."""

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
        steps: how many steps each invoke takes, if the file leaves that open: a multiple of what it needs, which
            is the default.

    Raises:
        StreamError: the model neither keeps a state nor takes and returns one; or ``initial_state`` names none; or
            ``steps`` is not what the model takes.
    """

    def __init__(
        self,
        model: Running,
        *,
        initial_state: Mapping[str, Array] | None = None,
        batch: int = 1,
        metadata: ModelMetadata | None = None,
        steps: int | None = None,
    ) -> None:
        self._start = _start(model, dict(initial_state or {}), batch, metadata)
        self._model: Running | None = model
        self._state = self._start
        contract = None if metadata is None else metadata.chunks
        if contract is None and steps is not None:
            raise StreamError(
                "steps: the file does not say how many steps a chunk has; feed chunks as it takes them"
            )
        self._cut: Pieces | None = None
        if contract is not None:
            known = {*self._start, REMAINING}
            self._cut = Pieces(
                contract, [spec for spec in model.signature.inputs if spec.name not in known], steps
            )
            self._joined = Joined(contract)
        self._fed = 0
        self._has_ended = False
        self._has_room = self._cut is None or self._cut.is_fixed
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
        steps: int | None = None,
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
            steps: how many steps each invoke takes, if the file leaves that open.

        Raises:
            SourceError: the file cannot be read, or is not a ``.tflite``.
            OptionError: no interpreter is called ``runtime``.
            RuntimeFailure: no interpreter is installed, or it refuses the model.
            StreamError: the model neither keeps a state nor takes and returns one, or ``initial_state`` names
                none, or ``steps`` is not what the model takes.
        """
        content, source = _content(model)
        metadata = read_metadata(content, source=source)
        chosen = Runtime(runtime) if isinstance(runtime, str) else runtime
        loaded = load_local(content, chosen, threads=threads)
        return cls(loaded, initial_state=initial_state, batch=batch, metadata=metadata, steps=steps)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one piece of any length and return what is ready, by name, without the states that are fed back.

        An output with time has the rows that became ready, perhaps none; one of all steps so far is as it is after
        the last invoke, and left out before there is one. Inputs without time may be left out after the first
        piece; then the last one counts. A file without a word on chunks in its metadata gets the piece as it is.

        Raises RuntimeFailure if the interpreter reports an error (in a worker, WorkerCrashed too); StreamError if
        a state is among ``inputs``, a piece is not what the model takes, or the stream is closed or flushed.
        """
        given = sorted(self._state.keys() & inputs.keys())
        if given:
            raise StreamError(
                f"cannot feed the states {', '.join(given)}: the stream feeds them itself; give them when "
                "it is opened"
            )
        if self._has_ended:
            raise StreamError("the sequence has ended: it was flushed; reset() begins another")
        if self._cut is None:
            return self._run(inputs)
        self._open_model()
        self._fed += self._cut.add(inputs)
        while (chunk := self._cut.take()) is not None:
            self._make_room(chunk)
            self._joined.add(self._run_main(chunk, ENDLESS), self._cut.steps)
        return self._joined.take()

    def flush(self) -> dict[str, Array]:
        """End the sequence and return the rest of its outputs: together with those before, they are the whole.

        Errors as `feed`; StreamError if steps remain that do not fill a chunk, in a file that cannot end a
        sequence within one, or if the network takes no sequence of so many steps.
        """
        if self._cut is None:
            raise StreamError("the file does not say what it does on chunks, so there is nothing to flush")
        if self._has_ended:
            raise StreamError("the sequence has ended already; reset() begins another")
        waiting = self._cut.count
        self._open_model()
        if self._cut.contract.flush is None and waiting:
            raise StreamError(
                f"{waiting} steps remain, and the model takes {self._cut.steps} at a time; feed a multiple of "
                "these, or convert it with lookahead='delay'"
            )
        lengths = self._cut.contract.lengths
        if self._fed % lengths:
            raise StreamError(
                f"the sequence has {self._fed} steps, and the model takes sequences of a multiple of {lengths}; "
                "feed the steps that are missing, such as zeros"
            )
        self._has_ended = True
        if self._cut.contract.flush is not None and self._fed:
            self._run_end()
        return self._joined.take()

    def _run_end(self) -> None:
        """Run what waits, and then zeros, until every row of the sequence has left."""
        if self._cut is None:
            return
        remaining = self._cut.count
        while remaining > 0 or self._joined.steps < self._fed + self._cut.contract.tail:
            chunk = self._cut.rest()
            self._make_room(chunk)
            if self._cut.contract.flush == REMAINING:
                outputs = self._run_main(chunk, remaining)
            else:
                ending = {**chunk, REMAINING: np.array([remaining], np.int32)}
                outputs = self._run(ending, signature_key=FLUSH_KEY)
            self._joined.add(outputs, self._cut.steps, self._fed)
            remaining -= self._cut.steps

    def _make_room(self, chunk: Mapping[str, Array]) -> None:
        """Before the first chunk, run a longer one, and begin again.

        The parts that the delegate of ai-edge-litert takes share scratch memory. Where sizes are computed as the
        model runs, it grows in the middle of an invoke; parts that ran before may then give wrong numbers in every
        later invoke of the same size. After a longer chunk there is room enough.
        """
        if self._has_room or self._cut is None:
            return
        self._has_room = True
        model, longer = self._open_model(), {**self._cut.longer(chunk), **self._state}
        end = {REMAINING: np.zeros(1, np.int32)}
        if self._cut.contract.flush == FLUSH_KEY:
            model.run({**longer, **end}, signature_key=FLUSH_KEY)
        model.run({**longer, **end} if self._cut.contract.flush == REMAINING else longer)
        model.rewind()

    def _run_main(self, chunk: Mapping[str, Array], remaining: int) -> dict[str, Array]:
        if self._cut is not None and self._cut.contract.flush == REMAINING:
            chunk = {**chunk, REMAINING: np.array([remaining], np.int32)}
        return self._run(chunk)

    def _run(self, inputs: Mapping[str, Array], *, signature_key: str | None = None) -> dict[str, Array]:
        """Invoke once, from the states of the last invoke."""
        model, given = self._open_model(), {**inputs, **self._state}
        outputs = model.run(given) if signature_key is None else model.run(given, signature_key=signature_key)
        self._state = {name: outputs[name] for name in self._state}
        return {name: array for name, array in outputs.items() if name not in self._state}

    def reset(self) -> None:
        """Begin a new sequence: the next chunk starts from the initial state. Errors as `feed`."""
        self._open_model().rewind()
        self._state = self._start
        self._fed, self._has_ended = 0, False
        if self._cut is not None:
            self._cut.clear()
            self._joined.clear()

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
    runs_on_chunks = metadata is not None and metadata.chunks is not None  # perhaps without any state
    if not states and not model.keeps_state and not runs_on_chunks:
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
