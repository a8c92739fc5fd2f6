"""Sizes of axes: numbers, or products of symbolic sizes that are known only when the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from converter.ir.types import Value


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of ``value`` along ``axis``; without an axis, the integer in its only element."""

    value: Value
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """``factor`` times one or more extents, equal for any order of the factors."""

    factor: int
    extents: frozenset[tuple[Extent, int]]
    """Each extent with its power."""


Dimension: TypeAlias = int | Product

SymbolicShape: TypeAlias = tuple[Dimension | None, ...]
"""The sizes of the axes of a value, None where unknown."""


def unknown(value: Value, axis: int | None = None) -> Product:
    """Return a dimension that only ``value`` determines, as by `Extent`."""
    return Product(1, frozenset({(Extent(value, axis), 1)}))


def multiply(dimensions: Iterable[Dimension | None]) -> Dimension | None:
    """Return the product of ``dimensions``, None if one of them is unknown, 1 if there are none."""
    factor, powers = 1, Counter[Extent]()
    for dimension in dimensions:
        if dimension is None:
            return None
        factor *= dimension if isinstance(dimension, int) else dimension.factor
        if isinstance(dimension, Product):
            powers.update(dict(dimension.extents))
    return _product(factor, powers)


def divide(dimension: Dimension | None, divisor: Dimension | None) -> Dimension | None:
    """Return ``dimension / divisor`` if it is known to be an integer or a product of extents, else None."""
    if dimension is None or divisor is None or divisor == 0:
        return None
    factor, powers = _parts(dimension)
    other, taken = _parts(divisor)
    if factor % other or any(powers[extent] < power for extent, power in taken.items()):
        return None
    return _product(factor // other, powers - taken)


def _parts(dimension: Dimension) -> tuple[int, Counter[Extent]]:
    if isinstance(dimension, int):
        return dimension, Counter()
    return dimension.factor, Counter(dict(dimension.extents))


def _product(factor: int, powers: Counter[Extent]) -> Dimension:
    if factor == 0 or not powers:
        return factor
    return Product(factor, frozenset(powers.items()))
