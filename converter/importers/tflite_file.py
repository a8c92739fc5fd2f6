"""Files that TFLiteConverter made before: they are converted again, with their loops raised."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.flatbuffer import read_file, read_model
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Program, Signature


@dataclass(frozen=True, slots=True, eq=False)
class TfliteFile:
    """A ``.tflite`` by its bytes; its inputs and outputs are called as in its first signature."""

    name: str
    data: bytes
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the file on the interpreter that comes with TensorFlow. Raises SourceError if that cannot."""
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise SourceError(f"{self.name}: no value given for its input {', '.join(missing)}")
        import tensorflow as tf

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                interpreter = tf.lite.Interpreter(model_content=self.data)
            return self._run(interpreter, inputs)
        except (RuntimeError, ValueError) as error:
            raise SourceError(f"{self.name}: TensorFlow's interpreter cannot run it: {error}") from error

    def _run(self, interpreter: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        details = interpreter.get_input_details()
        for name, detail in zip(self.input_names, details, strict=True):
            interpreter.resize_tensor_input(detail["index"], np.shape(inputs[name]))
        interpreter.allocate_tensors()
        for name, detail in zip(self.input_names, details, strict=True):
            interpreter.set_tensor(detail["index"], np.asarray(inputs[name], detail["dtype"]))
        interpreter.invoke()
        results = interpreter.get_output_details()
        return {
            name: np.asarray(interpreter.get_tensor(detail["index"]))
            for name, detail in zip(self.output_names, results, strict=True)
        }

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the program in the file: what became of its lists was decided when it was made."""
        del keep_lists
        signature = Signature(SIGNATURE_KEY, self.input_names, self.output_names)
        return import_tflite(self.data, source=self.name, signature=signature)


def load_tflite(path: Path) -> TfliteFile:
    """Return the model in a ``.tflite``. Raises SourceError if it is damaged or no model at all."""
    data = read_file(path)
    signature = read_model(data, source=str(path)).signature
    return TfliteFile(str(path), data, signature.inputs, signature.outputs)
