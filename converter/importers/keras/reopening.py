"""Build Keras models again with sizes open that their inputs fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.importers.tf_function import FlatFunction
from converter.ir import Array, Shape

CLOSE = 1e-5
"""The most by which the two models may differ, relative and absolute: open sizes may choose other kernels."""


def with_inputs(model: Any, shapes: Sequence[Shape], inputs: Sequence[tuple[str, Any]], library: Any) -> Any:
    """Return a copy of a Sequential or functional model with inputs of other shapes, and equal weights.

    ``inputs`` are the names and specs of its own inputs, in order; ``library`` is Keras 3 or tf_keras.
    Raises SourceError if a layer needs the sizes that the model fixes.
    """
    given = [
        library.Input(batch_shape=shape, dtype=spec.dtype, name=name)
        for shape, (name, spec) in zip(shapes, inputs, strict=True)
    ]
    try:
        tensors = given[0] if len(given) == 1 else given
        twin = library.models.clone_model(model, input_tensors=tensors, clone_function=_clone)
        twin.set_weights(model.get_weights())
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise cannot_open(model.name, error) from error
    return twin


def _clone(layer: Any) -> Any:
    """Return a copy of a layer without its weights; a Reshape that names its first size leaves it open."""
    config = layer.get_config()
    target = config.get("target_shape")
    if type(layer).__name__ == "Reshape" and target and target[0] != -1:
        rest = tuple(layer.output.shape)[2:]
        if None not in rest:
            config["target_shape"] = (-1, *rest)
    return type(layer).from_config(config)


def cannot_open(name: str, error: Exception) -> SourceError:
    """Return the error of a model that needs the sizes that its inputs fix."""
    words = " ".join(str(error).split())[:300]
    return SourceError(
        f"{name}: cannot open the size in input_shapes (--input-shapes): a layer needs the fixed one: {words}; "
        "keep that size, or build the model without it"
    )


def check_equal(model: FlatFunction, opened: FlatFunction) -> None:
    """Raise SourceError unless two models compute the same at the sizes that the first one fixes."""
    import tensorflow as tf

    inputs = _examples(model)
    try:
        before, after = model(inputs), opened(inputs)
    except (ValueError, tf.errors.OpError) as error:
        raise cannot_open(model.name, error) from error
    for (name, wanted), found in zip(before.items(), after.values(), strict=True):
        same_shape = wanted.shape == found.shape
        if not same_shape or not np.allclose(wanted, found, rtol=CLOSE, atol=CLOSE, equal_nan=True):
            raise SourceError(
                f"{model.name}: cannot open the size in input_shapes (--input-shapes): the model then computes "
                f"another {name}; keep that size"
            )


def _examples(model: FlatFunction) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    examples = {}
    for name, shape, dtype in model.input_types():
        sizes = [(8 if axis else 1) if size is None else size for axis, size in enumerate(shape)]
        drawn: Array = np.zeros(sizes)  # ids, too, for which any table has a row
        if dtype.kind == "f":
            drawn = rng.standard_normal(sizes)
        elif dtype.kind == "b":
            drawn = rng.integers(0, 2, sizes)
        examples[name] = np.asarray(drawn, dtype)
    return examples
