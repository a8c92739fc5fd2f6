"""raw_rnn: a recurrence whose inputs, end and results a function decides at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.arguments import check_cell, check_inputs_given, check_structure, fitted_state, loop_options
from tflite_rnn.nn.cell import Nest, Tensor, without_autograph
from tflite_rnn.nn.loop import keep_shape, select_rows


@without_autograph
def raw_rnn(
    cell: Any,
    loop_fn: Callable[[Tensor, Nest, Nest, Nest], tuple[Tensor, Nest, Nest, Nest, Nest]],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Nest, Nest, Nest]:
    """Run a cell in a loop whose inputs, end and results ``loop_fn`` decides, for example a decoder.

    ``loop_fn(time, cell_output, cell_state, loop_state)`` returns ``(finished, next_input, next_cell_state,
    emit_output, next_loop_state)``. The loop it drives::

        finished, x, state, emit_structure, loop_state = loop_fn(0, None, None, None)
        while not all(finished):
            output, new_state = cell(x, state)
            ends, x, new_state, emit, loop_state = loop_fn(time + 1, output, new_state, loop_state)
            emits[time] = zeros where finished, else emit
            state = state where finished, else new_state
            finished = finished or ends

    So a finished row emits zeros and keeps its state, whatever the cell computes for it. Scalars and TensorArrays
    have no rows and always change. The loop is TensorFlow's while loop; unlike `dynamic_rnn` it is not marked for
    `tflite_rnn.convert`.

    In the first call ``cell_output``, ``cell_state`` and ``loop_state`` are None, and ``loop_fn`` returns the
    initial state as ``next_cell_state``; its ``emit_output`` is a nest of tensors of the types and of the shapes
    (without batch) of what will be emitted, or None for the structure of ``cell.output_size``; its
    ``next_loop_state`` is what starts the loop, or None for none. Later a ``next_loop_state`` of None leaves the
    loop state as it is.

    Args:
        cell: see `dynamic_rnn`.
        loop_fn: the function described above. time: int32 scalar; cell_output and cell_state: nests of
            [batch, ...] in the structures of the cell; finished: bool [batch]; next_input: nest of [batch, ...];
            loop_state: any nest of tensors and TensorArrays.
        parallel_iterations: see `dynamic_rnn`.
        swap_memory: passed on to TensorFlow's while loop, see `dynamic_rnn`; without effect under control flow v2.
        scope: variable scope, a name or a scope object; "rnn" by default.

    Returns:
        (emits, final state, final loop state): a nest of TensorArrays with an element [batch, ...] for each step
        that was run; the state in the structure of ``cell.state_size``; the last loop state, or None.

    Raises:
        TypeError: ``cell`` is not a cell, or ``loop_fn`` is not callable.
        ValueError: the first call gives no inputs, or inputs of different batch sizes, or a state that does not
            fit the cell; or what a later call returns differs in structure or shape from the first.
        AssertionError: ``parallel_iterations`` is not an integer.
    """
    check_cell("cell", cell)
    if not callable(loop_fn):
        raise TypeError(f"loop_fn must be callable, but saw {loop_fn!r}")
    options = loop_options(parallel_iterations, swap_memory)
    with tf.compat.v1.variable_scope(scope or "rnn"):
        time = tf.constant(0)
        finished, inputs, initial_state, emit_structure, loop_state = loop_fn(time, None, None, None)
        inputs, batch = _checked_inputs(inputs)
        state = fitted_state(cell, initial_state, batch, None)
        emits = _emits(cell, emit_structure, tf.nest.flatten(state)[0].dtype, batch)
        driver = _Driver(cell, loop_fn, has_loop_state=loop_state is not None)
        start = _Loop(
            time,
            tf.convert_to_tensor(finished),
            inputs,
            emits,
            state,
            loop_state if driver.has_loop_state else tf.constant(0),
        )
        end = _Loop(
            *tf.while_loop(
                lambda _, finished, *__: tf.logical_not(tf.reduce_all(finished)),
                lambda *loop: driver.advance(_Loop(*loop)).variables(),
                start.variables(),
                parallel_iterations=options.parallel_iterations,
                swap_memory=options.swap_memory,
            )
        )
    return end.emits, end.state, end.loop_state if driver.has_loop_state else None


@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    """What the loop carries from step to step."""

    time: Tensor
    finished: Tensor
    inputs: Nest
    emits: Nest
    state: Nest
    loop_state: Nest

    def variables(self) -> tuple[Any, ...]:
        return (self.time, self.finished, self.inputs, self.emits, self.state, self.loop_state)


@dataclass(frozen=True, slots=True, eq=False)
class _Driver:
    """The cell and the function that drives it."""

    cell: Any
    loop_fn: Callable[..., Any]
    has_loop_state: bool

    def advance(self, loop: _Loop) -> _Loop:
        """Run one step of the cell and one call of ``loop_fn``."""
        output, new_state = self.cell(loop.inputs, loop.state)
        check_structure("the new state of the cell", loop.state, new_state)
        check_structure("the output of the cell", self.cell.output_size, output)
        ends, inputs, new_state, emit, loop_state = self.loop_fn(
            loop.time + 1, output, new_state, loop.loop_state if self.has_loop_state else None
        )
        check_structure("next_cell_state of loop_fn", loop.state, new_state)
        check_structure("next_input of loop_fn", loop.inputs, inputs)
        check_structure("emit_output of loop_fn", loop.emits, emit)
        if loop_state is not None and not self.has_loop_state:
            raise ValueError("next_loop_state of loop_fn must stay None, as it was in the first call")
        emit = tf.nest.map_structure(tf.convert_to_tensor, emit)
        return _Loop(
            loop.time + 1,
            tf.logical_or(loop.finished, ends),
            _map(lambda old, new: keep_shape(old, tf.convert_to_tensor(new)), loop.inputs, inputs),
            _map(lambda sink, part: self._write(sink, loop, part), loop.emits, emit),
            _map(lambda old, new: keep_shape(old, select_rows(loop.finished, old, new)), loop.state, new_state),
            loop.loop_state if loop_state is None else loop_state,
        )

    def _write(self, sink: tf.TensorArray, loop: _Loop, part: Tensor) -> tf.TensorArray:
        return sink.write(loop.time, select_rows(loop.finished, tf.zeros_like(part), part))


def _map(function: Callable[[Any, Any], Any], old: Nest, new: Nest) -> Nest:
    """Map over two nests of the same structure (tuples and lists are alike) into the structure of the first."""
    pairs = zip(tf.nest.flatten(old), tf.nest.flatten(new), strict=True)
    return tf.nest.pack_sequence_as(old, [function(*pair) for pair in pairs])


def _checked_inputs(inputs: Nest) -> tuple[Nest, int | None]:
    """Return the first inputs [batch, ...] as tensors, and the batch size if it is known."""
    check_inputs_given(inputs)
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    flat = tf.nest.flatten(inputs)
    if any(not x.shape.rank for x in flat):
        raise ValueError(f"next_input of loop_fn must be of known rank, [batch, ...], but saw {inputs!r}")
    sizes = {x.shape[0] for x in flat} - {None}
    if len(sizes) > 1:
        raise ValueError(f"next_input of loop_fn must be of one batch size, but saw {sorted(sizes)}")
    return inputs, sizes.pop() if sizes else None


def _emits(cell: Any, structure: Nest, state_dtype: tf.DType, batch: int | None) -> Nest:
    """Return the TensorArrays that take what is emitted, of elements [batch, ...]."""
    if structure is None:
        structure = cell.output_size
        features = [(tf.TensorShape([]).concatenate(size), state_dtype) for size in tf.nest.flatten(structure)]
    else:
        tensors = [tf.convert_to_tensor(part) for part in tf.nest.flatten(structure)]
        features = [(tensor.shape, tensor.dtype) for tensor in tensors]
    sinks = [
        tf.TensorArray(dtype, size=0, dynamic_size=True, element_shape=tf.TensorShape([batch]).concatenate(shape))
        for shape, dtype in features
    ]
    return tf.nest.pack_sequence_as(structure, sinks)
