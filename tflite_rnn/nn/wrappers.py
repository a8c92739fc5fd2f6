"""Cells around a cell: dropout, a residual connection, a device. They add no variable scope and no variables."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from tflite_rnn.nn.arguments import check_cell
from tflite_rnn.nn.cell import Nest, RNNCell, Tensor, without_autograph, zero_state
from tflite_rnn.nn.keeping import is_kept, keep_probability, masked, masked_by
from tflite_rnn.nn.lstm import LSTMStateTuple

StateFilter: TypeAlias = Callable[[Nest], Nest]
ResidualFunction: TypeAlias = Callable[[Nest, Nest], Nest]


class CellWrapper(RNNCell):
    """A cell that runs another cell; its sizes, states and variables are those of that cell.

    TypeError if ``cell`` is not a cell.
    """

    def __init__(self, cell: Any, dtype: Any = None) -> None:
        check_cell("cell", cell)
        super().__init__(dtype=dtype)
        self.cell = cell

    @property
    def wrapped_cell(self) -> Any:
        """The cell inside."""
        return self.cell

    @property
    def state_size(self) -> Nest:
        """State size of the cell inside."""
        return self.cell.state_size

    @property
    def output_size(self) -> Nest:
        """Output size of the cell inside."""
        return self.cell.output_size

    def zero_state(self, batch_size: int | Tensor, dtype: Any) -> Nest:
        """Return the zero state of the cell inside."""
        return zero_state(self.cell, batch_size, dtype)

    def ensure_built(self, inputs: Nest) -> None:
        """Create the variables of the cell inside; one of a foreign class creates its own in its first step."""
        if isinstance(self.cell, RNNCell):
            self.cell.ensure_built(inputs)

    @without_autograph
    def __call__(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Run one step: see ``call``."""
        return self.call(tf.nest.map_structure(tf.convert_to_tensor, inputs), state)


