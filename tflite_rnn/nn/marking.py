"""Recurrences the compiler understands: written down for it, and run as one marked function.

`recurrent_cell` says what a cell is in the compiler's terms, or None: then the loop is left to TensorFlow.
`run_recurrence` runs a recurrence as one call of a function that carries its `RecurrenceSpec`; the function's
body, an ordinary loop, is what trains and what the converted model is measured against.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import tensorflow as tf

from converter.marker import Attribute, CellSpec, RecurrenceSpec
from tflite_rnn.nn.activations import ACTIVATIONS, activation_name
from tflite_rnn.nn.basic_rnn import BasicRNNCell, BasicRnnStep
from tflite_rnn.nn.cell import Tensor
from tflite_rnn.nn.loop import LoopOptions, OutputSpec, dimension, scan
from tflite_rnn.nn.lstm import LSTMCell, LstmStep
from tflite_rnn.nn.stack import MultiRNNCell

StateSizes: TypeAlias = tuple[tuple[int, ...], ...]


def recurrent_cell(cell: object) -> CellSpec | None:
    """Return what ``cell`` is in the compiler's terms, or None if they cannot express it.

    Only the very classes of this package count: a subclass may compute something else.
    """
    if type(cell) is BasicRNNCell:
        return _basic_rnn(cell)
    if type(cell) is LSTMCell:
        return _lstm(cell)
    if type(cell) is MultiRNNCell:
        return _stack(cell)
    return None


def cell_weights(cell: Any) -> tuple[Tensor, ...]:
    """Return the weights of a cell that has a `CellSpec`, of every leaf in order, in the order of its spec."""
    if isinstance(cell, MultiRNNCell):
        return tuple(weight for inner in cell.cells for weight in cell_weights(inner))
    return tuple(cell.weights_by_name().values())


def leaf_state_sizes(cell: Any) -> StateSizes:
    """Return the depth of every state tensor of every leaf of a cell that has a `CellSpec`."""
    if isinstance(cell, MultiRNNCell):
        return tuple(sizes for inner in cell.cells for sizes in leaf_state_sizes(inner))
    return ((cell.num_units, cell.output_size),) if isinstance(cell, LSTMCell) else ((cell.num_units,),)


def flat_state(state: Any, leaf_sizes: StateSizes) -> tuple[Tensor, ...]:
    """Return a cell's state flat; what it keeps side by side in one tensor (state_is_tuple=False) is split."""
    sizes = [size for leaf in leaf_sizes for size in leaf]
    flat: list[Tensor] = []
    for tensor in tf.nest.flatten(state):
        group = _take(sizes, tensor.shape[1])
        flat += [tensor] if len(group) == 1 else tf.split(tensor, group, axis=1)
    return tuple(flat)


def packed_state(flat: Sequence[Tensor], state_size: Any, leaf_sizes: StateSizes) -> Any:
    """Return a flat state in the structure of the cell's ``state_size``: the inverse of `flat_state`."""
    sizes = [size for leaf in leaf_sizes for size in leaf]
    remaining = list(flat)
    packed = []
    for width in tf.nest.flatten(state_size):
        group = [remaining.pop(0) for _ in _take(sizes, width)]
        packed.append(group[0] if len(group) == 1 else tf.concat(group, axis=1))
    return tf.nest.pack_sequence_as(state_size, packed)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a marked function computes: the specification it carries, and what the loop needs besides."""

    spec: RecurrenceSpec
    leaf_sizes: StateSizes
    options: LoopOptions


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """Operands of a recurrence: inputs [T, B, D] or [B, T, D], lengths [B] int32, flat state [B, n], weights."""

    inputs: Tensor
    sequence_length: Tensor | None
    initial_state: Sequence[Tensor] | None
    weights: Sequence[Tensor]

    def flat(self) -> list[Tensor]:
        """Return the operands in the order of `converter.marker`."""
        lengths = [] if self.sequence_length is None else [self.sequence_length]
        return [self.inputs, *lengths, *(self.initial_state or ()), *self.weights]


def run_recurrence(recurrence: Recurrence, operands: Operands) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a recurrence as one marked call; returns (outputs, flat final state), of the best known shapes."""
    if tf.executing_eagerly():
        function = _eager_function(recurrence)
    else:
        # One function for each call site, so that a graph never depends on what else was traced.
        function = _marked_function(recurrence, reduce_retracing=False)
    outputs, *state = function(*operands.flat())
    inputs, sizes = operands.inputs, recurrence.leaf_sizes
    outputs.set_shape([*inputs.shape[:2], sizes[-1][-1]])
    batch = inputs.shape[1 if recurrence.spec.time_major else 0]
    for part, size in zip(state, (size for leaf in sizes for size in leaf), strict=True):
        part.set_shape([batch, size])
    return outputs, tuple(state)


def _basic_rnn(cell: BasicRNNCell) -> CellSpec | None:
    activation = activation_name(cell.activation)
    if activation is None:
        return None
    attributes: dict[str, Attribute] = {"units": cell.num_units, "activation": activation}
    return CellSpec("basic_rnn", cell.name, tuple(attributes.items()), ("kernel", "bias"))


