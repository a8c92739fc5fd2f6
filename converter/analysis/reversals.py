"""Match reversed sequences: what was reversed, and by which lengths."""

from __future__ import annotations

from dataclasses import dataclass

from converter.analysis.dimensions import Dimensions
from converter.ir import Op, Recurrence, TfliteOp, Value, attributes, made_by


@dataclass(frozen=True, slots=True)
class Reversal:
    """``x`` reversed along ``axis``; with ``lengths`` [B], each row within its length, along time."""

    x: Value
    axis: int
    lengths: Value | None


def reversal_of(op: Op | None) -> Reversal | None:
    """Return the reversal that ``op`` is, None unless it reverses one axis of x, or rows within lengths."""
    if not isinstance(op, TfliteOp):
        return None
    if op.builtin == "REVERSE_V2":
        axes = attributes.axes(op) or ()
        return Reversal(op.operand(0), axes[0], None) if len(axes) == 1 else None
    if op.builtin == "REVERSE_SEQUENCE":
        time, batch = attributes.reversed_axes(op)
        return Reversal(op.operand(0), time, op.operand(1)) if (time, batch) in {(0, 1), (1, 0)} else None
    return None


def reverses_time(reversal: Reversal, op: Recurrence, around: Dimensions) -> bool:
    """Return whether a reversed sequence equals what ``op`` reads, or returns, in the other direction."""
    if reversal.axis != op.time_axis:
        return False
    if reversal.lengths is None or op.sequence_length is None:
        return reversal.lengths is op.sequence_length
    return same_lengths(reversal.lengths, op.sequence_length, op, around)


def same_lengths(one: Value, other: Value, op: Recurrence, around: Dimensions) -> bool:
    """Return whether two values are the same lengths for ``op``: equal once clipped to its number of steps."""
    return _unclipped(one, op, around) is _unclipped(other, op, around)


def _unclipped(lengths: Value, op: Recurrence, around: Dimensions) -> Value:
    """Return the value before it was clipped to [0, T], T being the number of steps of ``op``."""
    clip = made_by(lengths, around.producers, "MAXIMUM", "MINIMUM")
    if clip is None:
        return lengths
    value, bound = clip.operand(0), around.number(clip.operand(1))
    is_bound = bound == (0 if clip.builtin == "MAXIMUM" else around.dimension(op.x, op.time_axis))
    return _unclipped(value, op, around) if is_bound else lengths
