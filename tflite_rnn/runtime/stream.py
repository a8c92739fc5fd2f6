"""Sequences fed chunk by chunk, to models converted with a streaming or an explicit state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tflite_rnn.runtime.client import LoadedModel
from tflite_rnn.runtime.errors import CheckError
from tflite_rnn.runtime.signature import Array, TensorSpec


class Stream:
    """A sequence on its way through a model, one chunk after the other.

    The outputs of the chunks, joined along time, are those of the whole sequence. A model converted with
    ``state="streaming"`` keeps its state itself; to one converted with ``state="explicit"`` the states that it
    returned are given back. Which of the two it is makes no difference here::

        with WorkerPool() as pool, pool.open(Runtime("ai-edge-litert"), model) as running:
            stream = Stream(running)
            for chunk in chunks:
                y = stream.feed({"x": chunk})["y"]
            stream.reset()  # the next chunk starts another sequence

    A model that keeps its state has one: two streams over it at the same time disturb each other.

    Args:
        model: the model, loaded on a runtime. Its state is reset.
        initial_state: what explicit states start from, by name, each [batch, size]; zeros for those left out.
        batch: rows of an explicit state that starts from zeros, where the model leaves the batch open.

    Raises:
        CheckError: the model neither keeps a state nor takes and returns one; or ``initial_state`` names none.
    """

    def __init__(
        self, model: LoadedModel, *, initial_state: Mapping[str, Array] | None = None, batch: int = 1
    ) -> None:
        self._model = model
        self._start = _start(model, dict(initial_state or {}), batch)
        self._state = self._start
        self.reset()

    def feed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one chunk of any length and return its outputs by name, without the states that are fed back.

        Raises RuntimeFailure and WorkerCrashed as `LoadedModel.run`; CheckError if a state is among ``inputs``.
        """
        given = sorted(self._state.keys() & inputs.keys())
        if given:
            raise CheckError(
                f"{', '.join(given)}: the stream itself feeds these states; give them when it is made"
            )
        outputs = self._model.run({**inputs, **self._state})
        self._state = {name: outputs[name] for name in self._state}
        return {name: array for name, array in outputs.items() if name not in self._state}

    def reset(self) -> None:
        """Begin a new sequence: the next chunk starts from the initial state."""
        self._model.rewind()
        self._state = self._start


def _start(model: LoadedModel, given: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """Return what each explicit state starts from."""
    signature = model.signature
    outputs = {spec.name for spec in signature.outputs}
    states = [spec for spec in signature.inputs if spec.name in outputs]
    if not states and not model.keeps_state:
        raise CheckError(
            "the model starts every invoke anew, so it cannot go on in the next chunk; "
            'convert it with state="streaming" or state="explicit"'
        )
    unknown = sorted(given.keys() - {spec.name for spec in states})
    if unknown:
        raise CheckError(f"no state of the model is called {', '.join(unknown)}; it has {_names(states)}")
    return {spec.name: np.asarray(given.get(spec.name, _zeros(spec, batch))) for spec in states}


def _zeros(spec: TensorSpec, batch: int) -> Array:
    return np.zeros([batch if size is None else size for size in spec.shape], spec.dtype)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs) or "none that callers give"