class DropoutWrapper(CellWrapper):
    """A cell whose inputs, state and outputs are dropped out (Zaremba 2014; variational: Gal 2016).

    Applied in this order: to the inputs, before the cell; to the new state; to the outputs. An element is kept
    with its probability p, as x / p, and becomes 0 otherwise. A probability that is known to be 1 (a number or a
    constant) adds no operations; if all three are 1, the compiler treats the wrapper as the cell inside. A
    placeholder or a variable always adds operations, whatever its value.

    As ``tf.nn.rnn_cell.DropoutWrapper``; seeds of the operations are derived from ``seed`` in the same way.

    Args:
        cell: the cell to run.
        input_keep_prob: probability to keep an element of the inputs, a number or a tensor.
        output_keep_prob: the same of the outputs.
        state_keep_prob: the same of the new state.
        variational_recurrent: use one mask for all steps and all rows, drawn when the wrapper is made: in a
            TensorFlow 1 graph anew in every run, in eager mode once.
        input_size: depths of the inputs, in their structure; needed for a variational mask of the inputs.
        dtype: type of inputs, state and outputs; needed for variational masks.
        seed: seed of the masks.
        dropout_state_filter_visitor: function of the state, and of every nested part of it, that tells what
            ``state_keep_prob`` applies to: True for (further parts of) this part, False for none of it, or one
            of them for each of its parts. By default everything but TensorArrays and the c of an `LSTMStateTuple`.

    Raises:
        TypeError: ``cell`` is not a cell, or the filter is not callable.
        ValueError: a probability is not between 0 and 1, or a variational mask lacks ``dtype`` or ``input_size``.
    """

    def __init__(
        self,
        cell: Any,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Nest = None,
        dtype: Any = None,
        seed: int | None = None,
        dropout_state_filter_visitor: StateFilter | None = None,
    ) -> None:
        super().__init__(cell, dtype=dtype)
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise TypeError(
                f"dropout_state_filter_visitor must be callable, but saw {dropout_state_filter_visitor!r}"
            )
        self.input_keep_prob = keep_probability("input_keep_prob", input_keep_prob)
        self.output_keep_prob = keep_probability("output_keep_prob", output_keep_prob)
        self.state_keep_prob = keep_probability("state_keep_prob", state_keep_prob)
        self.variational_recurrent = variational_recurrent
        self.input_size = input_size
        self.seed = seed
        self._state_filter = dropout_state_filter_visitor or _all_but_memory
        self._noise = self._variational_noise() if variational_recurrent else {}

    @property
    def keeps_everything(self) -> bool:
        """Whether it is known that nothing is dropped."""
        return all(map(is_kept, (self.input_keep_prob, self.output_keep_prob, self.state_keep_prob)))

    def call(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Compute one step of the cell inside, with dropout around it."""
        output, new_state = self.cell(self._drop("input", inputs, self.input_keep_prob), state)
        if not is_kept(self.state_keep_prob):
            chosen = _chosen(self._state_filter, new_state, itertools.count())
            new_state = self._drop("state", new_state, self.state_keep_prob, chosen)
        return self._drop("output", output, self.output_keep_prob), new_state

    def _drop(self, kind: str, values: Nest, keep: Any, chosen: Iterator[int | None] | None = None) -> Nest:
        """Drop out the leaves of ``values``: all, or those for which ``chosen`` has the number of a mask."""
        if is_kept(keep):
            return values
        leaves = tf.nest.flatten(values)
        noises = self._noise.get(kind, (None,) * len(leaves))
        numbers = range(len(leaves)) if chosen is None else chosen
        dropped = [
            value if number is None else self._drop_leaf(kind, number, value, noise, keep)
            for number, value, noise in zip(numbers, leaves, noises, strict=True)
        ]
        return tf.nest.pack_sequence_as(values, dropped)

    def _drop_leaf(self, kind: str, number: int, value: Tensor, noise: Tensor | None, keep: Any) -> Tensor:
        if noise is None:
            return masked(value, keep, self._mask_seed(kind, number))
        return masked_by(value, noise, keep)

    def _variational_noise(self) -> dict[str, tuple[Tensor, ...]]:
        """Draw the noise behind every mask, [1, size] each, leaf by leaf of inputs, state and outputs."""
        if self.dtype is None:
            raise ValueError("When variational_recurrent=True, dtype must be provided")
        sizes = {"state": self.cell.state_size, "output": self.cell.output_size}
        if not is_kept(self.input_keep_prob):
            if self.input_size is None:
                raise ValueError(
                    "When variational_recurrent=True and input_keep_prob < 1.0 or is unknown, "
                    "input_size must be provided"
                )
            sizes["input"] = self.input_size
        return {
            kind: tuple(
                tf.random.uniform(
                    tf.TensorShape([1]).concatenate(size), dtype=self.dtype, seed=self._mask_seed(kind, number)
                )
                for number, size in enumerate(tf.nest.flatten(nest))
            )
            for kind, nest in sizes.items()
        }

    def _mask_seed(self, kind: str, number: int) -> int | None:
        if self.seed is None:
            return None
        digest = hashlib.md5(f"{self.seed}{kind}_{number}".encode(), usedforsecurity=False).hexdigest()
        return int(digest[:8], 16) & 0x7FFFFFFF


def _all_but_memory(state: Nest) -> Nest:
    """Exclude TensorArrays and the memory of an LSTM from dropout: they carry values over many steps."""
    if isinstance(state, LSTMStateTuple):
        return LSTMStateTuple(c=False, h=True)
    return not isinstance(state, tf.TensorArray)


def _chosen(choose: StateFilter, state: Nest, numbers: Iterator[int]) -> Iterator[int | None]:
    """Yield for every leaf of the state the number of its mask, or None if it is spared."""
    yield from _chosen_by(choose(state), choose, state, numbers)


def _chosen_by(decision: Nest, choose: StateFilter, state: Nest, numbers: Iterator[int]) -> Iterator[int | None]:
    if decision is False:
        next(numbers)  # a spared part counts as one mask
        yield from (None for _ in tf.nest.flatten(state))
        return
    if not tf.nest.is_nested(state):
        yield next(numbers)
        return
    parts = _parts(state)
    decisions = [True] * len(parts) if decision is True else _parts(decision)
    for inner, part in zip(decisions, parts, strict=True):
        yield from _chosen_by(choose(part) if inner else False, choose, part, numbers)


def _parts(nest: Nest) -> list[Nest]:
    """Return the parts of one level of a nest, in the order of tf.nest."""
    return [nest[key] for key in sorted(nest)] if isinstance(nest, Mapping) else list(nest)


class ResidualWrapper(CellWrapper):
    """A cell whose inputs are added to its outputs (Wu 2016): output = residual_fn(inputs, outputs of the cell).

    As ``tf.nn.rnn_cell.ResidualWrapper``.

    Args:
        cell: the cell to run.
        residual_fn: makes the output from the inputs and the cell's outputs; by default it adds them.

    Raises:
        TypeError: ``cell`` is not a cell, or ``residual_fn`` is not callable.
        ValueError: at the first step, if inputs and outputs that are to be added differ in structure or shape.
    """

    def __init__(self, cell: Any, residual_fn: ResidualFunction | None = None) -> None:
        super().__init__(cell)
        if residual_fn is not None and not callable(residual_fn):
            raise TypeError(f"residual_fn must be callable, but saw {residual_fn!r}")
        self.residual_fn = residual_fn

    def call(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Compute one step of the cell inside, and add the inputs to its output."""
        outputs, new_state = self.cell(inputs, state)
        return (self.residual_fn or add_inputs)(inputs, outputs), new_state


def add_inputs(inputs: Nest, outputs: Nest) -> Nest:
    """Return inputs + outputs; ValueError or TypeError if they differ in structure or shape."""
    tf.nest.assert_same_structure(inputs, outputs)
    return tf.nest.map_structure(_sum, inputs, outputs)


def _sum(x: Tensor, y: Tensor) -> Tensor:
    if not x.shape.is_compatible_with(y.shape):
        raise ValueError(
            f"a residual connection adds inputs of shape {x.shape} to outputs of shape {y.shape}; "
            "make the shapes equal, or give a residual_fn"
        )
    return x + y


class DeviceWrapper(CellWrapper):
    """A cell that runs, and makes its variables and zero states, on a device; ``tf.nn.rnn_cell.DeviceWrapper``.

    The device changes no value and is no part of a converted model. TypeError if ``cell`` is not a cell.

    Args:
        cell: the cell to run.
        device: what ``tf.compat.v1.device`` takes: a name, or, in graphs, a function of operations.
    """

    def __init__(self, cell: Any, device: Any) -> None:
        super().__init__(cell)
        self.device = device

    def zero_state(self, batch_size: int | Tensor, dtype: Any) -> Nest:
        """Return the zero state of the cell inside, made on the device."""
        with tf.compat.v1.device(self.device):
            return super().zero_state(batch_size, dtype)

    def ensure_built(self, inputs: Nest) -> None:
        """Create the variables of the cell inside on the device."""
        with tf.compat.v1.device(self.device):
            super().ensure_built(inputs)

    def call(self, inputs: Nest, state: Nest) -> tuple[Nest, Nest]:
        """Compute one step of the cell inside on the device."""
        with tf.compat.v1.device(self.device):
            output, new_state = self.cell(inputs, state)
        return output, new_state
