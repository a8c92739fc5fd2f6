"""Import ``.tflite`` files that exist already, to convert them again with their loops raised."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converter.errors import SourceError
from converter.flatbuffer import read_file, read_model
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Program, Shape, Signature, TensorType, Value
from converter.ir.rewire import rewire_graph


@dataclass(frozen=True, slots=True, eq=False)
class TfliteFile:
    """A ``.tflite`` by its bytes; its inputs and outputs are called as in its first signature."""

    name: str
    data: bytes
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    types: tuple[TensorType, ...] = ()
    """The types of its inputs."""
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of inputs with more known dimensions than in the file; see `with_shapes`."""

    def with_shapes(self, shapes: Mapping[str, Sequence[int | None]]) -> TfliteFile:
        """Return the file with the ``shapes`` of inputs, which may fix unknown dimensions.

        Raises SourceError for a name that is not an input, and for a size that was fixed when the file was made.
        """
        known = dict(zip(self.input_names, self.types, strict=True))
        for name, shape in shapes.items():
            if name not in known:
                inputs = ", ".join(known) or "none"
                raise SourceError(f"{self.name}: unknown input {name}; the inputs are {inputs}")
            self._check_shape(name, tuple(shape), known[name].shape)
        return replace(self, input_shapes={**self.input_shapes, **{name: tuple(shapes[name]) for name in shapes}})

    def _check_shape(self, name: str, wanted: Shape, own: Shape | None) -> None:
        if own is None:
            return
        if len(wanted) != len(own):
            raise SourceError(
                f"{self.name}: cannot fix the shape of {name}: expected {len(own)} dimensions, got {wanted}"
            )
        for axis, (size, fixed) in enumerate(zip(wanted, own, strict=True)):
            if fixed is not None and size != fixed:
                raise SourceError(
                    f"{self.name}: cannot set dimension {axis} of {name} to "
                    f"{'unknown' if size is None else size}: the file fixes it to {fixed}; make the .tflite "
                    "again with that dimension unknown"
                )

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the program in the file; its lists were lowered or kept when it was made."""
        del keep_lists
        signature = Signature(SIGNATURE_KEY, self.input_names, self.output_names)
        program = import_tflite(self.data, source=self.name, signature=signature)
        return _with_inputs(program, self.input_shapes)


def _with_inputs(program: Program, shapes: Mapping[str, Shape]) -> Program:
    """Return ``program`` with the inputs of these names replaced."""
    names, main = program.signature.inputs, program.main
    new = {
        value: _reshaped(value, shapes[name])
        for name, value in zip(names, main.inputs, strict=True)
        if name in shapes
    }
    if not new:
        return program
    inputs = tuple(new.get(value, value) for value in main.inputs)
    return replace(program, graphs=(replace(rewire_graph(main, new), inputs=inputs), *program.graphs[1:]))


def _reshaped(value: Value, shape: Shape) -> Value:
    return replace(value, type=TensorType(value.type.dtype, shape))


def load_tflite(model: str | os.PathLike[str] | bytes) -> TfliteFile:
    """Return the model in a ``.tflite``, by its path or bytes.

    Raises SourceError if it is damaged or not a model.
    """
    if isinstance(model, bytes):
        name, data = "the .tflite", model
    else:
        name, data = str(model), read_file(Path(model))
    program = read_model(data, source=name)
    types = tuple(value.type for value in program.main.inputs)
    return TfliteFile(name, data, program.signature.inputs, program.signature.outputs, types=types)
