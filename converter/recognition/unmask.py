"""Remove the lengths from a step: the selection between what the cell computes and what a finished row keeps.

``dynamic_rnn`` emits one per state, ``SELECT(t >= lengths, old, new)``, and one per output, with zero for ``old``.
"""

from __future__ import annotations

from dataclasses import dataclass

from converter.analysis.zeros import is_zero
from converter.ir import Producers, Scan, ScanStep, TfliteOp, Trait, Value, has, made_by

_SAME = Trait.RESHAPES | Trait.REPEATS
"""Ops that keep every element and may repeat it."""

_DONE = {"GREATER_EQUAL": (0, 1), "LESS_EQUAL": (1, 0)}
"""Comparisons that hold for finished rows: the positions of the step number and of the lengths."""
_ALIVE = {"LESS": (0, 1), "GREATER": (1, 0)}
"""Comparisons that hold for unfinished rows."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedValue:
    """A value of a step, taken apart: what the cell computes, what a finished row keeps, and the lengths.

    ``kept`` and ``lengths`` are None for a value that does not depend on lengths.
    """

    new: Value
    kept: Value | None = None
    lengths: Value | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Unmasked:
    """A step without its masks: its states and outputs, and the lengths [B], a value of its body."""

    states: tuple[Value, ...]
    outputs: tuple[Value | None, ...]
    lengths: Value | None


def unmask(scan: Scan, around: Producers) -> Unmasked | str:
    """Return the step of ``scan`` without its lengths, or the reason why they cannot be removed.

    An entry of ``outputs`` is None where a finished row's output is not known to be zero. ``around`` are the
    producers of the graph that holds the scan.
    """
    step = scan.step
    producers = scan.body.producers()
    states = [_masked_value(value, step, producers) for value in step.new_states]
    elements = [_masked_value(value, step, producers) for value in step.elements]
    lengths = {part.lengths for part in states}
    if len(lengths) > 1:
        return "some of its states are kept at the end of a sequence and others are not"
    if not lengths or lengths == {None}:
        return Unmasked(step.new_states, step.elements, None)
    for index, (part, old) in enumerate(zip(states, step.states, strict=True)):
        if part.kept is not old:
            return f"its state {index} is not kept where a sequence has ended"
    (length,) = lengths
    outside = dict(zip(step.invariants, scan.invariants, strict=True))

    def zeroed(part: MaskedValue) -> bool:
        if part.kept is None or part.lengths is not length:
            return False
        return is_zero(part.kept, producers) or is_zero(outside.get(part.kept, part.kept), around)

    outputs = tuple(part.new if zeroed(part) else None for part in elements)
    return Unmasked(tuple(part.new for part in states), outputs, length)


def _masked_value(value: Value, step: ScanStep, producers: Producers) -> MaskedValue:
    producer = made_by(value, producers, "SELECT", "SELECT_V2")
    decided = None if producer is None else _decided(producer.operand(0), step, producers)
    if producer is None or decided is None:
        return MaskedValue(value)
    first, second = producer.operand(1), producer.operand(2)
    lengths, done = decided
    return MaskedValue(second, first, lengths) if done else MaskedValue(first, second, lengths)


def _decided(condition: Value, step: ScanStep, producers: Producers) -> tuple[Value, bool] | None:
    """Return (lengths, True) if the condition holds for finished rows, (lengths, False) if for unfinished ones."""
    producer = made_by(condition, producers)
    if producer is None:
        return None
    if has(producer, _SAME):
        return _decided(producer.operand(0), step, producers)
    if producer.builtin == "LOGICAL_NOT":
        inner = _decided(producer.operand(0), step, producers)
        return None if inner is None else (inner[0], not inner[1])
    lengths = _compared_with_t(producer, step, producers)
    return None if lengths is None else (lengths, producer.builtin in _DONE)


def _compared_with_t(comparison: TfliteOp, step: ScanStep, producers: Producers) -> Value | None:
    """Return the lengths [B], an input of the step, that the step number is compared with."""
    roles = (_DONE | _ALIVE).get(comparison.builtin)
    if roles is None:
        return None
    t, lengths = (_unshaped(comparison.operand(role), producers) for role in roles)
    if t is not step.t or lengths.type.rank != 1:
        return None
    return lengths if lengths.data is not None or lengths in step.inputs else None


def _unshaped(value: Value, producers: Producers) -> Value:
    producer = made_by(value, producers)
    return _unshaped(producer.operand(0), producers) if producer is not None and has(producer, _SAME) else value
