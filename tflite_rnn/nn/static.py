"""The functions that take a sequence as a Python list, one tensor per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.arguments import check_cell, check_inputs_given, check_structure, sequence_steps
from tflite_rnn.nn.bidirectional import bidirectional_dynamic_rnn
from tflite_rnn.nn.cell import Nest, without_autograph
from tflite_rnn.nn.rnn import run_cell


@without_autograph
def static_rnn(
    cell: Any,
    inputs: Sequence[Nest],
    initial_state: Nest = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Nest], Nest]:
    """Run a recurrent network over a list of inputs, one element per step.

    The same variables, values and fused ops as `dynamic_rnn` over the stacked inputs; the number of steps is that
    of the list.

    Args:
        cell: see `dynamic_rnn`.
        inputs: list or tuple of [batch, ...] tensors of one shape, or of nests of them.
        initial_state: see `dynamic_rnn`.
        dtype: see `dynamic_rnn`.
        sequence_length: integers [batch], see `dynamic_rnn`.
        scope: variable scope, a name or a scope object; "rnn" by default.

    Returns:
        (outputs, final state): a list of as many outputs as inputs, each [batch, ...] in the structure of
        ``cell.output_size``; the state as from `dynamic_rnn`.

    Raises:
        TypeError: ``cell`` is not a cell, ``inputs`` is not a list or tuple, or ``sequence_length`` does not hold
            integers.
        ValueError: ``inputs`` is empty, its elements differ in structure or shape, and as for `dynamic_rnn`.
    """
    check_cell("cell", cell)
    steps = sequence_steps(inputs)
    outputs, state = run_cell(
        cell,
        _stacked(steps),
        sequence_length=sequence_length,
        initial_state=initial_state,
        dtype=dtype,
        parallel_iterations=None,
        swap_memory=False,
        time_major=True,
        scope=scope,
        least_rank=2,
    )
    return _unstacked(outputs, len(steps)), state


@without_autograph
def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Sequence[Nest],
    initial_state_fw: Nest = None,
    initial_state_bw: Nest = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Nest], Nest, Nest]:
    """Run one cell forwards and another one backwards over a list of inputs, one element per step.

    See `bidirectional_dynamic_rnn`; here the outputs of the two directions come joined, and the three results are
    not nested.

    Args:
        cell_fw: the cell that reads forwards.
        cell_bw: the cell that reads backwards.
        inputs: list or tuple of [batch, depth] tensors of one shape, or of nests of them.
        initial_state_fw: initial state of ``cell_fw``, see `dynamic_rnn`.
        initial_state_bw: initial state of ``cell_bw``.
        dtype: type of states and outputs; mandatory unless both initial states are given.
        sequence_length: integers [batch], see `dynamic_rnn`.
        scope: variable scope, a name or a scope object; "bidirectional_rnn" by default.

    Returns:
        (outputs, state_fw, state_bw): a list of as many outputs as inputs, each [batch, size_fw + size_bw],
        forward part first; the two final states.

    Raises:
        TypeError: ``cell_fw`` or ``cell_bw`` is not a cell, ``inputs`` is not a list or tuple, or
            ``sequence_length`` does not hold integers.
        ValueError: ``inputs`` is empty, its elements differ in structure or shape, and as for `dynamic_rnn`.
    """
    check_cell("cell_fw", cell_fw)
    check_cell("cell_bw", cell_bw)
    steps = sequence_steps(inputs)
    outputs, (state_fw, state_bw) = bidirectional_dynamic_rnn(
        cell_fw,
        cell_bw,
        _stacked(steps),
        sequence_length=sequence_length,
        initial_state_fw=initial_state_fw,
        initial_state_bw=initial_state_bw,
        dtype=dtype,
        time_major=True,
        scope=scope,
    )
    joined = tf.nest.map_structure(lambda fw, bw: tf.concat([fw, bw], axis=2), *outputs)
    return _unstacked(joined, len(steps)), state_fw, state_bw


def _stacked(steps: Sequence[Nest]) -> Nest:
    """Join the steps, each a nest of [batch, ...], to one nest of [time, batch, ...]."""
    for step in steps:
        check_inputs_given(step)
        check_structure("every step of inputs", steps[0], step)
    flat_steps = [[tf.convert_to_tensor(x) for x in tf.nest.flatten(step)] for step in steps]
    for time, step in enumerate(flat_steps):
        for x, first in zip(step, flat_steps[0], strict=True):
            if not x.shape.is_compatible_with(first.shape):
                raise ValueError(
                    f"inputs must have one shape in all steps, but saw {first.shape} in step 0 and {x.shape} "
                    f"in step {time}"
                )
    joined = [tf.stack(list(parts)) for parts in zip(*flat_steps, strict=True)]
    return tf.nest.pack_sequence_as(steps[0], joined)


def _unstacked(outputs: Nest, steps: int) -> list[Nest]:
    """Split a nest of [time, batch, ...] into one nest of [batch, ...] per step."""
    flat = [tf.unstack(x, num=steps) for x in tf.nest.flatten(outputs)]
    return [tf.nest.pack_sequence_as(outputs, list(parts)) for parts in zip(*flat, strict=True)]
