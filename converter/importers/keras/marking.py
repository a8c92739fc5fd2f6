"""Replace a layer's loop by one call of a marked function.

The function's body only provides shapes and is never run. The converted model runs the recurrence that the marker
specifies, and the reference runs the layer's loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.importers.keras.cells import MarkedCell, is_lstm
from converter.marker import CellSpec, Operands, RecurrenceSpec


@dataclass(frozen=True, slots=True, eq=False)
class LayerLoop:
    """The arguments of a recurrent layer's loop.

    ``sequences`` are [B, T, D], or [T, B, D] if ``time_major``; ``mask`` likewise, without D. ``initial_state`` is
    flat, in Keras' order. ``go_backwards`` runs from the last step to the first and gives outputs in this order.
    """

    name: str
    cell: MarkedCell
    sequences: Any
    mask: Any
    initial_state: tuple[Any, ...]
    time_major: bool
    go_backwards: bool
    zero_output_for_mask: bool

    @property
    def time_axis(self) -> int:
        """The axis of time in the sequences and the outputs."""
        return 0 if self.time_major else 1


def is_markable(sequences: Any, mask: Any, *, unroll: bool) -> bool:
    """Return whether a marked op can take these: one float32 sequence, and a mask of whole steps.

    A layer that unrolls (``unroll``) has no marked op beside a mask: Keras masks its outputs in another way, and
    those of a reversed layer with the mask in its own order.
    """
    import tensorflow as tf

    if not isinstance(sequences, tf.Tensor) or sequences.dtype != tf.float32 or sequences.shape.rank != 3:
        return False
    if unroll and mask is not None:
        return False
    return mask is None or (isinstance(mask, tf.Tensor) and mask.shape.rank == 2)


def run_marked(loop: LayerLoop) -> tuple[Any, list[Any]]:
    """Run a loop as one marked op; return its outputs and its final state, structured like the initial one."""
    import tensorflow as tf

    leaves = loop.cell.spec.leaves()
    spec = RecurrenceSpec(
        name=loop.name,
        cell=loop.cell.spec,
        time_major=loop.time_major,
        initial_state=True,
        mask=None if loop.mask is None else ("zero" if loop.zero_output_for_mask else "held"),
    )
    sequences = _in_order(loop, loop.sequences)
    operands = Operands(
        inputs=sequences,
        mask=None if loop.mask is None else _in_order(loop, tf.cast(loop.mask, tf.bool)),
        initial_state=tuple(_swapped(leaves, loop.initial_state)),
        weights=tuple(tf.convert_to_tensor(weight) for weight in loop.cell.weights),
    )
    depth = int(leaves[-1].attribute("units"))

    @tf.function(autograph=False, experimental_implements=spec.implements(), reduce_retracing=False)
    def marked(*flat: Any) -> list[Any]:
        # Every result depends on every operand, so that none is removed as unused.
        read = tf.add_n([tf.reduce_sum(tf.cast(operand, tf.float32)) for operand in flat])
        outputs = tf.zeros([*tf.unstack(tf.shape(flat[0]))[:2], depth]) + read
        return [outputs, *(state + read for state in spec.unpack(flat).initial_state or ())]

    outputs, *states = marked(*spec.pack(operands))
    outputs.set_shape([*sequences.shape[:2], depth])
    return outputs, _swapped(leaves, states)


def last_output(loop: LayerLoop, outputs: Any, state: Sequence[Any]) -> Any:
    """Return the outputs of the last step [B, units]; ``state`` is the final one, in Keras' order.

    They equal the last cell's final h, unless there is a mask; so no outputs need be collected.
    """
    if loop.mask is None:
        return state[-2] if is_lstm(loop.cell.spec.leaves()[-1]) else state[-1]
    return outputs[-1] if loop.time_major else outputs[:, -1]


def _in_order(loop: LayerLoop, sequence: Any) -> Any:
    import tensorflow as tf

    return tf.reverse(sequence, [loop.time_axis]) if loop.go_backwards else sequence


def _swapped(leaves: Sequence[CellSpec], states: Sequence[Any]) -> list[Any]:
    """Return a flat state with every LSTM's two tensors exchanged: Keras has (h, c), the marker (c, h)."""
    given, swapped = iter(states), []
    for leaf in leaves:
        part = [next(given), next(given)] if is_lstm(leaf) else [next(given)]
        swapped += reversed(part)
    return swapped
