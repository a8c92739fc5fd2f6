"""What shape rules know of operands, and their common arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from converter.ir.dimensions import Dimension, SymbolicShape
from converter.ir.program import TfliteOp


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an operand before the run.

    ``shape`` is None for an operand that is absent or of unknown rank. ``numbers`` are the elements of an integer
    operand whose content decides the shapes of results, in their order; None for any other operand, and where
    they are not known.
    """

    shape: SymbolicShape | None = None
    numbers: SymbolicShape | None = None


Rule: TypeAlias = Callable[[TfliteOp, Sequence[Known]], Sequence[SymbolicShape | None]]
"""Returns the shapes of the results. Raises ValueError or LookupError if they do not follow from what is known."""


class UnknownShapeError(ValueError):
    """The shapes of an op's results do not follow from what is known, or its operands do not fit together."""


def shape_of(operand: Known) -> SymbolicShape:
    """Return the shape of an operand. Raises UnknownShapeError."""
    if operand.shape is None:
        raise UnknownShapeError
    return operand.shape


def numbers_of(operand: Known) -> SymbolicShape:
    """Return the elements of an operand. Raises UnknownShapeError."""
    if operand.numbers is None:
        raise UnknownShapeError
    return operand.numbers


def integers_of(operand: Known) -> list[int]:
    """Return the elements of an operand that must all be numbers. Raises UnknownShapeError."""
    return list(map(as_integer, numbers_of(operand)))


def as_integer(dimension: Dimension | None) -> int:
    """Return a dimension that must be a number. Raises UnknownShapeError."""
    if not isinstance(dimension, int):
        raise UnknownShapeError
    return dimension


def axis_of(axis: int, rank: int) -> int:
    """Return ``axis`` counted from the front. Raises UnknownShapeError if there is no such axis."""
    if not -rank <= axis < rank:
        raise UnknownShapeError
    return axis % rank


def equal(dimensions: Iterable[Dimension | None]) -> Dimension | None:
    """Return what ``dimensions``, which are equal when the model runs, are; a number if one of them is.

    Raises UnknownShapeError if they are different numbers.
    """
    known = [dimension for dimension in dimensions if dimension is not None]
    numbers = {dimension for dimension in known if isinstance(dimension, int)}
    if len(numbers) > 1:
        raise UnknownShapeError
    return next(iter(numbers or known), None)


def equal_shapes(shapes: Sequence[SymbolicShape]) -> SymbolicShape:
    """Return what ``shapes``, which are equal when the model runs, are. Raises UnknownShapeError."""
    if len({len(shape) for shape in shapes}) != 1:
        raise UnknownShapeError
    return tuple(equal(sizes) for sizes in zip(*shapes, strict=True))


def broadcast(shapes: Sequence[SymbolicShape]) -> SymbolicShape:
    """Return the shape that ``shapes`` are broadcast to. Raises UnknownShapeError."""
    rank = max(map(len, shapes), default=0)
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_broadcast(sizes) for sizes in zip(*aligned, strict=True))


def _broadcast(sizes: Sequence[Dimension | None]) -> Dimension | None:
    """Return the largest of sizes of which each is 1 or the largest; two that are unknown may be either."""
    numbers = {size for size in sizes if isinstance(size, int) and size != 1}
    if len(numbers) > 1:
        raise UnknownShapeError
    if numbers:
        return next(iter(numbers))
    others = {size for size in sizes if size != 1}
    return next(iter(others), 1) if len(others) <= 1 else None
