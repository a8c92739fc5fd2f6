"""Cells with named weights whose step is a pure function: those that can be described to the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import tensorflow as tf

from tflite_rnn.nn.arguments import check_structure
from tflite_rnn.nn.cell import Nest, RNNCell, Tensor, as_tensor, check_inputs, check_one_type

FlatState: TypeAlias = tuple[Tensor, ...]


class Step(Protocol):
    """One step of a cell as a pure function; steps that compute the same are equal and hash alike."""

    def __call__(self, x: Tensor, state: FlatState, weights: Mapping[str, Tensor]) -> tuple[Tensor, FlatState]:
        """Compute one step: x [batch, depth], flat state [batch, n] each -> (output, new flat state)."""


class LeafCell(RNNCell):
    """A cell that is not made of other cells: its weights have names, its step is a `Step`.

    It has an attribute for every name in ``weight_names``: a variable, or the parts of a partitioned one.
    """

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Depth of every tensor of the flat state, also where ``state_size`` has them side by side."""
        raise NotImplementedError(f"{type(self).__name__} does not define state_sizes")

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights, in the order in which the compiler receives them."""
        raise NotImplementedError(f"{type(self).__name__} does not define weight_names")

    def step(self) -> Step:
        """Return the cell's step."""
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return the values of the weights by the names that ``step`` uses."""
        return {name: as_tensor(getattr(self, name)) for name in self.weight_names}

    def check_types(self, inputs: Any, *others: Any) -> None:
        """Raise ValueError if the types of inputs, weights and state (or ``dtype``) differ."""
        check_one_type(self.dtype, inputs, *others)

    def call(self, inputs: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        """Compute one step: inputs [batch, depth] and state -> (output [batch, output_size], new state).

        Raises ValueError if inputs or state have the wrong type or shape.
        """
        check_structure("state", self.state_size, state)
        parts = [tf.convert_to_tensor(part) for part in tf.nest.flatten(state)]
        check_inputs(inputs.shape, inputs.dtype)
        self.check_types(inputs.dtype, *(part.dtype for part in parts))
        output, new_state = self.step()(inputs, flat_state(parts, self.state_sizes), self.weights_by_name())
        return output, packed_state(new_state, self.state_size, self.state_sizes)


def flat_state(state: Nest, sizes: Sequence[int]) -> FlatState:
    """Return a state as tensors of these depths; those kept side by side (state_is_tuple=False) are split."""
    remaining = list(sizes)
    flat: list[Tensor] = []
    for tensor in tf.nest.flatten(state):
        group = _take(remaining, tensor.shape[1])
        flat += [tensor] if len(group) == 1 else tf.split(tensor, group, axis=1)
    return tuple(flat)


def packed_state(flat: Sequence[Tensor], state_size: Nest, sizes: Sequence[int]) -> Nest:
    """Return a flat state in the structure of a cell's ``state_size``: the inverse of `flat_state`."""
    remaining_sizes, remaining = list(sizes), list(flat)
    packed = []
    for width in tf.nest.flatten(state_size):
        group = [remaining.pop(0) for _ in _take(remaining_sizes, width)]
        packed.append(group[0] if len(group) == 1 else tf.concat(group, axis=1))
    return tf.nest.pack_sequence_as(state_size, packed)


def _take(sizes: list[int], width: int | None) -> list[int]:
    """Remove from the front of ``sizes`` those that add up to ``width`` (None: one of them), and return them."""
    taken = [sizes.pop(0)]
    while width is not None and sum(taken) < width and sizes:
        taken.append(sizes.pop(0))
    return taken
