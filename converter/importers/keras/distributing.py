"""Run TimeDistributed as one call of its layer, for all steps at once.

Keras runs the layer once per step, as many copies or a loop without a TFLite equivalent. At inference a layer
treats each row alike, so the steps can be rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any


def distributed_call(
    layer: Any, dense: type[Any], activations: Collection[Callable[..., Any]]
) -> Callable[..., Any]:
    """Return the replacement of ``layer.call``.

    A ``dense`` layer with one of these ``activations``, which work on the last axis or on each element, is called
    on the sequences as they are; any other layer on its steps as rows.
    """
    import tensorflow as tf

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        inner: Any = layer.layer
        if training or mask is not None or not _is_sequence(inputs):
            return layer.__class__.call(layer, inputs, training=training, mask=mask)
        if inner.__class__ is dense and inner.activation in activations:
            return inner(inputs)
        given = tf.shape(inputs)
        results = inner(tf.reshape(inputs, [-1, *inputs.shape[2:]]))
        return tf.nest.map_structure(lambda rows: tf.reshape(rows, _shape(inputs, given, rows)), results)

    converted: Callable[..., Any] = tf.autograph.experimental.do_not_convert(call)
    return converted


def _is_sequence(inputs: Any) -> bool:
    import tensorflow as tf

    return isinstance(inputs, tf.Tensor) and None not in inputs.shape[2:]


def _shape(inputs: Any, given: Any, rows: Any) -> list[Any]:
    """Return the shape of results, of constants where possible: one size may be -1."""
    import tensorflow as tf

    batch, time = inputs.shape[:2]
    computed = tf.shape(rows)
    depths = [computed[axis] if size is None else size for axis, size in enumerate(rows.shape) if axis > 0]
    if any(size is None for size in rows.shape[1:]) or (batch is None and time is None):
        return [given[0], given[1], *depths]
    return [-1, time, *depths] if time is not None else [batch, -1, *depths]