def _lstm(cell: LSTMCell) -> CellSpec | None:
    activation = activation_name(cell.activation)
    forget_bias = _number(cell.forget_bias)
    proj_clip = cell.proj_clip if cell.num_proj is not None else None  # means nothing without a projection
    if activation is None or forget_bias is None or not (_bound(cell.cell_clip) and _bound(proj_clip)):
        return None
    attributes: dict[str, Attribute] = {
        "units": cell.num_units,
        "activation": activation,
        "forget_bias": forget_bias,
        "cell_clip": _number(cell.cell_clip),
        "proj_clip": _number(proj_clip),
    }
    return CellSpec("lstm", cell.name, tuple(attributes.items()), cell.weight_names)


def _stack(cell: MultiRNNCell) -> CellSpec | None:
    cells = [spec for inner in cell.cells if (spec := recurrent_cell(inner)) is not None]
    return CellSpec("stack", cell.name, cells=tuple(cells)) if len(cells) == len(cell.cells) else None


def _number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else, a tensor for instance."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _bound(clip: Any) -> bool:
    number = _number(clip)
    return clip is None or (number is not None and number >= 0.0)


def _take(sizes: list[int], width: int) -> list[int]:
    """Remove from the front of ``sizes`` those that add up to ``width``, and return them."""
    taken = [sizes.pop(0)]
    while sum(taken) < width:
        taken.append(sizes.pop(0))
    return taken


def _leaf_step(leaf: CellSpec) -> Callable[..., Any]:
    activation = ACTIVATIONS[leaf.attribute("activation")]
    if leaf.kind == "basic_rnn":
        return BasicRnnStep(activation)
    clips = leaf.attribute("cell_clip"), leaf.attribute("proj_clip")
    return LstmStep(activation, leaf.attribute("forget_bias"), *clips)


def _step(
    recurrence: Recurrence, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run one step of the leaf cells, each fed the output of the one before; state and weights are flat."""
    remaining_weights, remaining_state, new_state = iter(weights), iter(state), []
    for leaf, sizes in zip(recurrence.spec.cell.leaves(), recurrence.leaf_sizes, strict=True):
        named = {name: next(remaining_weights) for name in leaf.weights}
        part = tuple(next(remaining_state) for _ in sizes)
        x, new_part = _leaf_step(leaf)(x, part, named)
        new_state.extend(new_part)
    return x, new_state


def _operands(recurrence: Recurrence, flat: Sequence[Tensor]) -> Operands:
    inputs, *rest = flat
    lengths = rest.pop(0) if recurrence.spec.sequence_length else None
    if not recurrence.spec.initial_state:
        return Operands(inputs, lengths, None, rest)
    count = sum(map(len, recurrence.leaf_sizes))
    return Operands(inputs, lengths, rest[:count], rest[count:])


def _recur(recurrence: Recurrence, operands: Operands) -> list[Tensor]:
    time_major = recurrence.spec.time_major
    inputs = operands.inputs if time_major else tf.transpose(operands.inputs, [1, 0, 2])
    if operands.sequence_length is not None:
        inputs = _blank_padding(inputs, operands.sequence_length)
    state = operands.initial_state or _zero_state(recurrence, inputs)

    def step(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        output, new_state = _step(recurrence, operands.weights, xs[0], state)
        return [output], new_state

    output_spec = OutputSpec(tf.TensorShape([inputs.shape[1], recurrence.leaf_sizes[-1][-1]]), inputs.dtype)
    (outputs,), final_state = scan(
        step,
        [inputs],
        state,
        output_specs=[output_spec],
        sequence_length=operands.sequence_length,
        options=recurrence.options,
    )
    return [outputs if time_major else tf.transpose(outputs, [1, 0, 2]), *final_state]


def _zero_state(recurrence: Recurrence, inputs: Tensor) -> list[Tensor]:
    batch = dimension(inputs, 1)
    return [tf.zeros([batch, size], inputs.dtype) for leaf in recurrence.leaf_sizes for size in leaf]


def _blank_padding(inputs: Tensor, sequence_length: Tensor) -> Tensor:
    """Put zeros where a row [T, B, D] has ended.

    No output shows it, these steps being masked; but the gradient of a masked step is zero times a derivative,
    which is NaN wherever the padding makes that derivative infinite or NaN.
    """
    valid = tf.range(dimension(inputs, 0))[:, tf.newaxis] < sequence_length
    return tf.where(valid[:, :, tf.newaxis], inputs, tf.zeros([], inputs.dtype))


def _marked_function(recurrence: Recurrence, reduce_retracing: bool) -> Callable[..., list[Tensor]]:
    def run(*operands: Tensor) -> list[Tensor]:
        return _recur(recurrence, _operands(recurrence, operands))

    function: Callable[..., list[Tensor]] = tf.function(
        run,
        autograph=False,
        experimental_implements=recurrence.spec.implements(),
        reduce_retracing=reduce_retracing,
    )
    return function


@functools.lru_cache(maxsize=128)
def _eager_function(recurrence: Recurrence) -> Callable[..., list[Tensor]]:
    """Return the function for eager calls: the same one every time, so that a training loop traces once."""
    return _marked_function(recurrence, reduce_retracing=True)
