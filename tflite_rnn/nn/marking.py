"""Run recurrences that the compiler understands as one marked function each.

`run_recurrence` runs a recurrence as one call of a function that carries its `RecurrenceSpec`; the function's
body is an ordinary loop, which trains and is the reference of the converted model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from converter.marker import CellSpec, Operands, RecurrenceSpec
from tflite_rnn.nn.cell import Tensor
from tflite_rnn.nn.cell_specs import Leaf
from tflite_rnn.nn.loop import LoopOptions, OutputSpec, dimension, recomputed, scan
from tflite_rnn.nn.wrappers import add_inputs


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a marked function computes: its specification, and what else the loop needs."""

    spec: RecurrenceSpec
    leaves: tuple[Leaf, ...]
    options: LoopOptions

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of every tensor of the flat state."""
        return tuple(size for leaf in self.leaves for size in leaf.state_sizes)

    @property
    def output_size(self) -> int:
        """Depth of the outputs: the last tensor of a leaf's state is its output."""
        return self.state_sizes[-1]


def run_recurrence(recurrence: Recurrence, operands: Operands[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a recurrence as one marked call; returns (outputs, flat final state), of the best known shapes."""
    if tf.executing_eagerly():
        function = _eager_function(recurrence)
    else:
        # One function per call site, so that a graph does not depend on what else was traced.
        function = _marked_function(recurrence, reduce_retracing=False)
    outputs, *state = function(*recurrence.spec.pack(operands))
    inputs = operands.inputs
    outputs.set_shape([*inputs.shape[:2], recurrence.output_size])
    batch = inputs.shape[1 if recurrence.spec.time_major else 0]
    for part, size in zip(state, recurrence.state_sizes, strict=True):
        part.set_shape([batch, size])
    return outputs, tuple(state)


def _step(
    recurrence: Recurrence, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run one step of the leaf cells; state and weights are flat."""
    remaining_leaves, remaining_weights, remaining_state = iter(recurrence.leaves), iter(weights), iter(state)
    new_state: list[Tensor] = []

    def run(cell: CellSpec, x: Tensor) -> Tensor:
        for inner in cell.cells:
            output = run(inner, x)
            x = add_inputs(x, output) if cell.kind == "residual" else output
        return x if cell.cells else run_leaf(cell, x)

    def run_leaf(cell: CellSpec, x: Tensor) -> Tensor:
        leaf = next(remaining_leaves)
        named = {name: next(remaining_weights) for name in cell.weights}
        part = tuple(next(remaining_state) for _ in leaf.state_sizes)
        with _devices(leaf.devices):
            output, new_part = leaf.step(x, part, named)
        new_state.extend(new_part)
        return output

    return run(recurrence.spec.cell, x), new_state


@contextmanager
def _devices(devices: Sequence[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for device in devices:
            stack.enter_context(tf.compat.v1.device(device))
        yield


def _recur(recurrence: Recurrence, operands: Operands[Tensor]) -> list[Tensor]:
    time_major = recurrence.spec.time_major
    inputs = operands.inputs if time_major else tf.transpose(operands.inputs, [1, 0, 2])
    if operands.sequence_length is not None:
        inputs = _blank_padding(inputs, operands.sequence_length)
    state = operands.initial_state or _zero_state(recurrence, inputs)

    def advance(*flat: Tensor) -> list[Tensor]:
        x, *rest = flat
        count = len(operands.weights)
        output, new_state = _step(recurrence, rest[:count], x, rest[count:])
        return [output, *new_state]

    advance_once = recomputed(advance) if recurrence.options.swap_memory else advance

    def step(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        output, *new_state = advance_once(*xs, *operands.weights, *state)
        return [output], new_state

    output_spec = OutputSpec(tf.TensorShape([inputs.shape[1], recurrence.output_size]), inputs.dtype)
    (outputs,), final_state = scan(
        step,
        [inputs],
        state,
        output_specs=[output_spec],
        sequence_length=operands.sequence_length,
        options=recurrence.options,
    )
    # Set the shapes again from the input's: in a graph that is specialised to known sizes, results have them too.
    time, batch = dimension(inputs, 0), dimension(inputs, 1)
    outputs = tf.reshape(outputs, [time, batch, recurrence.output_size])
    sizes = zip(final_state, recurrence.state_sizes, strict=True)
    final_state = [tf.reshape(part, [batch, size]) for part, size in sizes]
    return [outputs if time_major else tf.transpose(outputs, [1, 0, 2]), *final_state]


def _zero_state(recurrence: Recurrence, inputs: Tensor) -> list[Tensor]:
    batch = dimension(inputs, 1)
    return [tf.zeros([batch, size], inputs.dtype) for size in recurrence.state_sizes]


def _blank_padding(inputs: Tensor, sequence_length: Tensor) -> Tensor:
    """Put zeros where a row [T, B, D] has ended.

    No output depends on it, because these steps are masked. But the gradient of a masked step is zero times a
    derivative, and NaN where the padding makes that derivative infinite or NaN.
    """
    valid = tf.range(dimension(inputs, 0))[:, tf.newaxis] < sequence_length
    return tf.where(valid[:, :, tf.newaxis], inputs, tf.zeros([], inputs.dtype))


def _marked_function(recurrence: Recurrence, reduce_retracing: bool) -> Callable[..., list[Tensor]]:
    def run(*operands: Tensor) -> list[Tensor]:
        return _recur(recurrence, recurrence.spec.unpack(operands))

    function: Callable[..., list[Tensor]] = tf.function(
        run,
        autograph=False,
        experimental_implements=recurrence.spec.implements(),
        reduce_retracing=reduce_retracing,
    )
    return function


@functools.lru_cache(maxsize=128)
def _eager_function(recurrence: Recurrence) -> Callable[..., list[Tensor]]:
    """Return the function for eager calls. It is cached, so that a training loop traces once."""
    return _marked_function(recurrence, reduce_retracing=True)
