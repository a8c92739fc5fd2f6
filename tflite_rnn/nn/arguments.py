"""Check and convert the arguments that the functions of this package share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.cell import Nest, Tensor
from tflite_rnn.nn.loop import LoopOptions, dimension


def check_cell(argument: str, cell: object) -> None:
    """Raise TypeError, listing what is missing, unless ``cell`` follows the cell protocol."""
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


def check_inputs_given(inputs: Nest) -> None:
    """Raise ValueError if the inputs are None or an empty nest."""
    if not tf.nest.flatten(inputs) or any(x is None for x in tf.nest.flatten(inputs)):
        raise ValueError(f"inputs must be a tensor or a non-empty nest of tensors, but saw {inputs!r}")


def check_structure(what: str, expected: Nest, seen: Nest) -> None:
    """Raise ValueError unless ``seen`` has the nesting of ``expected``.

    Tuples and lists are interchangeable, dicts are not.
    """
    if not _same_structure(expected, seen):
        raise ValueError(f"{what} must have the structure {expected!r}, but saw {seen!r}")


def _same_structure(expected: Nest, seen: Nest) -> bool:
    if _kind(expected) != _kind(seen):
        return False
    if not tf.nest.is_nested(expected):
        return True
    if isinstance(expected, Mapping):
        if expected.keys() != seen.keys():
            return False
        return all(_same_structure(inner, seen[key]) for key, inner in expected.items())
    if len(expected) != len(seen):
        return False
    return all(_same_structure(inner, other) for inner, other in zip(expected, seen, strict=True))


def _kind(nest: Nest) -> tuple[bool, bool]:
    return tf.nest.is_nested(nest), isinstance(nest, Mapping)


def integer_lengths(sequence_length: Any) -> Tensor | None:
    """Return lengths as int32 [batch]. Raises TypeError unless they are integers, ValueError unless a vector."""
    if sequence_length is None:
        return None
    lengths = tf.convert_to_tensor(sequence_length)
    if not lengths.dtype.is_integer:
        raise TypeError(f"sequence_length must hold integers, but saw {lengths.dtype.name}; cast it to int32")
    if lengths.shape.rank not in (None, 1):
        raise ValueError(f"sequence_length must be a vector of length batch_size, but saw shape {lengths.shape}")
    return tf.identity(tf.cast(lengths, tf.int32), name="sequence_length")


def checked_lengths(lengths: Tensor | None, batch: int | None, inputs: Nest, time_major: bool) -> Tensor | None:
    """Check that there is one length per row: statically if both sizes are known, else when the graph runs."""
    if lengths is None:
        return None
    known = lengths.shape[0] if lengths.shape.rank == 1 else None
    if known is not None and batch is not None:
        if known != batch:
            raise ValueError(f"Dimension 0 of sequence_length must be the batch size {batch}, but saw {known}")
        return tf.identity(lengths, name="CheckSeqLen")
    expected = tf.stack([dimension(tf.nest.flatten(inputs)[0], 1 if time_major else 0)])
    seen = tf.shape(lengths)
    message = [f"Expected shape for Tensor {lengths.name} is ", expected, " but saw shape: ", seen]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(tf.equal(expected, seen)), message)]):
        lengths = tf.identity(lengths, name="CheckSeqLen")
    lengths.set_shape([batch])
    return lengths


def batch_size(inputs: Nest, time_major: bool) -> int | None:
    """Return the batch size if it is known statically.

    Raises ValueError for an input without batch and time axes.
    """
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


def check_sequences(inputs: Nest, time_major: bool, least_rank: int) -> None:
    """Raise ValueError unless inputs have a rank and known features, and agree on time and batch."""
    flat = tf.nest.flatten(inputs)
    for x in flat:
        if x.shape.rank < least_rank:
            raise ValueError(
                f"inputs must have rank at least {least_rank}, [time, batch, features], but saw shape {x.shape}"
            )
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


def state_dtype(dtype: Any, initial_state: Nest) -> tf.DType:
    """Return ``dtype``, or else the type of the initial state. Raises ValueError if it has none, or several."""
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


def fitted_state(cell: Any, state: Nest, batch: int | None, dtype: Any) -> Nest:
    """Return the initial state as tensors in the structure of the cell's state size.

    Tuples, lists and namedtuples of the same length are interchangeable. Raises ValueError for any other
    difference in structure, and for wrong shapes.
    """
    sizes, parts = tf.nest.flatten(cell.state_size), tf.nest.flatten(state)
    if len(parts) != len(sizes):
        raise ValueError(
            f"initial_state must have {len(sizes)} tensors, as the state of the cell, but saw "
            f"{len(parts)}; give a state of the structure {cell.state_size!r}"
        )
    check_structure("initial_state", cell.state_size, state)
    tensors = [_state_tensor(part, dtype) for part in parts]
    for tensor, size in zip(tensors, sizes, strict=True):
        if isinstance(tensor, tf.TensorArray) or tensor.shape.rank == 0:
            continue  # has no batch dimension
        expected = tf.TensorShape([batch]).concatenate(size)
        if not tensor.shape.is_compatible_with(expected):
            raise ValueError(f"initial_state must have shape {expected}, but saw {tensor.shape}")
    return tf.nest.pack_sequence_as(cell.state_size, tensors)


def _state_tensor(part: Any, dtype: Any = None) -> Tensor:
    if isinstance(part, tf.TensorArray):
        return part
    # Python numbers take ``dtype``; arrays keep the type that they have.
    return tf.convert_to_tensor(part, dtype_hint=None if hasattr(part, "dtype") else dtype)


def loop_options(parallel_iterations: int | None, swap_memory: bool) -> LoopOptions:
    """Return the options of the loop. Raises AssertionError if ``parallel_iterations`` is not an integer."""
    iterations = parallel_iterations or LoopOptions().parallel_iterations
    if not isinstance(iterations, int):
        raise AssertionError(f"parallel_iterations must be int, but saw {iterations!r}")
    return LoopOptions(iterations, bool(swap_memory))


def sequence_steps(inputs: Any) -> Sequence[Nest]:
    """Return the inputs of the static functions. Raises TypeError unless a list or tuple, ValueError if empty."""
    if not isinstance(inputs, list | tuple):
        raise TypeError(f"inputs must be a sequence, a list or tuple of one element per step, but saw {inputs!r}")
    if not inputs:
        raise ValueError("inputs must not be empty: the list has one element per step")
    return inputs
