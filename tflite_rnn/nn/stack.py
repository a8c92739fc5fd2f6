"""Several cells, one on top of the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflite_rnn.nn.cell import Nest, RNNCell, Tensor, zero_state


class MultiRNNCell(RNNCell):
    """A stack of cells: each is fed the output of the one before; the output is that of the last.

    Variables: those of the cells, under ``multi_rnn_cell/cell_0``, ``multi_rnn_cell/cell_1``, ...
    State: a tuple of the cells' states.

    Args:
        cells: list or tuple of cells, the first being nearest to the inputs.
        state_is_tuple: whether the state is a tuple, or all states side by side in one tensor.

    Raises:
        TypeError: ``cells`` is neither a list nor a tuple.
        ValueError: ``cells`` is empty, or a cell has a tuple state and ``state_is_tuple`` is False.
    """

    def __init__(self, cells: Sequence[Any], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, list | tuple):
            raise TypeError(f"cells must be a list or tuple, but saw: {cells!r}")
        if not cells:
            raise ValueError("Must specify at least one cell for MultiRNNCell.")
        if len({id(cell) for cell in cells}) < len(cells):
            warnings.warn(
                "the same cell object is used in several layers of a MultiRNNCell: they share their weights",
                stacklevel=2,
            )
        if not state_is_tuple and any(tf.nest.is_nested(cell.state_size) for cell in cells):
            raise ValueError(
                "Some cells return tuples of states, but the flag state_is_tuple is not set: "
                f"{[cell.state_size for cell in cells]}"
            )
        self.cells = tuple(cells)
        self.state_is_tuple = state_is_tuple

    @property
    def state_size(self) -> Nest:
        """Tuple of the cells' state sizes, or their sum if the state is not a tuple."""
        sizes = tuple(cell.state_size for cell in self.cells)
        return sizes if self.state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Nest:
        """Output size of the last cell."""
        return self.cells[-1].output_size

    def zero_state(self, batch_size: int | Tensor, dtype: Any) -> Nest:
        """Return a tuple of the cells' own zero states (one tensor if the state is not a tuple)."""
        if not self.state_is_tuple:
            return super().zero_state(batch_size, dtype)
        return tuple(zero_state(cell, batch_size, dtype) for cell in self.cells)

    def build(self, inputs_shape: Nest) -> None:
        """Create the variables of the cells; a cell of a foreign class creates its own in its first step."""
        inputs = tf.nest.map_structure(lambda shape: tf.TensorSpec(shape, self.dtype), inputs_shape)
        for index, cell in enumerate(self.cells):
            if not isinstance(cell, RNNCell):
                return
            with tf.compat.v1.variable_scope(f"cell_{index}"):
                cell.ensure_built(inputs)
            inputs = tf.nest.map_structure(self._output_spec, cell.output_size)

    def _output_spec(self, size: Any) -> tf.TensorSpec:
        return tf.TensorSpec(tf.TensorShape([None]).concatenate(size), self.dtype)

    def call(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Compute one step of every cell, in order."""
        new_states = []
        for index, (cell, part) in enumerate(zip(self.cells, self._parts(state), strict=True)):
            with tf.compat.v1.variable_scope(f"cell_{index}"):
                inputs, new_state = cell(inputs, part)
            new_states.append(new_state)
        return inputs, tuple(new_states) if self.state_is_tuple else tf.concat(new_states, axis=1)

    def _parts(self, state: Nest) -> Sequence[Nest]:
        if not self.state_is_tuple:
            parts: Sequence[Nest] = tf.split(state, [cell.state_size for cell in self.cells], axis=1)
            return parts
        if not tf.nest.is_nested(state) or len(state) != len(self.cells):
            raise ValueError(f"Expected state to be a tuple of length {len(self.cells)}, but received: {state}")
        return tuple(state)
