"""The flavour of TensorFlow 1.15's ``tf.lite.experimental.nn``: time-major, control flow v2 only."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflite_rnn.nn import bidirectional, rnn
from tflite_rnn.nn.arguments import check_cell
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
    """Run a network over time-major inputs [time, batch, ...]; `tflite_rnn.nn.dynamic_rnn` takes batch-major ones.

    ``time_major`` chooses the layout. This is ``dynamic_rnn`` of TensorFlow 1's TFLite flavour: only its default
    layout differs from `tflite_rnn.nn.dynamic_rnn`, whose documentation has the details. The loop runs
    ``output, state = cell(inputs[t], state)`` for t = 0, 1, ...; gradients flow to inputs, weights and initial
    state, and `tflite_rnn.convert` turns the loop over a cell of this package into fused ops.

    Args:
        cell: an `RNNCell`, or anything that looks like one.
        inputs: [time, batch, ...] if ``time_major``, else [batch, time, ...], or a nest of such tensors.
        sequence_length: integers [batch]; from there on a row's outputs are zeros and its state stays as it was.
        initial_state: of the structure of ``cell.state_size``, [batch, size] each; zeros by default.
        dtype: type of the zero state and of the outputs; mandatory without an ``initial_state``.
        parallel_iterations: how many steps the loop may run at once; 32 by default. Changes no value.
        swap_memory: keep less for the gradient and compute each step again instead. Changes no value.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "rnn" by default.

    Returns:
        (outputs, final state): outputs [time, batch, ...] or [batch, time, ...] in the structure of
        ``cell.output_size``; the state [batch, ...] in that of ``cell.state_size``, as it was after each row's
        last step.

    Raises:
        TypeError: ``cell`` is not a cell, or ``sequence_length`` does not hold integers.
        RuntimeError: control flow v2 is switched off.
        ValueError: inputs, lengths, state or dtype are missing or do not fit together.
        AssertionError: ``parallel_iterations`` is not an integer.
        tf.errors.InvalidArgumentError: sizes that are known only at run time do not fit together.
    """
    check_cell("cell", cell)
    _check_control_flow("dynamic_rnn")
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


@without_autograph
def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Nest,
    sequence_length: Any = None,
    initial_state_fw: Nest = None,
    initial_state_bw: Nest = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = True,
    scope: Any = None,
) -> tuple[tuple[Nest, Nest], tuple[Nest, Nest]]:
    """Run two cells over time-major inputs [time, batch, ...], one forwards and one backwards.

    `tflite_rnn.nn.bidirectional_dynamic_rnn` takes batch-major inputs by default; otherwise the two are alike. The
    backward cell reads each row from its last element to its first, and its outputs are put back in the order of
    the inputs. ``tf.concat(outputs, 2)`` joins the two.

    Args:
        cell_fw: the cell that reads forwards, see `dynamic_rnn`.
        cell_bw: the cell that reads backwards.
        inputs: [time, batch, ...] if ``time_major``, else [batch, time, ...], or a nest of such tensors.
        sequence_length: integers [batch]; whole rows by default.
        initial_state_fw: initial state of ``cell_fw``; zeros by default.
        initial_state_bw: initial state of ``cell_bw``.
        dtype: type of states and outputs; mandatory unless both initial states are given.
        parallel_iterations: see `dynamic_rnn`.
        swap_memory: see `dynamic_rnn`.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "bidirectional_rnn" by default.

    Returns:
        ((outputs_fw, outputs_bw), (state_fw, state_bw)): outputs [time, batch, ...] or [batch, time, ...], final
        states [batch, ...], in the structures of the cells.

    Raises:
        TypeError: ``cell_fw`` or ``cell_bw`` is not a cell, or ``sequence_length`` does not hold integers.
        RuntimeError: control flow v2 is switched off.
        ValueError: inputs, lengths, states or dtype are missing or do not fit together.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    check_cell("cell_fw", cell_fw)
    check_cell("cell_bw", cell_bw)
    _check_control_flow("bidirectional_dynamic_rnn")
    return bidirectional.bidirectional_dynamic_rnn(
        cell_fw,
        cell_bw,
        inputs,
        sequence_length=sequence_length,
        initial_state_fw=initial_state_fw,
        initial_state_bw=initial_state_bw,
        dtype=dtype,
        parallel_iterations=parallel_iterations,
        swap_memory=swap_memory,
        time_major=time_major,
        scope=scope,
    )


def _check_control_flow(function: str) -> None:
    with (
        tf.Graph().as_default()
    ):  # inside a function TensorFlow would report the setting of the function, not of the process
        enabled = tf.compat.v1.control_flow_v2_enabled()
    if not enabled:
        raise RuntimeError(
            f"the TFLite flavour of {function} only supports control flow v2, which is switched off; "
            f"call tf.compat.v1.enable_control_flow_v2(), or use tflite_rnn.nn.{function}"
        )
