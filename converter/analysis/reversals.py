"""Sequences in the reverse order of time: what was reversed, and by which lengths."""

from __future__ import annotations

from dataclasses import dataclass

from converter.ir import Op, Producers, Recurrence, StridedSlice, TfliteOp, Value, attributes, integers, made_by


@dataclass(frozen=True, slots=True)
class Reversal:
    """``x`` reversed along ``axis``; with ``lengths`` [B], each row within its length, axis 0 or 1 being time."""

    x: Value
    axis: int
    lengths: Value | None


def reversal_of(op: Op | None) -> Reversal | None:
    """Return what ``op`` reverses, None if it does anything else than to reverse one axis, or the rows, of x."""
    if not isinstance(op, TfliteOp):
        return None
    if op.builtin == "REVERSE_V2":
        axes = attributes.axes(op) or ()
        return Reversal(op.operand(0), axes[0], None) if len(axes) == 1 else None
    if op.builtin == "REVERSE_SEQUENCE":
        time, batch = attributes.reversed_axes(op)
        return Reversal(op.operand(0), time, op.operand(1)) if (time, batch) in {(0, 1), (1, 0)} else None
    return None


def reverses_time(reversal: Reversal, op: Recurrence, producers: Producers) -> bool:
    """Return whether a reversed sequence is what ``op`` reads, or gives, when it goes the other way."""
    if reversal.axis != op.time_axis:
        return False
    if reversal.lengths is None or op.sequence_length is None:
        return reversal.lengths is op.sequence_length
    return same_lengths(reversal.lengths, op.sequence_length, op, producers)


def same_lengths(one: Value, other: Value, op: Recurrence, producers: Producers) -> bool:
    """Return whether two values are the same lengths to ``op``: equal, once clipped to the number of its steps."""
    return _unclipped(one, op, producers) is _unclipped(other, op, producers)


def _unclipped(lengths: Value, op: Recurrence, producers: Producers) -> Value:
    """Return what was clipped to [0, T], T being the number of steps of ``op``."""
    clip = made_by(lengths, producers, "MAXIMUM", "MINIMUM")
    if clip is None:
        return lengths
    value, bound = clip.operand(0), clip.operand(1)
    is_bound = _is_zero(bound) if clip.builtin == "MAXIMUM" else _is_time(bound, op, producers)
    return _unclipped(value, op, producers) if is_bound else lengths


def _is_zero(bound: Value) -> bool:
    return bound.data is not None and not bound.data.any()


def _is_time(bound: Value, op: Recurrence, producers: Producers) -> bool:
    """Return whether ``bound`` is the number of steps: a constant, or an element of a shape."""
    if bound.data is not None:
        return op.time is not None and bound.data.tolist() == op.time
    element = StridedSlice.match(producers.get(bound))
    shape = None if element is None else made_by(element.x, producers, "SHAPE")
    if element is None or shape is None or element.dropped_axis != 0:
        return False
    return integers(element.begin) == (op.time_axis,) and _has_its_steps(shape.operand(0), op, producers)


def _has_its_steps(sequence: Value, op: Recurrence, producers: Producers) -> bool:
    """Return whether ``sequence`` has as many steps as ``op``: it is its x or its output, reversed or not."""
    known = {_unreversed(op.x, producers), _unreversed(op.output, producers)}
    return _unreversed(sequence, producers) in known


def _unreversed(sequence: Value, producers: Producers) -> Value:
    reversal = reversal_of(producers.get(sequence))
    return sequence if reversal is None else reversal.x
