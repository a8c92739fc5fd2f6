"""The shapes of an op's results, by the rule of its builtin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from converter.ir.builtins import Trait
from converter.ir.dimensions import SymbolicShape
from converter.ir.program import TfliteOp
from converter.ir.shapes.general import RULES, elementwise, reduced
from converter.ir.shapes.images import IMAGE_RULES
from converter.ir.shapes.known import Known, Rule
from converter.ir.shapes.parts import PART_RULES
from converter.ir.traits import facts, has
from converter.ir.types import Shape, TensorType, Value


def result_shapes(op: TfliteOp) -> tuple[Shape | None, ...]:
    """Return the shape of each result of ``op``, as far as it follows from its operands' types and constants."""
    positions = sizing(op)
    operands = [known_of(value, sizes=place in positions) for place, value in enumerate(op.operands)]
    return tuple(
        None if shape is None else tuple(size if isinstance(size, int) else None for size in shape)
        for shape in infer_shapes(op, operands)
    )


def refined_value(value: Value, shape: Shape | None) -> Value:
    """Return ``value`` with the sizes of ``shape`` where its own are unknown, if the two do not contradict."""
    if shape is None:
        return value
    known = (None,) * len(shape) if value.type.shape is None else value.type.shape
    if len(known) != len(shape):
        return value
    if any(None not in {old, new} and old != new for old, new in zip(known, shape, strict=True)):
        return value
    merged = tuple(old if new is None else new for old, new in zip(known, shape, strict=True))
    return value if merged == value.type.shape else replace(value, type=TensorType(value.type.dtype, merged))


def infer_shapes(op: TfliteOp, operands: Sequence[Known]) -> tuple[SymbolicShape | None, ...]:
    """Return the shape of each result of ``op``, as far as it follows from what is known of its operands.

    A shape of unknown rank is None, and so is an unknown size.
    """
    nothing = (None,) * len(op.results)
    rule = _rule(op)
    if rule is None:
        return nothing
    try:
        shapes = tuple(rule(op, operands))
    except (ValueError, LookupError):  # an unknown op, or incompatible operands
        return nothing
    return shapes if len(shapes) == len(op.results) else nothing


def operands_fit(op: TfliteOp) -> bool:
    """Return False if it is known that the operands of ``op`` do not fit together, or that it has no such axis."""
    positions = sizing(op)
    known = [known_of(value, sizes=place in positions) for place, value in enumerate(op.operands)]
    rule = _rule(op)
    if rule is None or not all(_is_settled(value, place in positions) for place, value in enumerate(op.operands)):
        return True
    try:
        rule(op, known)
    except (ValueError, LookupError):
        return False
    return True


_PER_AXIS: Final = {"TRANSPOSE": 1, "TILE": 1, "SLICE": 1, "PAD": 2, "PADV2": 2, "MIRROR_PAD": 2}


def listed_per_axis(op: TfliteOp) -> tuple[int, int] | None:
    """Return how many numbers operand 1 has and must have; None if ``op`` has no list for the axes of x."""
    if op.builtin not in _PER_AXIS or op.operand(0).type.rank is None or not op.operand(1).type.is_static:
        return None
    found = math.prod(size or 0 for size in op.operand(1).type.shape or ())
    return found, _PER_AXIS[op.builtin] * (op.operand(0).type.rank or 0)


def _is_settled(value: Value | None, is_sizing: bool) -> bool:
    return value is None or (value.type.is_static and (value.is_constant or not is_sizing))


def sizing(op: TfliteOp) -> Sequence[int]:
    """Return the positions of the operands whose content decides the shapes of the results."""
    return (0,) if has(op, Trait.RANDOM) else facts(op).sized_by or ()


def known_of(value: Value | None, *, sizes: bool) -> Known:
    """Return what the type of ``value`` and, if it decides ``sizes``, its constant content say."""
    if value is None:
        return Known()
    if not sizes or value.data is None or not np.issubdtype(value.data.dtype, np.integer):
        return Known(value.type.shape)
    return Known(value.type.shape, tuple(int(number) for number in value.data.reshape(-1)))


def _rule(op: TfliteOp) -> Rule | None:
    for rules in (RULES, PART_RULES, IMAGE_RULES):
        if op.builtin in rules:
            return rules[op.builtin]
    if has(op, Trait.ELEMENTWISE):
        return elementwise
    return reduced if has(op, Trait.REDUCES) else None
