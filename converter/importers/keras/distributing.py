"""Run TimeDistributed as one call of its layer, for all steps at once.

Keras runs the layer once per step, as many copies or a loop without a TFLite equivalent. At inference a layer
treats each row alike, so the steps can be rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, cast


def distributed_call(
    layer: Any, dense: type[Any], activations: Collection[Callable[..., Any]], *, is_by_row: bool = False
) -> Callable[..., Any]:
    """Return the replacement of ``layer.call``.

    A ``dense`` layer with one of these ``activations``, which work on the last axis or on each element, is called
    on the sequences as they are; any other layer on its steps as rows. Keras 3 gives each step its part of a mask
    (``is_by_row``); Keras 2 does something else for some layers, and is left to it.
    """
    import tensorflow as tf

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        inner: Any = layer.layer
        if training or not isinstance(inputs, tf.Tensor) or (mask is not None and not is_by_row):
            return layer.__class__.call(layer, inputs, training=training, mask=mask)
        if inner.__class__ is dense and inner.activation in activations:
            return inner(inputs)
        given = tf.shape(inputs)
        masked = {} if mask is None or not inner._call_has_mask_arg else {"mask": _rows(mask)}
        results = inner(_rows(inputs), **masked)
        return tf.nest.map_structure(lambda rows: tf.reshape(rows, _shape(inputs, given, rows)), results)

    return without_autograph(call)


def without_autograph(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``call`` as it is for autograph, with its own signature: Keras asks it whether it takes a mask."""
    import tensorflow as tf

    converted: Any = tf.autograph.experimental.do_not_convert(call)
    converted.__signature__ = inspect.signature(call)
    return cast(Callable[..., Any], converted)


def _rows(sequences: Any) -> Any:
    """Return the steps [B, T, ...] as rows [B * T, ...]."""
    import tensorflow as tf

    rest = sequences.shape[2:]
    if rest.is_fully_defined():
        return tf.reshape(sequences, [-1, *rest])
    return tf.reshape(sequences, tf.concat([[-1], tf.shape(sequences)[2:]], 0))


def _shape(inputs: Any, given: Any, rows: Any) -> list[Any]:
    """Return the shape of results, of constants where possible: one size may be -1."""
    import tensorflow as tf

    batch, time = inputs.shape[:2]
    computed = tf.shape(rows)
    depths = [computed[axis] if size is None else size for axis, size in enumerate(rows.shape) if axis > 0]
    if any(size is None for size in rows.shape[1:]) or (batch is None and time is None):
        return [given[0], given[1], *depths]
    return [-1, time, *depths] if time is not None else [batch, -1, *depths]
