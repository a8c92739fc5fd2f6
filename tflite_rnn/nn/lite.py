"""dynamic_rnn as in TensorFlow 1.15's ``tf.lite.experimental.nn``: time-major, control flow v2 only."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflite_rnn.nn import rnn
from tflite_rnn.nn.cell import Nest, without_autograph


@without_autograph
def dynamic_rnn(
    cell: Any,
    inputs: Nest,
    sequence_length: Any = None,
    initial_state: Nest = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = True,
    scope: Any = None,
) -> tuple[Nest, Nest]:
    """Run a recurrent network over a sequence; as `tflite_rnn.nn.dynamic_rnn`, but time-major by default.

    Args:
        cell: see `tflite_rnn.nn.dynamic_rnn`.
        inputs: [time, batch, ...] if ``time_major``, else [batch, time, ...], or a nest of such tensors.
        sequence_length: see `tflite_rnn.nn.dynamic_rnn`.
        initial_state: see `tflite_rnn.nn.dynamic_rnn`.
        dtype: see `tflite_rnn.nn.dynamic_rnn`.
        parallel_iterations: see `tflite_rnn.nn.dynamic_rnn`.
        swap_memory: see `tflite_rnn.nn.dynamic_rnn`.
        time_major: the layout of inputs and outputs.
        scope: see `tflite_rnn.nn.dynamic_rnn`.

    Returns:
        (outputs, final state), see `tflite_rnn.nn.dynamic_rnn`.

    Raises:
        TypeError: ``cell`` is not a cell, or ``sequence_length`` does not hold integers.
        RuntimeError: control flow v2 is switched off.
        ValueError: inputs, lengths, state or dtype are missing or do not fit together.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    rnn.check_cell("cell", cell)
    if not tf.compat.v1.control_flow_v2_enabled():
        raise RuntimeError(
            "the TFLite flavour of dynamic_rnn only supports control flow v2, which is switched off; "
            "call tf.compat.v1.enable_control_flow_v2(), or use tflite_rnn.nn.dynamic_rnn"
        )
    return rnn.dynamic_rnn(
        cell,
        inputs,
        sequence_length=sequence_length,
        initial_state=initial_state,
        dtype=dtype,
        parallel_iterations=parallel_iterations,
        swap_memory=swap_memory,
        time_major=time_major,
        scope=scope,
    )
