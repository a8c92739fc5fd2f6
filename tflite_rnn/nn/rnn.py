"""dynamic_rnn as in tf.nn: a recurrent network unrolled over time by a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from converter.marker import CellSpec, RecurrenceSpec
from tflite_rnn.nn.cell import Nest, Tensor, check_one_type, without_autograph
from tflite_rnn.nn.loop import LoopOptions, OutputSpec, dimension, scan
from tflite_rnn.nn.marking import (
    Operands,
    Recurrence,
    cell_weights,
    flat_state,
    leaf_state_sizes,
    packed_state,
    recurrent_cell,
    run_recurrence,
)


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
    """Run a recurrent network over a sequence.

    Args:
        cell: an `RNNCell`, or anything that looks like one.
        inputs: [batch, time, ...] if ``time_major`` is False, else [time, batch, ...], or a nest of such tensors.
        sequence_length: integers [batch]. From there on a row's outputs are zeros and its state stays as it was;
            beyond the length of the inputs it means their length, below zero it means zero.
        initial_state: of the structure of ``cell.state_size``, [batch, size] each; zeros by default.
        dtype: type of the state and of the outputs; mandatory without an ``initial_state``.
        parallel_iterations: how many steps may run at once; 32 by default. Changes no value.
        swap_memory: whether activations kept for the gradient may leave the device. Changes no value.
        time_major: the layout of inputs and outputs.
        scope: variable scope, a name or a scope object; "rnn" by default.

    Returns:
        (outputs, final state): outputs in the structure of ``cell.output_size``, [batch, time, ...] or
        [time, batch, ...], the state in that of ``cell.state_size``.

    Raises:
        TypeError: ``cell`` is not a cell, or ``sequence_length`` does not hold integers.
        ValueError: inputs, lengths, state or dtype are missing or do not fit together.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    check_cell("cell", cell)
    if not tf.nest.flatten(inputs) or any(x is None for x in tf.nest.flatten(inputs)):
        raise ValueError(f"inputs must be a tensor or a non-empty nest of tensors, but saw {inputs!r}")
    with tf.compat.v1.variable_scope(scope or "rnn") as variable_scope:
        inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        lengths = _lengths(sequence_length)
        batch = _batch_size(inputs, time_major)
        state_dtype = _state_dtype(dtype, initial_state)
        state = None if initial_state is None else _fitted_state(cell, initial_state, batch, dtype)
        lengths = _checked_lengths(lengths, batch, inputs, time_major)
        options = _loop_options(parallel_iterations, swap_memory)
        _check_sequences(inputs, time_major)
        arguments = _Arguments(cell, inputs, lengths, batch, state, state_dtype, bool(time_major), options)
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


def check_cell(argument: str, cell: object) -> None:
    """Raise TypeError unless ``cell`` has what a cell needs; the message lists what is missing."""
    missing = []
    if not hasattr(cell, "output_size"):
        missing.append("'output_size' property is missing")
    if not hasattr(cell, "state_size"):
        missing.append("'state_size' property is missing")
    if not (hasattr(cell, "zero_state") or hasattr(cell, "get_initial_state")):
        missing.append("either 'zero_state' or 'get_initial_state' method is required")
    if not callable(cell):
        missing.append("is not callable")
    if missing:
        raise TypeError(f"The argument {argument!r} ({cell!r}) is not an RNNCell: {', '.join(missing)}.")


def _lengths(sequence_length: Any) -> Tensor | None:
    if sequence_length is None:
        return None
    lengths = tf.convert_to_tensor(sequence_length, name="sequence_length")
    if not lengths.dtype.is_integer:
        raise TypeError(f"sequence_length must hold integers, but saw {lengths.dtype.name}; cast it to int32")
    if lengths.shape.rank not in (None, 1):
        raise ValueError(f"sequence_length must be a vector of length batch_size, but saw shape {lengths.shape}")
    return tf.cast(lengths, tf.int32, name="sequence_length")


def _batch_size(inputs: Nest, time_major: bool) -> int | None:
    """Return the batch size if any input knows it; ValueError if one has no batch and time, or they disagree."""
    axis = 1 if time_major else 0
    known = None
    for x in tf.nest.flatten(inputs):
        if x.shape.rank is None:
            raise ValueError("inputs must be of known rank, [time, batch, ...], but saw a tensor of unknown shape")
        if x.shape.rank < 2:
            raise ValueError(f"inputs must be of rank >= 2, [time, batch, ...], but saw shape {x.shape}")
        if known is None:
            known = x.shape[axis]
    return known


def _check_sequences(inputs: Nest, time_major: bool) -> None:
    """Check that inputs have known features, and agree on time and batch."""
    flat = tf.nest.flatten(inputs)
    for x in flat:
        if x.shape.rank < 3:
            raise ValueError(f"inputs must have rank at least 3, [time, batch, features], but saw shape {x.shape}")
        if not x.shape[2:].is_fully_defined():
            raise ValueError(
                "Input size (depth of inputs) must be accessible via shape inference, "
                f"but saw value None: inputs of shape {x.shape}"
            )
    shapes = [x.shape[:2] if time_major else x.shape[1::-1] for x in flat]
    for axis, message in (
        (0, "Time steps is not the same for all the elements in the input in a batch"),
        (1, "Batch_size is not the same for all the elements in the input"),
    ):
        sizes = {shape[axis] for shape in shapes} - {None}
        if len(sizes) > 1:
            raise ValueError(f"{message}: {sorted(sizes)}")


