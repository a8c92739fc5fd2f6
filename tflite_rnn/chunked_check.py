"""`check` of models that run on chunks: whole sequences are fed in several ways, and compared with the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from converter.chunks import ChunkContract
from tflite_rnn.runtime import (
    ModelMetadata,
    Runtime,
    Signature,
    Stream,
    TensorSpec,
    WorkerPool,
    example_inputs,
)
from tflite_rnn.runtime.client import LoadedModel
from tflite_rnn.runtime.parity import RunningModel
from tflite_rnn.runtime.signature import REMAINING, Array

ONE, UNEVEN, WHOLE = "as little as the model takes", "uneven pieces", "all at once"
CUTS: Mapping[str, tuple[int, ...]] = {ONE: (1,), UNEVEN: (1, 3, 2, 5), WHOLE: ()}
"""How a sequence is cut: multiples of what the model takes, over and over; nothing for a single piece."""


def states_of(signature: Signature) -> tuple[str, ...]:
    """Return the names of the explicit states: inputs that are outputs, too."""
    outputs = {spec.name for spec in signature.outputs}
    return tuple(spec.name for spec in signature.inputs if spec.name in outputs)


def fed_inputs(signature: Signature) -> tuple[TensorSpec, ...]:
    """Return the inputs that a caller feeds: without states, and without the number of remaining steps."""
    own = {*states_of(signature), REMAINING}
    return tuple(spec for spec in signature.inputs if spec.name not in own)


@dataclass(frozen=True, slots=True)
class ChunkRunner:
    """Runs models on whole sequences, which it feeds in pieces; a runner for `tflite_rnn.runtime.compare`."""

    pool: WorkerPool
    metadata: ModelMetadata
    cut: str

    @contextmanager
    def open(self, runtime: Runtime, model: bytes) -> Iterator[RunningModel]:
        """Load a model on a runtime. Errors as `WorkerPool.open`."""
        with self.pool.open(runtime, model) as loaded:
            yield _Whole(loaded, self.metadata, CUTS[self.cut])

    def renew(self, runtime: Runtime) -> None:
        """Give the next model of this runtime a new process."""
        self.pool.renew(runtime)


class _Whole:
    """A model on chunks as one on whole sequences."""

    def __init__(self, model: LoadedModel, metadata: ModelMetadata, cut: tuple[int, ...]) -> None:
        self._model, self._metadata, self._cut = model, metadata, cut

    def rewind(self) -> None:
        """Do nothing: each run begins another sequence."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Feed a whole sequence, and return its outputs, joined along time."""
        contract = self._metadata.chunks
        if contract is None:
            return self._once(inputs)
        name, axis = next(iter(contract.inputs.items()))
        stream = Stream(self._model, metadata=self._metadata, batch=_batch(inputs[name], axis))
        found: dict[str, list[Array]] = {}
        for piece in _pieces(inputs, contract, self._cut):
            for output, array in stream.feed(piece).items():
                found.setdefault(output, []).append(array)
        for output, array in stream.flush().items():
            found.setdefault(output, []).append(array)
        return {
            output: np.concatenate(arrays, contract.outputs[output].axis)
            if output in contract.outputs
            else arrays[-1]
            for output, arrays in found.items()
        }

    def _once(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one invoke from states of zero, and leave the states out."""
        states = states_of(self._model.signature)
        batch = next((array.shape[0] for array in inputs.values() if array.ndim), 1)
        zeros = {
            spec.name: np.zeros([batch if size is None else size for size in spec.shape], spec.dtype)
            for spec in self._model.signature.inputs
            if spec.name in states
        }
        outputs = self._model.run({**inputs, **zeros})
        return {name: array for name, array in outputs.items() if name not in states}


def _batch(x: Array, axis: int) -> int:
    return int(x.shape[1 - axis]) if axis < 2 and x.ndim > 1 else 1


def _pieces(
    inputs: Mapping[str, Array], contract: ChunkContract, cut: tuple[int, ...]
) -> Iterator[dict[str, Array]]:
    axes = contract.inputs
    name, axis = next(iter(axes.items()))
    steps, start, turn = inputs[name].shape[axis], 0, 0
    while start < steps:
        size = cut[turn % len(cut)] * contract.multiple if cut else steps
        stop = min(start + size, steps)
        yield {
            given: np.take(array, range(start, stop), contract.inputs[given])
            if given in contract.inputs
            else array
            for given, array in inputs.items()
        }
        start, turn = stop, turn + 1


def sequence_cases(
    signature: Signature,
    metadata: ModelMetadata,
    rng: np.random.Generator,
    bounds: Mapping[str, int],
    *,
    time_major: bool,
) -> Sequence[Mapping[str, Array]]:
    """Make whole sequences: of a few chunks, of a single one, and, where it can be announced, with a rest."""
    contract = metadata.chunks
    specs = fed_inputs(signature)
    if contract is None:
        whole = Signature(signature.key, specs, signature.outputs)
        return [example_inputs(whole, rng, batch=1, time=1, time_major=time_major, bounds=bounds)]
    fixed = [size for spec in specs if (size := _time_of(spec, contract)) is not None]
    chunk = max(fixed, default=contract.multiple)
    longest = max([1, *(-(-rows.first // chunk) for rows in contract.outputs.values())])
    lengths = [(longest + 6) * chunk, longest * chunk]
    if contract.flush is not None:
        rest = chunk // 2 + 1
        lengths.append((longest + 3) * chunk + -(-rest // contract.lengths) * contract.lengths)
    cases = []
    for length in lengths:
        sized = tuple(_with_time(spec, contract, length) for spec in specs)
        whole = Signature(signature.key, sized, signature.outputs)
        cases.append(example_inputs(whole, rng, batch=1, time=length, time_major=time_major, bounds=bounds))
    return cases


def _time_of(spec: TensorSpec, contract: ChunkContract) -> int | None:
    return spec.shape[contract.inputs[spec.name]] if spec.name in contract.inputs else None


def _with_time(spec: TensorSpec, contract: ChunkContract, length: int) -> TensorSpec:
    if spec.name not in contract.inputs:
        return spec
    shape = tuple(length if axis == contract.inputs[spec.name] else size for axis, size in enumerate(spec.shape))
    return TensorSpec(spec.name, spec.dtype, shape)
