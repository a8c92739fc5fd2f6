"""Run a model with TensorFlow Lite's classic interpreter: tflite-runtime, ai-edge-litert, tf.lite."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from tflite_rnn.runtime.messages import Load
from tflite_rnn.runtime.runtimes import AI_EDGE_LITERT, TF_LITE, TFLITE_RUNTIME
from tflite_rnn.runtime.signature import Array, Signature, TensorSpec, known_shape

_MODULES: Final = {
    TFLITE_RUNTIME: "tflite_runtime.interpreter",
    AI_EDGE_LITERT: "ai_edge_litert.interpreter",
}


class InterpreterModel:
    """One model in one interpreter, run through its signatures, or by tensor names if the file has none."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
        self._shapes: dict[str, tuple[int, ...]] | None = None

    def signatures(self) -> tuple[Signature, ...]:
        """Describe every signature; one without a key if the file has none."""
        if not self._runners:
            inputs, outputs = self._details()
            return (Signature(None, _specs(inputs.items()), _specs(outputs.items())),)
        return tuple(
            Signature(key, _specs(runner.get_input_details().items()), _specs(runner.get_output_details().items()))
            for key, runner in self._runners.items()
        )

    def run(self, signature_key: str | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Invoke once, resizing and allocating only if the shapes changed; the state is kept."""
        outputs = self._run_tensors(inputs) if signature_key is None else self._runners[signature_key](**inputs)
        self._shapes = {name: array.shape for name, array in inputs.items()}
        return {name: np.asarray(output) for name, output in outputs.items()}

    def reset(self) -> None:
        """Zero the variable tensors. Before the first run there are none yet, and the kernels start from zero."""
        if self._shapes is not None:
            self._interpreter.reset_all_variables()

    def _run_tensors(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted, outputs = self._details()
        if inputs.keys() != wanted.keys():
            raise ValueError(f"expected the inputs {sorted(wanted)}, got {sorted(inputs)}")
        if self._shapes != {name: array.shape for name, array in inputs.items()}:
            self._shapes = None  # if allocation fails, the next run must allocate again
            for name, array in inputs.items():
                self._interpreter.resize_tensor_input(wanted[name]["index"], array.shape)
            self._interpreter.allocate_tensors()
        for name, array in inputs.items():
            self._interpreter.set_tensor(wanted[name]["index"], array)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(detail["index"]) for name, detail in outputs.items()}

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        return _by_name(inputs, "inputs"), _by_name(outputs, "outputs")


def _by_name(details: list[Any], role: str) -> dict[str, Any]:
    named = {detail["name"]: detail for detail in details}
    if len(named) != len(details):
        names = [detail["name"] for detail in details]
        raise ValueError(
            f"the file has no signature, and several of its {role} are called {names}; add a signature"
        )
    return named


def _specs(details: Iterable[tuple[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, np.dtype(detail["dtype"]), known_shape(detail["shape_signature"]))
        for name, detail in details
    )


class InterpreterLoader:
    """Loads models into the interpreter of one package, which is imported when the loader is made."""

    def __init__(self, interpreter: str) -> None:
        self._make, self._resolvers = _interpreter_classes(interpreter)

    def load(self, request: Load) -> InterpreterModel:
        """Make an interpreter for a model."""
        types = self._resolvers
        resolver = types.AUTO if request.delegate else types.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return InterpreterModel(
            self._make(
                model_content=request.model,
                num_threads=request.threads,
                experimental_op_resolver_type=resolver,
            )
        )


def _interpreter_classes(interpreter: str) -> tuple[Any, Any]:
    """Import a package and return its Interpreter and OpResolverType."""
    if interpreter == TF_LITE:
        import tensorflow as tf

        return tf.lite.Interpreter, tf.lite.experimental.OpResolverType
    module = importlib.import_module(_MODULES[interpreter])
    return module.Interpreter, module.OpResolverType