def _state_dtype(dtype: Any, initial_state: Nest) -> tf.DType:
    if dtype is not None:
        return tf.as_dtype(dtype)
    if initial_state is None:
        raise ValueError(
            "If there is no initial_state, you must give a dtype: argument `dtype` must be specified, "
            "usually the type of the inputs"
        )
    dtypes = {part.dtype for part in map(_state_tensor, tf.nest.flatten(initial_state))}
    if not dtypes:
        raise ValueError(f"Unable to infer dtype from an empty initial_state {initial_state!r}; give a dtype")
    if len(dtypes) > 1:
        names = ", ".join(sorted(dtype.name for dtype in dtypes))
        raise ValueError(f"initial_state has different inferred dtypes ({names}); give a dtype, or cast the state")
    return dtypes.pop()


def _state_tensor(part: Any, dtype: Any = None) -> Tensor:
    if isinstance(part, tf.TensorArray):
        return part
    return tf.convert_to_tensor(part, dtype_hint=dtype)


def _fitted_state(cell: Any, state: Nest, batch: int | None, dtype: Any) -> Nest:
    """Return the initial state as tensors in the structure of the cell's state size, having checked the shapes."""
    sizes, parts = tf.nest.flatten(cell.state_size), tf.nest.flatten(state)
    if len(parts) != len(sizes):
        raise ValueError(
            f"initial_state has {len(parts)} tensors, the state of the cell has {len(sizes)}: "
            f"give a state of the structure {cell.state_size!r}"
        )
    tensors = [_state_tensor(part, dtype) for part in parts]
    for tensor, size in zip(tensors, sizes, strict=True):
        if isinstance(tensor, tf.TensorArray) or tensor.shape.rank == 0:
            continue  # belongs to no row
        expected = tf.TensorShape([batch]).concatenate(size)
        if not tensor.shape.is_compatible_with(expected):
            raise ValueError(f"initial_state has shape {tensor.shape} where the cell needs {expected}")
    return tf.nest.pack_sequence_as(cell.state_size, tensors)


def _checked_lengths(lengths: Tensor | None, batch: int | None, inputs: Nest, time_major: bool) -> Tensor | None:
    """Check that there is one length for every row: now if both numbers are known, else when the graph runs."""
    if lengths is None:
        return None
    known = lengths.shape[0] if lengths.shape.rank == 1 else None
    if known is not None and batch is not None:
        if known != batch:
            raise ValueError(f"Dimension 0 of sequence_length must be the batch size {batch}, but saw {known}")
        return lengths
    expected = tf.stack([dimension(tf.nest.flatten(inputs)[0], 1 if time_major else 0)])
    seen = tf.shape(lengths)
    message = [f"Expected shape for Tensor {lengths.name} is ", expected, " but saw shape: ", seen]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(tf.equal(expected, seen)), message)]):
        lengths = tf.identity(lengths, name="CheckSeqLen")
    lengths.set_shape([batch])
    return lengths


def _loop_options(parallel_iterations: int | None, swap_memory: bool) -> LoopOptions:
    iterations = parallel_iterations or LoopOptions().parallel_iterations
    if not isinstance(iterations, int):
        raise AssertionError(f"parallel_iterations must be int, but saw {iterations!r}")
    return LoopOptions(iterations, bool(swap_memory))


def _swap_time_and_batch(nest: Nest) -> Nest:
    return tf.nest.map_structure(lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)]), nest)


def _plain(arguments: _Arguments) -> tuple[Nest, Nest]:
    """Run any cell by an ordinary loop in the graph of the caller."""
    cell, time_major = arguments.cell, arguments.time_major
    inputs = arguments.inputs if time_major else _swap_time_and_batch(arguments.inputs)
    flat_inputs = tf.nest.flatten(inputs)
    state = arguments.initial_state
    if state is None:
        state = _cell_state(cell, _known(arguments.batch, flat_inputs[0], 1), arguments.dtype)

    def step(xs: Sequence[Tensor], flat_state: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        output, new_state = cell(tf.nest.pack_sequence_as(inputs, xs), tf.nest.pack_sequence_as(state, flat_state))
        tf.nest.assert_same_structure(state, new_state, check_types=False)
        tf.nest.assert_same_structure(cell.output_size, output, check_types=False)
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
    check_one_type(arguments.dtype, inputs.dtype, *(tensor.dtype for tensor in [*parts, *weights]))
    sizes = leaf_state_sizes(cell)
    lengths = arguments.sequence_length
    recurrence = RecurrenceSpec(name, spec, arguments.time_major, lengths is not None, state is not None)
    outputs, final_state = run_recurrence(
        Recurrence(recurrence, sizes, arguments.options),
        Operands(inputs, lengths, None if state is None else flat_state(state, sizes), weights),
    )
    return outputs, packed_state(final_state, cell.state_size, sizes)
