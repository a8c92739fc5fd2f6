"""Symbolic sizes of a graph's values: which are equal, and what an unknown one depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from converter.analysis.elements import result_elements
from converter.ir import Bidirectional, Op, Producers, Recurrence, Scan, Value, made_by
from converter.ir.dimensions import Dimension, SymbolicShape, multiply, unknown
from converter.ir.shapes import Known, infer_shapes

_MOST_ELEMENTS = 64
"""Constants with more elements are not shapes."""


@dataclass(frozen=True, slots=True, eq=False)
class Dimensions:
    """The sizes of the values that some ops compute.

    A size is a number, or a product of sizes of inputs, or of results whose size the shape rule does not
    determine. Two sizes that are equal here are equal in every run.
    """

    producers: Producers
    _shapes: Mapping[Value, SymbolicShape]
    _elements: Mapping[Value, SymbolicShape]

    @classmethod
    def of(cls, ops: Iterable[Op], given: Mapping[Value, Known] = MappingProxyType({})) -> Dimensions:
        """Return the sizes of what ``ops`` compute; ``given`` has known shapes that no rule determines."""
        shapes = {value: known.shape for value, known in given.items() if known.shape is not None}
        elements = {value: known.numbers for value, known in given.items() if known.numbers is not None}
        return cls({}, shapes, elements).extended(ops)

    def extended(self, ops: Iterable[Op]) -> Dimensions:
        """Return the sizes extended by the values that ``ops`` compute from the values known here."""
        producers, shapes, elements = dict(self.producers), dict(self._shapes), dict(self._elements)
        found = Dimensions(producers, shapes, elements)
        for op in ops:
            producers.update(dict.fromkeys(op.results, op))
            for value, known in zip(op.results, found._results(op), strict=True):
                if known.shape is not None:
                    shapes.setdefault(value, known.shape)
                if known.numbers is not None:
                    elements.setdefault(value, known.numbers)
        return found

    def shape(self, value: Value) -> SymbolicShape | None:
        """Return the size of each axis of ``value``, None if its rank is unknown."""
        return self._shapes[value] if value in self._shapes else _merged(value, None)

    def dimension(self, value: Value, axis: int) -> Dimension:
        """Return the size of one axis of ``value``."""
        shape = self.shape(value)
        size = shape[axis] if shape is not None and axis < len(shape) else None
        return unknown(value, axis) if size is None else size

    def elements(self, value: Value) -> SymbolicShape | None:
        """Return the elements of a vector or scalar of integers, None if their number is unknown.

        An unknown element is None; if it is the only one, it is represented by a symbol.
        """
        if value.data is not None:
            known = value.data.size <= _MOST_ELEMENTS and np.issubdtype(value.data.dtype, np.integer)
            return tuple(int(number) for number in value.data.reshape(-1)) if known else None
        if value in self._elements:
            return self._elements[value]
        return (unknown(value),) if _is_integer(value) and value.type.shape in {(), (1,)} else None

    def number(self, scalar: Value) -> Dimension:
        """Return the integer ``scalar`` as a dimension."""
        elements = self.elements(scalar) or ()
        number = elements[0] if len(elements) == 1 else None
        return unknown(scalar) if number is None else number

    def sum_of(self, size: Dimension) -> tuple[Dimension, int]:
        """Return a product of sizes and a number whose sum is ``size``, as far as its computation says so."""
        if isinstance(size, int):
            return 0, size
        extents = dict(size.extents)
        scalar = next(iter(extents))
        op = None
        if extents == {scalar: 1} and scalar.axis is None:
            op = made_by(scalar.value, self.producers, "ADD", "SUB")
        if op is None:
            return size, 0
        (base, offset), (other, more) = (self.sum_of(self.number(op.operand(place))) for place in (0, 1))
        if base == 0 and op.builtin == "ADD":
            base, other = other, base
        if other != 0:
            return size, 0
        offset += more if op.builtin == "ADD" else -more
        scaled = multiply([size.factor, base])
        return (size, 0) if scaled is None else (scaled, size.factor * offset)

    def is_at_most(self, scalar: Value, bound: Dimension) -> bool:
        """Return whether ``scalar`` is known not to exceed ``bound``."""
        number = self.number(scalar)
        if number == bound or (isinstance(number, int) and isinstance(bound, int) and number <= bound):
            return True
        op = made_by(scalar, self.producers, "MINIMUM")
        return op is not None and any(self.is_at_most(operand, bound) for operand in op.operands if operand)

    def _results(self, op: Op) -> Sequence[Known]:
        """Return what is known of each result of ``op``."""
        if isinstance(op, Recurrence):
            shapes = self._recurrence(op)
        elif isinstance(op, Bidirectional):
            shapes = [*self._recurrence(op.forward), *self._recurrence(op.backward)]
        elif isinstance(op, Scan):
            time = self.dimension(op.sequences[0], 0) if op.length is None else self.number(op.length)
            stacked = [None if value.type.shape is None else (time, *value.type.shape[1:]) for value in op.outputs]
            shapes = [*stacked, *(None for _ in op.final_state)]
        else:
            operands = [self._known(value) for value in op.operands]
            shapes = list(infer_shapes(op, operands))
            numbers = result_elements(op, operands)
            merged = [_merged(value, shape) for value, shape in zip(op.results, shapes, strict=True)]
            return [
                Known(shape, _named(value, elements))
                for value, shape, elements in zip(op.results, merged, numbers, strict=True)
            ]
        return [Known(_merged(value, shape)) for value, shape in zip(op.results, shapes, strict=True)]

    def _known(self, value: Value | None) -> Known:
        return Known() if value is None else Known(self.shape(value), self.elements(value))

    def _recurrence(self, op: Recurrence) -> list[SymbolicShape | None]:
        leading = [self.dimension(op.x, axis) for axis in range(2)]
        batch = leading[1 - op.time_axis]
        return [(*leading, op.cell.output_size), *((batch, size) for size in op.cell.state_sizes)]


def _merged(value: Value, inferred: SymbolicShape | None) -> SymbolicShape | None:
    """Return the shape of ``value``: from its type, else as inferred, else new symbols."""
    shape = inferred if value.type.shape is None else value.type.shape
    if shape is None:
        return None
    if inferred is None or len(inferred) != len(shape):
        inferred = (None,) * len(shape)
    return tuple(
        next((size for size in sizes if size is not None), unknown(value, axis))
        for axis, sizes in enumerate(zip(shape, inferred, strict=True))
    )


def _named(value: Value, elements: SymbolicShape | None) -> SymbolicShape | None:
    """Return ``elements``, with a symbol for a single unknown one."""
    return (unknown(value),) if elements == (None,) else elements


def _is_integer(value: Value) -> bool:
    dtype = value.type.dtype.numpy
    return dtype is not None and np.issubdtype(dtype, np.integer)
