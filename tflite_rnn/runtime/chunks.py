"""Cut pieces of any size into the chunks that a model takes, and join what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from converter.chunks import ChunkContract
from tflite_rnn.runtime.errors import StreamError
from tflite_rnn.runtime.signature import Array, TensorSpec

ENDLESS: Final = 1 << 30
"""How many steps remain while the sequence goes on."""


class Pieces:
    """Steps that were fed and not run yet, of each input with time; and the last of each other input.

    Every invoke takes ``steps`` steps: a fixed number, for some runtimes answer wrongly when lengths grow.

    Args:
        contract: what the model promises.
        inputs: the inputs of the model, without states and without ``remaining``.
        steps: how many steps an invoke takes; by default as few as the model takes.

    Raises:
        StreamError: ``steps`` is no multiple of what the contract says, or not what the file is fixed to.
    """

    def __init__(self, contract: ChunkContract, inputs: Sequence[TensorSpec], steps: int | None) -> None:
        self.contract = contract
        self.steps, self.is_fixed = _steps_of(contract, inputs, steps)
        self._specs = {spec.name: spec for spec in inputs}
        self.clear()

    def clear(self) -> None:
        """Forget everything that was fed."""
        self._waiting: dict[str, Array] = {}
        self._others: dict[str, Array] = {}

    def longer(self, chunk: Mapping[str, Array]) -> dict[str, Array]:
        """Return zeros for an invoke of twice the steps of a chunk."""
        repeats = {name: [1] * array.ndim for name, array in chunk.items()}
        for name, axis in self.contract.inputs.items():
            repeats[name][axis] = 2
        return {name: np.tile(np.zeros_like(array), repeats[name]) for name, array in chunk.items()}

    @property
    def count(self) -> int:
        """How many steps wait."""
        for name, axis in self.contract.inputs.items():
            if name in self._waiting:
                return int(self._waiting[name].shape[axis])
        return 0

    def add(self, inputs: Mapping[str, Array]) -> int:
        """Take a piece, and return how many steps it has. Raises StreamError if it breaks the contract."""
        timed = self.contract.inputs
        wanted = self._specs.keys() - (self._others.keys() - inputs.keys())
        if inputs.keys() - self._specs.keys() or wanted - inputs.keys():
            raise StreamError(f"expected the inputs {', '.join(self._specs)}, got {', '.join(inputs) or 'none'}")
        arrays = {name: self._checked(name, np.asarray(array)) for name, array in inputs.items()}
        counts = {name: arrays[name].shape[axis] for name, axis in timed.items()}
        if len(set(counts.values())) > 1:
            raise StreamError(f"expected equally many steps of each input, got {counts}")
        for name, axis in timed.items():
            before = self._waiting.get(name)
            self._waiting[name] = arrays[name] if before is None else np.concatenate([before, arrays[name]], axis)
        self._others.update({name: array for name, array in arrays.items() if name not in timed})
        return int(next(iter(counts.values())))

    def _checked(self, name: str, array: Array) -> Array:
        spec, axis = self._specs[name], self.contract.inputs.get(name)
        sizes = [None if place == axis else size for place, size in enumerate(spec.shape)]
        fits = array.ndim == len(sizes) and all(
            size is None or size == found for size, found in zip(sizes, array.shape, strict=True)
        )
        if not fits:
            raise StreamError(f"{name}: expected shape {_text(sizes)}, got {list(array.shape)}")
        if array.dtype != spec.dtype:
            raise StreamError(f"{name}: expected {spec.dtype}, got {array.dtype}")
        return array

    def take(self) -> dict[str, Array] | None:
        """Return the inputs of the next invoke, None if too few steps wait."""
        if self.count < self.steps:
            return None
        taken: dict[str, Array] = dict(self._others)
        for name, axis in self.contract.inputs.items():
            taken[name], self._waiting[name] = np.split(self._waiting[name], [self.steps], axis)
        return taken

    def rest(self) -> dict[str, Array]:
        """Return the inputs of an invoke of the steps that wait, zeros behind them, which wait no more."""
        taken: dict[str, Array] = dict(self._others)
        for name, axis in self.contract.inputs.items():
            waiting = self._waiting[name]
            padding = [(0, 0)] * waiting.ndim
            padding[axis] = (0, self.steps - waiting.shape[axis])
            taken[name] = np.pad(waiting, padding)
            self._waiting[name] = np.split(waiting, [waiting.shape[axis]], axis)[1]
        return taken


def _steps_of(contract: ChunkContract, inputs: Sequence[TensorSpec], steps: int | None) -> tuple[int, bool]:
    """Return how many steps an invoke takes, and True if the file fixes that."""
    sizes = {spec.name: spec.shape for spec in inputs}
    missing = sorted(contract.inputs.keys() - sizes.keys())
    if missing or any(axis >= len(sizes[name]) or axis < 0 for name, axis in contract.inputs.items()):
        raise StreamError(f"the metadata of the model does not fit its inputs {', '.join(sizes) or 'none'}")
    fixed = {size for name, axis in contract.inputs.items() if (size := sizes[name][axis]) is not None}
    if steps is None:
        return max(fixed, default=contract.multiple), bool(fixed)
    if fixed and {steps} != fixed:
        raise StreamError(f"steps: the model takes {max(fixed)} steps at each invoke, got {steps}")
    if steps < 1 or steps % contract.multiple:
        raise StreamError(f"steps: expected a multiple of {contract.multiple}, got {steps}")
    return steps, bool(fixed)


def _text(sizes: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in sizes) + "]"


class Joined:
    """What invokes returned: rows to join along time, without those before the first; other outputs as of now."""

    def __init__(self, contract: ChunkContract) -> None:
        self._contract = contract
        self.clear()

    def clear(self) -> None:
        """Begin another sequence."""
        self._seen: dict[str, int] = {}
        self._ready: dict[str, list[Array]] = {}
        self._running: dict[str, Array] = {}
        self._steps = 0

    @property
    def steps(self) -> int:
        """How many steps were run, those behind the sequence included."""
        return self._steps

    def add(self, outputs: Mapping[str, Array], steps: int, total: int | None = None) -> None:
        """Take what an invoke of ``steps`` steps returned; ``total`` is the length of the sequence, once known."""
        self._steps += steps
        for name, array in outputs.items():
            rows = self._contract.outputs.get(name)
            if rows is None:
                if self._steps > self._contract.running.get(name, 0):
                    self._running[name] = array
                continue
            before = self._seen.get(name, 0)
            count = array.shape[rows.axis]
            self._seen[name] = before + count
            begin = min(max(rows.warm_up - before, 0), count)
            end = count if total is None else min(max(rows.warm_up + rows.rows_of(total) - before, begin), count)
            kept = np.split(array, [begin, end], rows.axis)[1]
            self._ready.setdefault(name, []).append(kept)

    def take(self) -> dict[str, Array]:
        """Return what is ready: rows, of which there may be none, and the other outputs as they are now."""
        joined = {
            name: np.concatenate(parts, self._contract.outputs[name].axis) for name, parts in self._ready.items()
        }
        self._ready = {}
        return {**joined, **self._running}
