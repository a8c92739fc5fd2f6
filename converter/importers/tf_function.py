"""Import TensorFlow functions, by a flat view with named inputs and outputs, through TFLiteConverter.

The marker of a recurrence survives TFLiteConverter only on the SavedModel route, and only if inputs and outputs
are flat. So a function is wrapped into one with flat, named tensors; the wrapper is saved to a temporary
directory and converted from there. The same wrapper is the float reference that a converted file is checked
against.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.importers.bounded import bounded_function
from converter.importers.conversion import convert_with, forget_saved_implementations
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tflite_model import import_tflite
from converter.ir import Array, Program, Shape, Signature


@dataclass(frozen=True, slots=True, eq=False)
class FlatFunction:
    """A concrete TensorFlow function with flat, named inputs and outputs.

    Inputs are called by their TensorSpec. Outputs are called by their place in the structure that the function
    returns, joined by underscores: ``{"state": (LSTMStateTuple(c, h),)}`` gives ``state_0_c`` and ``state_0_h``;
    a single tensor is ``output_0``, a tuple ``output_0``, ``output_1``, …
    """

    name: str
    concrete: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    keepalive: Any = None
    marked: Any = None
    """The function to convert if not ``concrete``: the same one with marked recurrences."""
    notes: tuple[str, ...] = ()
    """Notes for the user on how the source was read."""
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of inputs with more known dimensions than those of ``concrete``; see `with_shapes`."""
    reopen: Callable[[Mapping[str, Shape]], FlatFunction] | None = None
    """Traces the function anew with other shapes of inputs, by name; None if it is one trace for ever."""
    specialize: Callable[[Mapping[str, Shape]], FlatFunction] | None = None
    """Traces the reference anew for the shapes of a call, by input; None if one trace is right for all shapes."""
    max_steps: Mapping[str, int] = field(default_factory=dict)
    """The steps after which loops end when it is called, by their names."""
    _bounded: list[Callable[[Sequence[Array]], list[Array]]] = field(default_factory=list)
    """The function that a call runs if ``max_steps`` are given, once there is one."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the function in TensorFlow: arrays by input name to arrays by output name."""
        import tensorflow as tf

        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise SourceError(f"{self.name}: missing values of the inputs {', '.join(missing)}")
        if self.specialize is not None:
            special = self.specialize({name: np.shape(inputs[name]) for name in self.input_names})
            return special.with_max_steps(self.max_steps)(inputs)
        if self.max_steps:
            results = self._with_bounds()([inputs[name] for name in self.input_names])
            return dict(zip(sorted(self.output_names), map(np.asarray, results), strict=True))
        tensors = [tf.convert_to_tensor(inputs[name]) for name in self.input_names]
        return {name: np.asarray(tensor) for name, tensor in self._call(self.concrete, tensors).items()}

    def with_max_steps(self, max_steps: Mapping[str, int]) -> FlatFunction:
        """Return the function with loops that end after ``max_steps``, by their names, when it is called."""
        return replace(self, max_steps=dict(max_steps), _bounded=[])

    def _with_bounds(self) -> Callable[[Sequence[Array]], list[Array]]:
        if not self._bounded:
            flat = replace(self, marked=None)._flat().get_concrete_function()
            self._bounded.append(bounded_function(flat, self.max_steps))
        return self._bounded[0]

    def with_shapes(self, shapes: Mapping[str, Sequence[int | None]]) -> FlatFunction:
        """Return the function with the ``shapes`` of inputs, which may fix unknown dimensions.

        They may open or change fixed ones, too, where the function can be traced anew. Raises SourceError for a
        name that is not an input, for an incompatible shape, and for a dimension that cannot be opened.
        """
        known = {name: shape for name, shape, _ in self.input_types()}
        opened: dict[str, Shape] = {}
        for name, shape in shapes.items():
            if name not in known:
                raise SourceError(f"{self.name}: unknown input {name}; the inputs are {', '.join(known)}")
            own, wanted = known[name], tuple(shape)
            others = [
                axis for axis, size in enumerate(own) if size is not None and size not in wanted[axis : axis + 1]
            ]
            if len(wanted) != len(own) or (others and self.reopen is None):
                raise self._fixed(name, own, wanted, others)
            if others:
                opened[name] = tuple(None if axis in others else size for axis, size in enumerate(own))
        if opened and self.reopen is not None:
            return self.reopen(opened).with_shapes(shapes)
        return replace(self, input_shapes={**self.input_shapes, **{name: tuple(shapes[name]) for name in shapes}})

    def with_open_time(self) -> FlatFunction:
        """Return the function with the second axis of its inputs open, of those of rank three at least if need be.

        Where that cannot be, a note says why, and the function is what it was.
        """
        fixed = {name: shape for name, shape, _ in self.input_types() if len(shape) > 1 and shape[1] is not None}
        reason = ""
        for rank in (2, 3):
            shapes = {name: (of[0], None, *of[2:]) for name, of in fixed.items() if len(of) >= rank}
            try:
                return self.with_shapes(shapes) if shapes else self
            except SourceError as error:
                reason = str(error)
        return replace(self, notes=(*self.notes, f"time stays as it is fixed: {reason}"))

    def _fixed(self, name: str, own: Shape, wanted: Shape, others: Sequence[int]) -> SourceError:
        """Return the error of a shape that the source does not allow, at the dimensions ``others``."""
        if len(wanted) != len(own) or wanted[others[0]] is not None:
            shown = str(own).replace("None", "?")
            return SourceError(
                f"{self.name}: cannot fix the shape of {name}: expected one compatible with {shown}, got {wanted}"
            )
        return SourceError(
            f"{self.name}: cannot open dimension {others[0]} of {name}: the source fixes it to "
            f"{own[others[0]]}; make the source again with that dimension unknown (None)"
        )

    def input_types(self) -> list[tuple[str, Shape, np.dtype[Any]]]:
        """Return the name, shape and type of each input, None for an unknown dimension."""
        specs = _specs(self._converted.structured_input_signature)
        return [
            (name, tuple(spec.shape.as_list()), np.dtype(spec.dtype.as_numpy_dtype))
            for name, spec in zip(self.input_names, specs, strict=True)
        ]

    def _call(self, concrete: Any, tensors: list[Any]) -> dict[str, Any]:
        import tensorflow as tf

        given = iter(tensors)
        # The value of an argument without tensors comes from the function's signature.
        args, kwargs = concrete.structured_input_signature
        args = [arg for arg in args if _specs(arg)]
        kwargs = {name: arg for name, arg in kwargs.items() if _specs(arg)}
        arguments = [
            next(given) if isinstance(leaf, tf.TensorSpec) else leaf for leaf in tf.nest.flatten((args, kwargs))
        ]
        args, kwargs = tf.nest.pack_sequence_as((args, kwargs), arguments)
        results = _leaves(concrete(*args, **kwargs), "")
        return dict(zip(self.output_names, (leaf for _, leaf in results), strict=True))

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the function as a program, converted by TFLiteConverter. Errors as `to_tflite`."""
        signature = Signature(SIGNATURE_KEY, self.input_names, self.output_names)
        return import_tflite(self.to_tflite(keep_lists=keep_lists), source=self.name, signature=signature)

    def to_tflite(self, *, keep_lists: bool = True) -> bytes:
        """Return the function as converted by TFLiteConverter, with marked ops as CUSTOM ops.

        Raises ConversionError if TFLiteConverter cannot convert the ops around the recurrences, SourceError if
        the function uses something that cannot be saved.
        """
        import tensorflow as tf

        with tempfile.TemporaryDirectory(prefix="tflite-rnn-") as directory:
            try:
                tf.saved_model.save(self._module(), directory, signatures={SIGNATURE_KEY: self._flat()})
            except (AssertionError, ValueError) as error:
                raise SourceError(f"{self.name}: TensorFlow cannot save the function: {error}") from error
            forget_saved_implementations(Path(directory))
            converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE_KEY])
            return convert_with(converter, self.name, keep_lists=keep_lists)

    @property
    def _converted(self) -> Any:
        return self.concrete if self.marked is None else self.marked

    def _module(self) -> Any:
        import tensorflow as tf

        module = tf.Module()
        module.function_variables = list(self._converted.graph.variables)
        return module

    def _flat(self) -> Any:
        import tensorflow as tf

        specs = [
            tf.TensorSpec(leaf.shape.merge_with(self.input_shapes.get(name)), leaf.dtype, name)
            for name, leaf in zip(
                self.input_names, _specs(self._converted.structured_input_signature), strict=True
            )
        ]

        @tf.function(input_signature=specs, autograph=False)
        def flat(*tensors: Any) -> dict[str, Any]:
            return {
                name: tf.identity(tensor) for name, tensor in self._call(self._converted, list(tensors)).items()
            }

        return flat


def flatten_function(function: Any, *, keepalive: Any = None, name: str | None = None) -> FlatFunction:
    """Return the flat view of a ``tf.function`` with an input signature, or of a concrete function.

    ``keepalive`` is kept alive with the view: a loaded SavedModel, whose variables would be freed otherwise.
    ``name`` is what messages call the function, by default its own name. Raises SourceError if the function has no
    fixed signature, no outputs, or names that collide.
    """
    name = name or _name(function)
    concrete = _concrete(function, name)
    specs = _specs(concrete.structured_input_signature)
    inputs = tuple(identifier(spec.name or f"input_{index}") for index, spec in enumerate(specs))
    outputs = tuple(identifier(path) for path, _ in _leaves(concrete.structured_outputs, ""))
    if not outputs:
        raise SourceError(f"{name}: the function returns no tensor; return the tensors that the model computes")
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        repeated = sorted({entry for entry in names if names.count(entry) > 1})
        if repeated:
            raise SourceError(f"{name}: several {what} are called {', '.join(repeated)}; give each its own name")
    return FlatFunction(name, concrete, inputs, outputs, keepalive)


def _name(function: Any) -> str:
    name = getattr(function, "name", None) or getattr(function, "__name__", "function")
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _concrete(function: Any, name: str) -> Any:
    import tensorflow as tf

    if isinstance(function, tf.types.experimental.ConcreteFunction):
        return function
    if not isinstance(function, tf.types.experimental.GenericFunction):
        raise SourceError(
            f"cannot convert {function!r}: expected a tf.function with an input_signature, a concrete "
            "function or the directory of a SavedModel"
        )
    if function.input_signature is None:
        raise SourceError(
            f"{name}: the tf.function has no input_signature; add one, such as "
            "@tf.function(input_signature=[tf.TensorSpec([None, None, 59], tf.float32, "
            "name='chars')])"
        )
    return function.get_concrete_function()


def _specs(structure: Any) -> list[Any]:
    """Return the TensorSpecs in a structure of arguments."""
    import tensorflow as tf

    return [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, tf.TensorSpec)]


def identifier(name: str) -> str:
    """Return ``name`` as the name of an input or output: letters, digits, dots and underscores."""
    return re.sub(r"[^0-9A-Za-z_.]", "_", name.split(":", maxsplit=1)[0])


def _leaves(structure: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, tensor) in the order of tf.nest; None leaves (absent outputs) are skipped."""
    if structure is None:
        return
    children = _children(structure)
    if children is None:
        yield path or "output_0", structure
        return
    for key, inner in children:
        top = f"output_{key}" if key.isdigit() else key
        yield from _leaves(inner, f"{path}_{key}" if path else top)


def _children(structure: Any) -> list[tuple[str, Any]] | None:
    """Return the named parts of a structure, None for a leaf."""
    if isinstance(structure, Mapping):
        return [(str(key), structure[key]) for key in sorted(structure)]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return list(zip(structure._fields, structure, strict=True))
    if isinstance(structure, list | tuple):
        return [(str(index), inner) for index, inner in enumerate(structure)]
    return None
