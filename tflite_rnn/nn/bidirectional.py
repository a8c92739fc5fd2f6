"""Bidirectional recurrent networks: one cell reads the sequence forwards, another one backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.arguments import check_cell, integer_lengths
from tflite_rnn.nn.cell import Nest, Tensor, without_autograph
from tflite_rnn.nn.rnn import dynamic_rnn


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
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Nest, Nest], tuple[Nest, Nest]]:
    """Run two cells over batch-major inputs [batch, time, ...], one forwards and one backwards.

    `tflite_rnn.bidirectional_dynamic_rnn` takes time-major inputs by default. The backward cell reads each row
    from its last element to its first (Schuster and Paliwal 1997). Its outputs are put back in the order of the
    inputs, so that padding is at the end of both; its final state is the one after reading the first element.
    ``tf.concat(outputs, 2)`` joins the two directions.

    Args:
        cell_fw: the cell that reads forwards, see `dynamic_rnn`.
        cell_bw: the cell that reads backwards.
        inputs: [batch, time, ...] if ``time_major`` is False, else [time, batch, ...], or a nest of such tensors.
        sequence_length: integers [batch], see `dynamic_rnn`; whole rows by default.
        initial_state_fw: initial state of ``cell_fw``, see `dynamic_rnn`.
        initial_state_bw: initial state of ``cell_bw``.
        dtype: type of states and outputs; mandatory unless both initial states are given.
        parallel_iterations: see `dynamic_rnn`.
        swap_memory: see `dynamic_rnn`.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "bidirectional_rnn" by default. The variables are called
            ``<scope>/fw/<cell>/...`` and ``<scope>/bw/<cell>/...``.

    Returns:
        ((outputs_fw, outputs_bw), (state_fw, state_bw)): outputs [batch, time, ...] or [time, batch, ...] in the
        structures of the cells' ``output_size``, final states [batch, ...] in those of their ``state_size``.

    Raises:
        TypeError: ``cell_fw`` or ``cell_bw`` is not a cell, or ``sequence_length`` does not hold integers.
        ValueError: as for `dynamic_rnn`.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    check_cell("cell_fw", cell_fw)
    check_cell("cell_bw", cell_bw)
    time_axis = 0 if time_major else 1

    def run(cell: Any, sequence: Nest, state: Nest, direction: str) -> tuple[Nest, Nest]:
        with tf.compat.v1.variable_scope(direction) as inner:
            return dynamic_rnn(
                cell,
                sequence,
                sequence_length=lengths,
                initial_state=state,
                dtype=dtype,
                parallel_iterations=parallel_iterations,
                swap_memory=swap_memory,
                time_major=time_major,
                scope=inner,
            )

    with tf.compat.v1.variable_scope(scope or "bidirectional_rnn"):
        lengths = integer_lengths(sequence_length)
        outputs_fw, state_fw = run(cell_fw, inputs, initial_state_fw, "fw")
        reversed_inputs = _reverse(inputs, lengths, time_axis)
        reversed_outputs, state_bw = run(cell_bw, reversed_inputs, initial_state_bw, "bw")
        outputs_bw = _reverse(reversed_outputs, lengths, time_axis)
    return (outputs_fw, outputs_bw), (state_fw, state_bw)


@without_autograph
def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[Any],
    cells_bw: Sequence[Any],
    inputs: Nest,
    initial_states_fw: Sequence[Nest] | None = None,
    initial_states_bw: Sequence[Nest] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: int | None = None,
    time_major: bool = False,
    scope: Any = None,
    swap_memory: bool = False,
) -> tuple[Nest, tuple[Nest, ...], tuple[Nest, ...]]:
    """Run several bidirectional layers, each over the joined outputs of both directions of the one below.

    The function of TensorFlow 1's ``tf.contrib.rnn``, with its order of parameters.

    Args:
        cells_fw: list or tuple of the cells that read forwards, one per layer, the first nearest to the inputs.
        cells_bw: list or tuple of the cells that read backwards, as many.
        inputs: [batch, time, ...] if ``time_major`` is False, else [time, batch, ...], or a nest of such tensors.
        initial_states_fw: list or tuple of the initial states of ``cells_fw``, one per layer (None for zeros).
        initial_states_bw: list or tuple of the initial states of ``cells_bw``.
        dtype: type of states and outputs; mandatory unless all initial states are given.
        sequence_length: integers [batch], see `dynamic_rnn`.
        parallel_iterations: see `dynamic_rnn`.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "stack_bidirectional_rnn" by default. The variables are
            called ``<scope>/cell_<layer>/bidirectional_rnn/fw/<cell>/...`` and likewise for bw.
        swap_memory: see `dynamic_rnn`.

    Returns:
        (outputs, states_fw, states_bw): outputs [batch, time, size_fw + size_bw] or [time, batch, ...] of the last
        layer, forward part first; the final states of every layer as two tuples.

    Raises:
        TypeError: one of the cells is not a cell, or ``sequence_length`` does not hold integers.
        ValueError: ``cells_fw`` or ``cells_bw`` is empty or not a list, they differ in length, or there are not as
            many initial states as layers; and as for `dynamic_rnn`.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    _check_layers("cells_fw", cells_fw)
    _check_layers("cells_bw", cells_bw)
    if len(cells_fw) != len(cells_bw):
        raise ValueError(
            f"cells_fw and cells_bw must have the same depth, but saw {len(cells_fw)} and {len(cells_bw)} cells"
        )
    starts_fw = _layer_states("initial_states_fw", initial_states_fw, len(cells_fw))
    starts_bw = _layer_states("initial_states_bw", initial_states_bw, len(cells_fw))
    states = []
    with tf.compat.v1.variable_scope(scope or "stack_bidirectional_rnn"):
        for layer, (cell_fw, cell_bw) in enumerate(zip(cells_fw, cells_bw, strict=True)):
            with tf.compat.v1.variable_scope(f"cell_{layer}"):
                outputs, final_states = bidirectional_dynamic_rnn(
                    cell_fw,
                    cell_bw,
                    inputs,
                    sequence_length=sequence_length,
                    initial_state_fw=starts_fw[layer],
                    initial_state_bw=starts_bw[layer],
                    dtype=dtype,
                    parallel_iterations=parallel_iterations,
                    swap_memory=swap_memory,
                    time_major=time_major,
                )
                inputs = tf.nest.map_structure(lambda fw, bw: tf.concat([fw, bw], axis=2), *outputs)
            states.append(final_states)
    return inputs, tuple(fw for fw, _ in states), tuple(bw for _, bw in states)


def _reverse(nest: Nest, lengths: Tensor | None, time_axis: int) -> Nest:
    """Reverse every row of [batch, time, ...] (or time first), up to its length if there is one."""

    def reverse(x: Any) -> Tensor:
        x = tf.convert_to_tensor(x)
        if lengths is None:
            return tf.reverse(x, [time_axis])
        within = tf.clip_by_value(lengths, 0, tf.shape(x)[time_axis])
        return tf.reverse_sequence(x, within, seq_axis=time_axis, batch_axis=1 - time_axis)

    return tf.nest.map_structure(reverse, nest)


def _check_layers(argument: str, cells: Any) -> None:
    if not isinstance(cells, list | tuple) or not cells:
        raise ValueError(f"{argument} must be a list of at least one cell, one per layer, but saw {cells!r}")


def _layer_states(argument: str, states: Any, layers: int) -> Sequence[Nest]:
    if states is None:
        return [None] * layers
    if not isinstance(states, list | tuple) or len(states) != layers:
        raise ValueError(f"{argument} must be a list of {layers} states, one per layer, but saw {states!r}")
    return states
