"""dynamic_rnn as in tf.nn: a recurrent network unrolled over time by a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from converter.marker import CellSpec, Operands, RecurrenceSpec
from tflite_rnn.nn.arguments import (
    batch_size,
    check_cell,
    check_inputs_given,
    check_sequences,
    check_structure,
    checked_lengths,
    fitted_state,
    integer_lengths,
    loop_options,
    state_dtype,
)
from tflite_rnn.nn.cell import Nest, Tensor, without_autograph
from tflite_rnn.nn.cell_specs import cell_weights, check_types, leaves, recurrent_cell
from tflite_rnn.nn.leaf import flat_state, packed_state
from tflite_rnn.nn.loop import LoopOptions, OutputSpec, dimension, scan
from tflite_rnn.nn.marking import Recurrence, run_recurrence


@without_autograph
def dynamic_rnn(
    cell: Any,
    inputs: Nest,
    sequence_length: Any = None,
    initial_state: Nest = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Nest, Nest]:
    """Run a network over batch-major inputs [batch, time, ...]; `tflite_rnn.dynamic_rnn` takes time-major ones.

    ``time_major`` chooses the layout. This is ``tf.nn.dynamic_rnn`` of TensorFlow 1, in any TensorFlow 2. The loop
    runs ``output, state = cell(inputs[:, t], state)`` for t = 0, 1, ... It works eagerly, in a ``tf.function``, in
    ``wrap_function`` and in a TensorFlow 1 graph with a Session, with batch and time sizes known or not, and
    gradients flow to inputs, weights and initial state. A cell of this package is moreover marked for
    `tflite_rnn.convert`, which turns the loop into fused ops. For example::

        cell = LSTMCell(64)
        outputs, state = dynamic_rnn(cell, x, sequence_length=[7, 3], dtype=tf.float32)   # x [2, 9, depth]
        outputs      # [2, 9, 64]; outputs[0, 7:] and outputs[1, 3:] are zeros
        state.h      # [2, 64]; outputs[0, 6] and outputs[1, 2]

    Args:
        cell: an `RNNCell`, or anything that looks like one: it has ``state_size``, ``output_size`` and
            ``get_initial_state`` or ``zero_state``, and can be called.
        inputs: [batch, time, ...] if ``time_major`` is False, else [time, batch, ...]; features may have any rank,
            but their sizes must be known. Or a nest of such tensors (tuples, lists, dicts, namedtuples) that agree
            on batch and time: the cell gets the same nest of [batch, ...]. NumPy arrays are converted.
        sequence_length: integers [batch], of any integer type. From there on a row's outputs are zeros and its
            state stays as it was, whatever the padding holds, NaN included; the gradient to finite padding is
            zero. Beyond the length of the inputs it means their length, below zero it means zero. Scalars and
            TensorArrays in the state have no rows: they change until the loop ends with the longest row.
        initial_state: of the structure of ``cell.state_size``, [batch, size] each, as tensors or NumPy arrays; a
            plain pair does for an `LSTMStateTuple`. By default ``cell.get_initial_state(inputs=None,
            batch_size=..., dtype=...)`` or, if the cell has none, ``cell.zero_state(batch_size, dtype)``.
        dtype: type of the zero state and of the outputs, a DType or its name; mandatory without an
            ``initial_state``, else the one type of its tensors. The inputs are not cast to it.
        parallel_iterations: how many steps TensorFlow's while loop may run at once; 32 for None and 0. Changes no
            value.
        swap_memory: keep less for the gradient; changes no value. With a cell that is marked, on any device: of
            each step only its input and state are kept, and the step is computed a second time on the way back;
            for an LSTM this is about a third of what is kept otherwise, for about half as much time again. With
            other cells: passed on to TensorFlow's while loop, which disregards it under control flow v2, the
            default; under control flow v1 it lets TensorFlow move what it keeps from a GPU to the host, and does
            nothing on a CPU.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "rnn" by default. Variables are called
            ``<scope>/<cell>/...``. In a TensorFlow 1 graph a second new cell in one scope is an error unless the
            scope reuses its variables; a cell object that is used again keeps the variables of its first use.

    Returns:
        (outputs, final state): outputs in the structure of ``cell.output_size``, [batch, time, ...] or
        [time, batch, ...], with as many steps as the inputs; the state in the structure of ``cell.state_size``,
        [batch, ...], as it was after each row's last step. No steps give no outputs and the initial state.

    Raises:
        TypeError: ``cell`` is not a cell, or ``sequence_length`` does not hold integers.
        ValueError: ``inputs`` are None or empty, have fewer than 3 axes, or disagree on time or batch;
            ``sequence_length`` is not a vector of the batch size; there is neither a ``dtype`` nor an
            ``initial_state``; or shapes, structures or types do not fit together.
        AssertionError: ``parallel_iterations`` is not an integer.
        tf.errors.InvalidArgumentError: sizes that are known only at run time do not fit together.
    """
    check_cell("cell", cell)
    check_inputs_given(inputs)
    return run_cell(
        cell,
        inputs,
        sequence_length=sequence_length,
        initial_state=initial_state,
        dtype=dtype,
        parallel_iterations=parallel_iterations,
        swap_memory=swap_memory,
        time_major=time_major,
        scope=scope,
        least_rank=3,
    )


def run_cell(
    cell: Any,
    inputs: Nest,
    *,
    sequence_length: Any,
    initial_state: Nest,
    dtype: Any,
    parallel_iterations: int | None,
    swap_memory: bool,
    time_major: bool,
    scope: Any,
    least_rank: int,
) -> tuple[Nest, Nest]:
    """Do what `dynamic_rnn` does, for a checked cell and inputs of at least ``least_rank`` axes."""
    with tf.compat.v1.variable_scope(scope or "rnn") as variable_scope:
        _cache_variables(variable_scope)
        inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        lengths = integer_lengths(sequence_length)
        batch = batch_size(inputs, time_major)
        dtype_of_state = state_dtype(dtype, initial_state)
        state = None if initial_state is None else fitted_state(cell, initial_state, batch, dtype)
        lengths = checked_lengths(lengths, batch, inputs, time_major)
        options = loop_options(parallel_iterations, swap_memory)
        check_sequences(inputs, time_major, least_rank)
        arguments = _Arguments(cell, inputs, lengths, batch, state, dtype_of_state, bool(time_major), options)
        spec = recurrent_cell(cell) if tf.is_tensor(inputs) and inputs.shape.rank == 3 else None
        return _plain(arguments) if spec is None else _marked(arguments, spec, variable_scope.name)


@dataclass(frozen=True, slots=True, eq=False)
class _Arguments:
    """The arguments of dynamic_rnn, checked and converted; a batch or a state that is not known is None."""

    cell: Any
    inputs: Nest
    sequence_length: Tensor | None
    batch: int | None
    initial_state: Nest
    dtype: tf.DType
    time_major: bool
    options: LoopOptions


def _cache_variables(scope: Any) -> None:
    """Have a TensorFlow 1 graph read each variable once per run rather than at every step.

    Functions and loops are excluded, because they may write the variables between two reads. Under control flow v2
    every loop is a function; under v1 a loop cannot be detected, so nothing is cached.
    """
    if tf.executing_eagerly() or tf.compat.v1.get_default_graph().building_function:
        return
    if tf.compat.v1.control_flow_v2_enabled() and scope.caching_device is None:
        scope.set_caching_device(lambda op: op.device)


def _swap_time_and_batch(nest: Nest) -> Nest:
    return tf.nest.map_structure(lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)]), nest)


def _plain(arguments: _Arguments) -> tuple[Nest, Nest]:
    """Run any cell in an ordinary loop in the graph of the caller."""
    cell, time_major = arguments.cell, arguments.time_major
    inputs = arguments.inputs if time_major else _swap_time_and_batch(arguments.inputs)
    flat_inputs = tf.nest.flatten(inputs)
    state = arguments.initial_state
    if state is None:
        state = _cell_state(cell, _known(arguments.batch, flat_inputs[0], 1), arguments.dtype)

    def step(xs: Sequence[Tensor], flat_state: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        output, new_state = cell(tf.nest.pack_sequence_as(inputs, xs), tf.nest.pack_sequence_as(state, flat_state))
        check_structure("the new state of the cell", state, new_state)
        check_structure("the output of the cell", cell.output_size, output)
        return tf.nest.flatten(output), tf.nest.flatten(new_state)

    specs = [
        OutputSpec(tf.TensorShape([arguments.batch]).concatenate(size), arguments.dtype)
        for size in tf.nest.flatten(cell.output_size)
    ]
    flat_outputs, flat_state = scan(
        step,
        flat_inputs,
        tf.nest.flatten(state),
        output_specs=specs,
        sequence_length=arguments.sequence_length,
        options=arguments.options,
    )
    for output, spec in zip(flat_outputs, specs, strict=True):
        output.set_shape([flat_inputs[0].shape[0], *spec.shape])
    outputs = tf.nest.pack_sequence_as(cell.output_size, flat_outputs)
    return (
        outputs if time_major else _swap_time_and_batch(outputs),
        tf.nest.pack_sequence_as(cell.state_size, flat_state),
    )


def _cell_state(cell: Any, batch: int | Tensor, dtype: tf.DType) -> Nest:
    if getattr(cell, "get_initial_state", None) is not None:
        return cell.get_initial_state(inputs=None, batch_size=batch, dtype=dtype)
    return cell.zero_state(batch, dtype)


def _known(size: int | None, tensor: Tensor, axis: int) -> int | Tensor:
    return size if size is not None else dimension(tensor, axis)


def _marked(arguments: _Arguments, spec: CellSpec, name: str) -> tuple[Tensor, Nest]:
    """Run a cell the compiler understands, as one marked call."""
    cell, inputs, state = arguments.cell, arguments.inputs, arguments.initial_state
    cell.ensure_built(tf.TensorSpec([None, inputs.shape[2]], inputs.dtype))
    weights = cell_weights(cell)
    parts = [] if state is None else tf.nest.flatten(state)
    check_types(cell, inputs.dtype, arguments.dtype, *(tensor.dtype for tensor in [*parts, *weights]))
    lengths = arguments.sequence_length
    spec_of_recurrence = RecurrenceSpec(name, spec, arguments.time_major, lengths is not None, state is not None)
    recurrence = Recurrence(spec_of_recurrence, leaves(cell), arguments.options)
    sizes = recurrence.state_sizes
    operands = Operands(
        inputs=inputs,
        sequence_length=lengths,
        initial_state=None if state is None else tuple(flat_state(state, sizes)),
        weights=tuple(weights),
    )
    outputs, final_state = run_recurrence(recurrence, operands)
    return outputs, packed_state(final_state, cell.state_size, sizes)
