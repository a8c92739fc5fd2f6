"""Layers of mixed precision, whose weights are float32, computed in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from converter.errors import ConversionError, Rejection
from converter.importers.keras.overriding import overridden
from converter.rules import Rule


def check_precision(model: Any) -> tuple[str, ...]:
    """Return notes on layers that compute in another type than that of their float32 weights.

    Raises ConversionError if weights have another type than float32.
    """
    rejections = [
        Rejection(
            Rule.FLOAT32_ONLY,
            f"{model.name}/{layer.name}",
            f"the layer's weights are {layer.variable_dtype}; the recurrent kernels compute in float32",
            "build the model with the dtype policy float32, and load the weights into it",
        )
        for layer in model._flatten_layers()
        if "float" in str(layer.variable_dtype) and layer.variable_dtype != "float32"
    ]
    if rejections:
        raise ConversionError("cannot convert the model", rejections)
    mixed = sorted({str(layer.compute_dtype) for layer in _mixed(model)})
    if not mixed:
        return ()
    return (
        f"layers that compute in {' and '.join(mixed)} in Keras compute in float32, as their weights are stored",
    )


@contextmanager
def in_float32(model: Any, *, is_keras3: bool) -> Iterator[None]:
    """Let all layers of ``model`` compute in float32 temporarily."""
    with ExitStack() as stack:
        for layer in _mixed(model):
            if is_keras3:
                import keras

                policy = keras.dtype_policies.get("float32")
                stack.enter_context(overridden(layer, "_dtype_policy", policy))
            else:
                import tensorflow as tf
                import tf_keras

                policy = tf_keras.mixed_precision.Policy("float32")
                stack.enter_context(overridden(layer, "_dtype_policy", policy))
                stack.enter_context(overridden(layer, "_compute_dtype_object", tf.float32))
        yield


def _mixed(model: Any) -> list[Any]:
    return [
        layer
        for layer in model._flatten_layers()
        if "float" in str(layer.compute_dtype) and layer.compute_dtype != "float32"
    ]
