"""Run a model with LiteRT's CompiledModel, the announced successor of the interpreter, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.signature import Array, Signature, TensorSpec, known_shape


class CompiledModelLoader:
    """Loads models through ``ai_edge_litert.compiled_model``, which is imported when the loader is made."""

    def __init__(self) -> None:
        from ai_edge_litert.compiled_model import CompiledModel

        self._make = CompiledModel.from_buffer

    def load(self, request: Load) -> CompiledModelRunner:
        """Compile a model for the CPU. The interface has no switch for its delegate."""
        return CompiledModelRunner(self._make(request.model), request.model)


class CompiledModelRunner:
    """One compiled model, with buffers that are created again when shapes change."""

    def __init__(self, model: Any, content: bytes) -> None:
        self._model = model
        self._content = content  # the model reads its weights from here
        self._signatures = tuple(self._signature(key, names) for key, names in model.get_signature_list().items())

    def signatures(self) -> tuple[Signature, ...]:
        """Describe every signature."""
        return self._signatures

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once on new buffers, resized where a dimension is open."""
        signature = next(known for known in self._signatures if known.key == signature_key)
        key = str(signature.key)
        names = {spec.name for spec in signature.inputs}
        if inputs.keys() != names:
            raise ValueError(f"expected the inputs {sorted(names)}, got {sorted(inputs)}")
        current = self._model.get_input_tensor_details(key) if names else {}
        for name in sorted(names):
            if tuple(current[name]["shape"]) != inputs[name].shape:
                self._model.resize_input_tensor_by_name(key, name, inputs[name].shape)
        given = {name: self._model.create_input_buffer_by_name(key, name) for name in names}
        for name, buffer in given.items():
            buffer.write(np.ascontiguousarray(inputs[name]))
        results = {
            spec.name: self._model.create_output_buffer_by_name(key, spec.name) for spec in signature.outputs
        }
        self._model.run_by_name(key, given, results)
        details = self._model.get_output_tensor_details(key) if results else {}
        return {
            spec.name: _read(results[spec.name], tuple(int(size) for size in details[spec.name]["shape"]), spec)
            for spec in signature.outputs
        }

    def reset(self) -> None:
        """Do nothing: the interface refuses models with variable tensors."""

    def _signature(self, key: str, names: Mapping[str, list[str]]) -> Signature:
        # The interface fails to describe tensors where there are none.
        taken = self._model.get_input_tensor_details(key) if names["inputs"] else {}
        given = self._model.get_output_tensor_details(key) if names["outputs"] else {}
        return Signature(
            key,
            tuple(_spec(name, taken[name]) for name in names["inputs"]),
            tuple(_spec(name, given[name]) for name in names["outputs"]),
        )


def _spec(name: str, detail: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name, np.dtype(detail["dtype"]), known_shape(detail["shape"]))


def _read(buffer: Any, shape: tuple[int, ...], spec: TensorSpec) -> Array:
    return np.asarray(buffer.read(math.prod(shape), spec.dtype.type)).reshape(shape)
