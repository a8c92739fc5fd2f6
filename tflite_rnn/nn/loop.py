"""The one loop over time behind every recurrence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import tensorflow as tf

from tflite_rnn.nn.cell import Tensor

Tensors: TypeAlias = Sequence[Tensor]
Step: TypeAlias = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How the loop runs. Neither option changes a value; what swapping means is up to the implementation."""

    parallel_iterations: int = 32
    swap_memory: bool = False


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Static shape [batch, ...] of one output of a step, and its type."""

    shape: tf.TensorShape
    dtype: tf.DType


def dimension(tensor: Tensor, axis: int) -> int | Tensor:
    """Return the size of one axis: a number if it is known, else a scalar tensor."""
    size = tensor.shape[axis]
    return int(size) if size is not None else tf.shape(tensor)[axis]


def scan(
    step: Step,
    inputs: Tensors,
    state: Tensors,
    *,
    output_specs: Sequence[OutputSpec],
    sequence_length: Tensor | None,
    options: LoopOptions,
) -> tuple[Tensors, Tensors]:
    """Run ``step(inputs_t, state) -> (outputs_t, new_state)`` over the leading axis of ``inputs``.

    Everything is flat: inputs [T, B, ...], state [B, ...], result (outputs [T, B, ...], final state).

    With ``sequence_length`` [B], row b's outputs from step sequence_length[b] on are zeros and its state is kept.
    Both are selected, so what the step computes for the padding has no effect. Scalars and TensorArrays in the
    state have no rows and always change. The loop ends with the longest row, but runs at least once if T > 0.
    """
    steps = dimension(inputs[0], 0)
    sources = [_source(x, steps) for x in inputs]
    reserve = _reserve(steps, output_specs)
    batch = dimension(inputs[0], 1)
    sinks = [_sink(spec, steps, batch, reserve) for spec in output_specs]

    def body(time: Tensor, state: Tensors, sinks: Sequence[tf.TensorArray]) -> tuple[Tensor, Tensors, Any]:
        outputs, new_state = step([source.read(time) for source in sources], state)
        if sequence_length is not None:
            finished = time >= sequence_length
            outputs = [select_rows(finished, tf.zeros_like(output), output) for output in outputs]
            new_state = [select_rows(finished, old, new) for old, new in zip(state, new_state, strict=True)]
        new_state = [keep_shape(old, new) for old, new in zip(state, new_state, strict=True)]
        return (
            time + 1,
            new_state,
            [sink.write(time, output) for sink, output in zip(sinks, outputs, strict=True)],
        )

    bound = _bound(steps, sequence_length)
    _, state, sinks = tf.while_loop(
        lambda time, *_: time < bound,
        body,
        (tf.constant(0), list(state), sinks),
        parallel_iterations=options.parallel_iterations,
        maximum_iterations=steps,  # lets the gradient allocate its memory, which XLA requires
        swap_memory=options.swap_memory,
    )
    if _collects_in_lists():
        return [_stacked(sink, spec, steps, batch) for sink, spec in zip(sinks, output_specs, strict=True)], state
    outputs = [sink.stack() for sink in sinks]
    return [output[:steps] for output in outputs] if reserve else outputs, state


def recomputed(function: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """Return ``function`` with only its arguments kept for the gradient: the backward pass runs it again.

    It must be a pure function from flat tensors to flat tensors: no gradient reaches what it closes over, and
    random numbers would be drawn again.
    """
    return cast(Callable[..., Tensors], tf.recompute_grad(function))


def _bound(steps: int | Tensor, sequence_length: Tensor | None) -> int | Tensor:
    if sequence_length is None:
        return steps
    return tf.minimum(steps, tf.maximum(1, tf.reduce_max(sequence_length)))


def _source(x: Tensor, steps: int | Tensor) -> tf.TensorArray:
    return tf.TensorArray(x.dtype, size=steps, element_shape=x.shape[1:]).unstack(x)


def _reserve(steps: int | Tensor, specs: Sequence[OutputSpec]) -> bool:
    """Return whether the outputs need one element more than there are steps.

    A TensorArray that is never written (T == 0) can only be stacked if its element shape is known. Where the batch
    is unknown, one extra element of zeros provides it and is cut off afterwards. A TensorList can be given the
    shape instead (see `_stacked`).
    """
    if _collects_in_lists() or (isinstance(steps, int) and steps > 0):
        return False
    return any(not spec.shape.is_fully_defined() for spec in specs) and all(
        spec.shape[1:].is_fully_defined() for spec in specs
    )


def _collects_in_lists() -> bool:
    """Return whether TensorArrays are TensorLists here: in graphs, under control flow v2."""
    if tf.executing_eagerly():
        return False
    return bool(tf.compat.v1.get_default_graph().building_function or tf.compat.v1.control_flow_v2_enabled())


def _stacked(sink: tf.TensorArray, spec: OutputSpec, steps: int | Tensor, batch: int | Tensor) -> Tensor:
    """Stack a TensorArray that is a TensorList: the shape of its elements may be given at run time."""
    if not spec.shape[1:].is_fully_defined():
        return sink.stack()
    known = isinstance(steps, int)
    stacked = tf.raw_ops.TensorListStack(
        input_handle=sink.flow,
        element_shape=tf.stack([batch, *spec.shape[1:]]),
        element_dtype=spec.dtype,
        num_elements=steps if known else -1,  # set_shape is lost when the graph is saved
    )
    stacked.set_shape([steps if known else None, *spec.shape])
    return stacked


def _sink(spec: OutputSpec, steps: int | Tensor, batch: int | Tensor, reserve: bool) -> tf.TensorArray:
    size = steps + 1 if reserve else steps
    sink = tf.TensorArray(spec.dtype, size=size, element_shape=spec.shape)
    return sink.write(steps, tf.zeros([batch, *spec.shape[1:]], spec.dtype)) if reserve else sink


def select_rows(finished: Tensor, held: Tensor, new: Tensor) -> Tensor:
    """Choose ``held`` in the rows that are finished [B], ``new`` [B, ...] in the others."""
    if isinstance(new, tf.TensorArray) or new.shape.rank == 0:
        return new
    axes = [1] * (new.shape.rank - 1)
    return tf.where(tf.reshape(finished, [-1, *axes]), held, new)


def keep_shape(old: Tensor, new: Tensor) -> Tensor:
    """Set the known dimensions of the old state on the new one. Raises ValueError if the two are incompatible."""
    if not isinstance(new, tf.TensorArray):
        new.set_shape(old.shape)
    return new
