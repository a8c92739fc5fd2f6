"""A model in TensorFlow Lite for Microcontrollers, as its Python package runs it on the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.signature import RESET_KEY, Array, Signature, TensorSpec

ARENA_BYTES = (32 << 20, 256 << 20, 1 << 30)
"""Sizes of the memory to try. All are far more than a microcontroller has: whether a model is right is asked here,
not whether it fits."""


class MicroModelLoader:
    """Loads models into ``tflite_micro``, which is imported when the loader is made."""

    def __init__(self) -> None:
        from tflite_micro.python.tflite_micro import runtime

        self._runtime = runtime

    def load(self, request: Load) -> MicroModel:
        """Make an interpreter for a model. There are no delegates."""
        return MicroModel(
            self._interpreter(request.model), self._runtime.convert_bytearray_to_object(request.model)
        )

    def _interpreter(self, model: bytes) -> Any:
        """Return an interpreter with as little memory as is enough. RuntimeError if it refuses the model."""
        for size in ARENA_BYTES[:-1]:
            with contextlib.suppress(RuntimeError):  # which is all it says of a lack of memory, too
                return self._runtime.Interpreter.from_bytes(model, arena_size=size)
        return self._runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES[-1])


class MicroModel:
    """One model and its names, which the interpreter itself does not know. Only the main graph can be run."""

    def __init__(self, interpreter: Any, model: Any) -> None:
        self._interpreter = interpreter
        key, inputs, outputs = _names(model)
        self._signature = Signature(
            key,
            tuple(_spec(name, interpreter.get_input_details(index)) for index, name in enumerate(inputs)),
            tuple(_spec(name, interpreter.get_output_details(index)) for index, name in enumerate(outputs)),
        )
        keys = {entry.signatureKey.decode() for entry in model.signatureDefs or ()}
        resets = (Signature(RESET_KEY, (), ()),) if RESET_KEY in keys else ()
        self._signatures = (self._signature, *resets)

    def signatures(self) -> tuple[Signature, ...]:
        """Describe the main graph, and the reset if the model keeps a state."""
        return self._signatures

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once; every shape is fixed. The signature ``reset`` stands for the interpreter's own reset."""
        if signature_key == RESET_KEY:
            self.reset()
            return {}
        specs = self._signature.inputs
        if signature_key != self._signature.key or inputs.keys() != {spec.name for spec in specs}:
            raise ValueError(f"expected the inputs {[spec.name for spec in specs]}, got {sorted(inputs)}")
        for index, spec in enumerate(specs):
            self._interpreter.set_input(np.ascontiguousarray(inputs[spec.name]), index)
        self._interpreter.invoke()
        return {
            spec.name: np.asarray(self._interpreter.get_output(index))
            for index, spec in enumerate(self._signature.outputs)
        }

    def reset(self) -> None:
        """Put variable tensors and resource variables back to how they were at the start."""
        self._interpreter.reset()


def _names(model: Any) -> tuple[str | None, list[str], list[str]]:
    """Return the key of the main graph's signature, and the names of its inputs and outputs."""
    main = model.subgraphs[0]
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            inputs, outputs = _by_tensor(signature.inputs), _by_tensor(signature.outputs)
            key = signature.signatureKey.decode()
            return key, [inputs[index] for index in main.inputs], [outputs[index] for index in main.outputs]
    plain = [[main.tensors[index].name.decode() for index in indices] for indices in (main.inputs, main.outputs)]
    return None, plain[0], plain[1]


def _by_tensor(entries: Iterable[Any]) -> dict[int, str]:
    return {entry.tensorIndex: entry.name.decode() for entry in entries}


def _spec(name: str, detail: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name, np.dtype(detail["dtype"]), tuple(int(size) for size in detail["shape"]))
