"""What computed shapes consist of: numbers, and dimensions of other tensors, multiplied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converter.ir import Op, TfliteOp, Value


@dataclass(frozen=True, slots=True)
class Size:
    """A number times unknown dimensions of tensors, each a name and an axis, in order."""

    factor: int
    unknown: tuple[tuple[str, int], ...] = ()

    def __mul__(self, other: Size) -> Size:
        return Size(self.factor * other.factor, tuple(sorted((*self.unknown, *other.unknown))))


Sizes = tuple[Size, ...]


def dimensions(x: Value) -> Sizes | None:
    """Return the dimensions of ``x``, None if its rank is unknown."""
    if x.type.shape is None:
        return None
    return tuple(
        Size(1, ((x.name, axis),)) if known is None else Size(known) for axis, known in enumerate(x.type.shape)
    )


def sizes(value: Value | None, producers: Mapping[Value, Op]) -> Sizes | None:
    """Return the elements of a vector or scalar of integers; None if they are computed in a way not known here."""
    if value is None:
        return None
    if value.data is not None:
        return tuple(Size(int(number)) for number in np.asarray(value.data).reshape(-1))
    producer = producers.get(value)
    if not isinstance(producer, TfliteOp):
        return None
    if producer.builtin == "SHAPE" and producer.operands[0] is not None:
        return dimensions(producer.operands[0])
    rule = _RULES.get(producer.builtin)
    given = [sizes(operand, producers) for operand in producer.operands]
    known = [part for part in given if part is not None]
    return rule(producer, known) if rule is not None and len(known) == len(given) else None


def _joined(_: TfliteOp, given: Sequence[Sizes]) -> Sizes | None:
    return tuple(size for part in given for size in part)


def _first(_: TfliteOp, given: Sequence[Sizes]) -> Sizes | None:
    return given[0]


def _gathered(_: TfliteOp, given: Sequence[Sizes]) -> Sizes | None:
    elements, places = given
    return tuple(elements[place.factor] for place in places)


def _product(op: TfliteOp, given: Sequence[Sizes]) -> Sizes | None:
    factors = given[0] if op.builtin == "REDUCE_PROD" else [size for part in given for size in part]
    if op.builtin == "MUL" and len(factors) != 2:
        return None
    total = Size(1)
    for size in factors:
        total = total * size
    return (total,)


def _sliced(op: TfliteOp, given: Sequence[Sizes]) -> Sizes | None:
    elements, begin, end, strides = given
    if len(begin) != 1 or any(op.options.get(mask) for mask in ("ellipsisMask", "newAxisMask")):
        return None
    first, last = (int(str(op.options[mask])) for mask in ("beginMask", "endMask"))
    if op.options.get("shrinkAxisMask"):
        return (elements[begin[0].factor],)
    return elements[slice(None if first else begin[0].factor, None if last else end[0].factor, strides[0].factor)]


_RULES: Mapping[str, Callable[[TfliteOp, Sequence[Sizes]], Sizes | None]] = {
    "CAST": _first,
    "CONCATENATION": _joined,
    "EXPAND_DIMS": _first,
    "GATHER": _gathered,
    "MUL": _product,
    "PACK": _joined,
    "REDUCE_PROD": _product,
    "RESHAPE": _first,
    "SQUEEZE": _first,
    "STRIDED_SLICE": _sliced,
}
