"""Live Keras models: their calling conventions and their two traces."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from converter.errors import SourceError
from converter.importers.keras import keras2, keras3
from converter.importers.keras.cudnn import runs_anywhere
from converter.importers.keras.precision import check_precision, in_float32
from converter.importers.keras.reopening import cannot_open, check_equal, with_inputs
from converter.importers.source import STARTS_FROM_ZERO
from converter.importers.tf_function import FlatFunction, flatten_function, identifier
from converter.ir import Names, Shape

LIBRARIES = ("keras", "tf_keras")


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """How a model is called: its flat inputs by name, and a function that returns flat outputs by name."""

    inputs: tuple[tuple[str, Any], ...]
    run: Callable[[Sequence[Any]], Any]
    output_names: tuple[str, ...] | None

    def with_shapes(self, shapes: Sequence[Shape]) -> Call:
        """Return the call with other shapes of the inputs, in their order."""
        import tensorflow as tf

        inputs = tuple(
            (name, tf.TensorSpec(shape, spec.dtype, spec.name))
            for shape, (name, spec) in zip(shapes, self.inputs, strict=True)
        )
        return replace(self, inputs=inputs)


def is_keras_model(source: Any) -> bool:
    """Return whether ``source`` is a model of Keras 3 or tf_keras, without importing either."""
    return _library_of(source) is not None


def from_keras_model(model: Any, *, call: Call | None = None) -> FlatFunction:
    """Return the function of a live model at inference, its recurrent layers marked.

    Inputs are called by their input layers, outputs by the layers they come from, or by the keys of a dictionary
    that the model returns. The model is not changed. Stateful layers start from zero. ``call`` says how the model
    is called; by default as it was built.

    Raises:
        SourceError: the model has not been built, takes tensors that are ragged or sparse, has another backend
            than TensorFlow, or has layers that only run on cuDNN and cannot be replaced.
        ConversionError: a layer has weights of another precision than float32.
    """
    is_keras3 = _library_of(model) == "keras"
    if is_keras3:
        _check_backend(model)
    _check_built(model)
    if not is_keras3:
        model = runs_anywhere(model)
    family = keras3 if is_keras3 else keras2
    precision = check_precision(model)
    call = call or (_call_of_keras3(model) if is_keras3 else _call_of_keras2(model))
    notes = tuple(f"{layer.name} {STARTS_FROM_ZERO}" for layer in family.recurrent_layers(model) if layer.stateful)
    with in_float32(model, is_keras3=is_keras3):
        with family.tracing(model, marked=False):
            plain = _traced(model, call)
        with family.tracing(model, marked=True):
            marked = _traced(model, call)
    made = replace(plain, marked=marked.concrete, notes=(*notes, *precision))
    if is_keras3 and keras3.is_traced_by_shape(model):
        made = replace(made, specialize=_by_shape(model, call, made))
    return replace(made, reopen=lambda shapes: _reopened(model, made, call, shapes))


def _by_shape(model: Any, call: Call, made: FlatFunction) -> Callable[[Mapping[str, Shape]], FlatFunction]:
    """Return the function that traces the reference of ``model`` for given shapes of its inputs, each once."""
    traces: dict[tuple[Shape, ...], FlatFunction] = {}

    def specialized(shapes: Mapping[str, Shape]) -> FlatFunction:
        key = tuple(shapes[name] for name in made.input_names)
        if key not in traces:
            with in_float32(model, is_keras3=True), keras3.tracing(model, marked=False):
                traces[key] = _traced(model, call.with_shapes(key))
        return traces[key]

    return specialized


def _reopened(model: Any, made: FlatFunction, call: Call, shapes: Mapping[str, Shape]) -> FlatFunction:
    """Return the function of ``model``, which is ``made``, with other ``shapes`` of inputs.

    A model of layers is built again; any other one is only called with these shapes.
    """

    wanted = [
        shapes.get(name, tuple(spec.shape.as_list()))
        for name, (_, spec) in zip(made.input_names, call.inputs, strict=True)
    ]
    if _is_of_layers(model):
        library = importlib.import_module(str(_library_of(model)))
        opened = from_keras_model(with_inputs(model, wanted, call.inputs, library))
    else:
        try:
            opened = from_keras_model(model, call=call.with_shapes(wanted))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise cannot_open(model.name, error) from error
    check_equal(made, opened)
    return replace(opened, input_names=made.input_names, output_names=made.output_names)


def _is_of_layers(model: Any) -> bool:
    """Return whether a model is Sequential or functional, so that its layers say how to build it."""
    if _library_of(model) != "keras":
        return bool(model._is_graph_network)
    import keras

    return isinstance(model, keras.models.Sequential) or hasattr(model, "_inputs_struct")


def _library_of(source: Any) -> str | None:
    for kind in type(source).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ == "Model" and library in LIBRARIES:
            return library
    return None


def _check_backend(model: Any) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise SourceError(
            f"{model.name}: expected Keras on TensorFlow, got the backend {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow before Keras is imported, or convert a saved .keras file"
        )


def _check_built(model: Any) -> None:
    if not model.built:
        raise SourceError(
            f"{model.name}: the model has not been built, so its input shapes are unknown; call it "
            "once on an example, or give it an Input layer"
        )


# --- how models are called -----------------------------------------------------------------------------------


def _call_of_keras3(model: Any) -> Call:
    import keras
    import tensorflow as tf

    if not _is_of_layers(model):
        return _call_of_subclass3(model)
    functional = model._functional if isinstance(model, keras.models.Sequential) else model
    inputs = [
        (tensor._keras_history.operation.name, _spec(model, tensor, tensor.sparse or tensor.ragged))
        for tensor in functional.inputs
    ]

    def run(tensors: Sequence[Any]) -> Any:
        return model(keras.tree.pack_sequence_as(functional._inputs_struct, list(tensors)), training=False)

    names = _output_names(functional._outputs_struct, functional.output_names, tf.nest.flatten)
    return Call(tuple(inputs), run, names)


def _call_of_subclass3(model: Any) -> Call:
    import keras
    import tensorflow as tf

    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        raise SourceError(
            f"{model.name}: cannot tell which inputs the model takes; call it once on an example "
            "before you convert it, or wrap it in a functional model"
        )
    names, specs = [], []
    structures = {key.removesuffix("_shape"): _shapes_to_specs(shape, model) for key, shape in shapes.items()}
    for key, structure in structures.items():
        leaves = tf.nest.flatten(structure)
        names += [key] if len(leaves) == 1 else [f"{key}_{index}" for index in range(len(leaves))]
        specs += leaves

    def run(tensors: Sequence[Any]) -> Any:
        given = keras.tree.pack_sequence_as(structures, list(tensors))
        if len(given) == 1:
            return model(next(iter(given.values())), training=False)
        return model(**given, training=False)

    return Call(tuple(zip(names, specs, strict=True)), run, None)


def _shapes_to_specs(shape: Any, model: Any) -> Any:
    """Return specs of the shapes with which the model was built, with an unknown batch."""
    import tensorflow as tf

    if isinstance(shape, dict):
        return {key: _shapes_to_specs(inner, model) for key, inner in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return tf.TensorSpec([None, *shape[1:]], model.input_dtype)
    return [_shapes_to_specs(inner, model) for inner in shape]


def _call_of_keras2(model: Any) -> Call:
    import tensorflow as tf

    if not _is_of_layers(model):
        return _call_of_subclass2(model)
    specs = [_spec(model, tensor, not isinstance(tensor.type_spec, tf.TensorSpec)) for tensor in model.inputs]

    def run(tensors: Sequence[Any]) -> Any:
        return model(tf.nest.pack_sequence_as(model._nested_inputs, list(tensors)), training=False)

    layers = [tensor.node.layer.name for tensor in model.outputs]
    names = _output_names(model._nested_outputs, layers, tf.nest.flatten)
    return Call(tuple(zip(model.input_names, specs, strict=True)), run, names)


def _call_of_subclass2(model: Any) -> Call:
    import tensorflow as tf

    saved = model.save_spec()
    if saved is None:
        raise SourceError(
            f"{model.name}: cannot tell which inputs the model takes; call it once on an example "
            "before you convert it, or wrap it in a functional model"
        )
    args, kwargs = saved
    specs = tf.nest.flatten((args, kwargs))
    names = [spec.name or f"input_{index}" for index, spec in enumerate(specs)]

    def run(tensors: Sequence[Any]) -> Any:
        given, named = tf.nest.pack_sequence_as((args, kwargs), list(tensors))
        return model(*given, **{**named, "training": False})

    return Call(tuple(zip(names, specs, strict=True)), run, None)


def _spec(model: Any, tensor: Any, is_other: bool) -> Any:
    import tensorflow as tf

    if is_other:
        raise SourceError(
            f"{model.name}: expected dense inputs, but {tensor.name} is ragged or sparse; make it dense"
        )
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _output_names(structure: Any, layers: Sequence[str], flatten: Callable[[Any], list[Any]]) -> tuple[str, ...]:
    """Return the keys of a dictionary of tensors, else the names of the layers that the outputs come from."""
    if isinstance(structure, dict) and len(flatten(structure)) == len(structure):
        return tuple(str(key) for key in sorted(structure))
    return tuple(layers)


# --- traces --------------------------------------------------------------------------------------------------


def _traced(model: Any, call: Call) -> FlatFunction:
    import tensorflow as tf

    names = _unique(name for name, _ in call.inputs)
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name) for name, (_, spec) in zip(names, call.inputs, strict=True)
    ]

    def run(*tensors: Any) -> Any:
        results = call.run(tensors)
        return results if call.output_names is None else tuple(tf.nest.flatten(results))

    run.__name__ = identifier(model.name)
    function = flatten_function(tf.function(run, input_signature=specs, autograph=False), keepalive=model)
    return function if call.output_names is None else replace(function, output_names=_unique(call.output_names))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return unique names as identifiers, with a number appended where necessary: lstm, lstm_1, ..."""
    taken = Names()
    return tuple(taken.fresh(identifier(name)) for name in names)
