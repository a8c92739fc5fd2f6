"""What a chunk needs of those before it: rows of the past, and how many steps there were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from converter.analysis.open_states import OpenState
from converter.analysis.streaming.facts import Feed, Fill, Rows
from converter.emission.emitter import Emitter
from converter.ir import Array, DType, Shape, TensorType, Value, dims

MOST_STEPS = 1 << 20
"""The count of steps stops here, far beyond any delay: float32 counts no further than 2^24."""

LARGEST = float(np.finfo(np.float32).max)
OUTSIDE = {Fill.ZERO: 0.0, Fill.LOWEST: -LARGEST, Fill.HIGHEST: LARGEST}


class Past:
    """Emits the states of a graph on chunks; ``states`` has each, from its start to its value after the chunk.

    ``x`` is an input whose axis ``axis`` is the steps of the chunk, one row each. ``remaining`` [1] (float32) is
    how many of these and the later steps are of the sequence, None if all are. The steps are counted if something
    needs it, or if it ``counts``.
    """

    def __init__(self, emitter: Emitter, x: Value, axis: int, remaining: Value | None, *, counts: bool) -> None:
        self.states: list[OpenState] = []
        self.remaining = remaining
        self._emitter = emitter
        self._x, self._axis = x, axis
        self._count: Value | None = None
        self._inside: dict[tuple[int | Value, int, int, Rows], Value] = {}
        self._names: set[str] = set()
        if counts:
            self._steps_before()

    # --- states ------------------------------------------------------------------------------------------------

    def state(self, name: str, dtype: DType, shape: Shape) -> Value:
        """Return the start of a new state, zero before the first chunk; `end` says what it becomes."""
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        start = Value(self._emitter.name(f"{free}_in"), TensorType(dtype, shape))
        self.states.append(OpenState(free, None, start, start))
        return start

    def end(self, start: Value, final: Value) -> None:
        """Let the state that starts as ``start`` be ``final`` after the chunk."""
        place = next(place for place, state in enumerate(self.states) if state.initial is start)
        self.states[place] = replace(self.states[place], final=final)

    # --- rows --------------------------------------------------------------------------------------------------

    def fed(self, x: Value, rows: Rows, feed: Feed, layer: str) -> Value:
        """Return ``x``, whose rows are ``rows``, as ``feed`` says that a ``layer`` reads it."""
        axis = rows.axis
        if feed.past < 0:
            x = self.part(x, axis, -feed.past, None)
        early = feed.fill is Fill.ZERO and self.remaining is None  # the past is zero before the first row
        if early and rows.delay:
            x = self.filled(x, rows, feed.fill, first=max(0, -feed.past))
        if feed.past > 0:
            x = self._after_past(x, axis, feed.past, layer)
        # Behind the last row, the past does not know yet whether the sequence went on to its rows.
        if feed.fill is not Fill.NOTHING and not early:
            x = self.filled(x, rows, feed.fill, first=-feed.past)
        return self.part(x, axis, None, -feed.cut) if feed.cut else x

    def _after_past(self, x: Value, axis: int, count: int, layer: str) -> Value:
        shape = tuple(count if place == axis else size for place, size in enumerate(dims(x)))
        past = self.state(f"{layer}_past", x.type.dtype, shape)
        whole = self._emitter.concatenation([past, x], axis, f"{layer}_rows")
        self.end(past, self.part(whole, axis, -count, None))
        return whole

    def filled(self, x: Value, rows: Rows, fill: Fill, *, first: int = 0) -> Value:
        """Return ``x`` with a number in the rows that are not of the sequence; ``first`` as in `is_inside`."""
        number = self._emitter.constant("outside", np.array(OUTSIDE[fill], x.type.dtype.numpy))
        return self._emitter.select(self.is_inside(x, rows, first=first), x, number, "inside")

    def part(self, x: Value, axis: int, begin: int | None, end: int | None, stride: int = 1) -> Value:
        """Append a STRIDED_SLICE ``x[begin:end:stride]`` along one axis."""
        emitter, shape = self._emitter, list(dims(x))
        size = shape[axis]
        if size is not None:
            shape[axis] = len(range(size)[slice(begin, end, stride)])
        elif begin is not None and begin < 0 and end is None:
            shape[axis] = -begin
        here, everywhere = 1 << axis, (1 << len(shape)) - 1
        options = {
            "beginMask": everywhere if begin is None else everywhere & ~here,
            "endMask": everywhere if end is None else everywhere & ~here,
            "shrinkAxisMask": 0,
        }
        bounds = [emitter.integers(*along(len(shape), axis, bound or 0, 0)) for bound in (begin, end)]
        strides = emitter.integers(*along(len(shape), axis, stride, 1))
        return emitter.op("STRIDED_SLICE", [x, *bounds, strides], emitter.value("part", x, tuple(shape)), options)

    # --- steps -------------------------------------------------------------------------------------------------

    def varies(self, rows: Rows) -> bool:
        """Return whether some rows of a chunk may not be of the sequence."""
        return rows.delay > 0 or self.remaining is not None

    def is_inside(self, x: Value, rows: Rows, *, first: int = 0) -> Value:
        """Return for each row of ``x`` whether it is of the sequence: [1, ..., rows, ..., 1], bool.

        The rows of ``x`` begin ``first`` rows after the start of the chunk. With N steps before the chunk and R
        steps remaining, row i is of the sequence if it leaves at step ``N + i * stride >= delay`` and, the first
        row being there after ``first`` steps, if ``i * stride + rows.first - delay <= R``. A row of a block of
        several is there with the block: ``i * stride - delay`` is rounded down to a period, ``short`` rows later.
        """
        count = dims(x)[rows.axis]
        key = (
            x if count is None else count,
            len(dims(x)),
            first,
            replace(rows, before=1, after=1, left=0, right=0, lengths=1),
        )
        if key not in self._inside:
            emitter = self._emitter
            places = self._places(x, rows, first)
            late = self._number(x, rows.delay - min(rows.stride, Fraction(1)) / 2)
            inside = emitter.less(late, emitter.add(self._steps_before(), places, "step"), "is_inside")
            if self.remaining is not None:
                needed = self._needed(x, rows, first, places)
                within = emitter.less(needed, self.remaining, "is_within")
                both = Value(emitter.name("is_inside"), inside.type)
                inside = emitter.op("LOGICAL_AND", [inside, within], both)
            self._inside[key] = inside
        return self._inside[key]

    def _needed(self, x: Value, rows: Rows, first: int, places: Value) -> Value:
        """Return how many steps of the chunk and later ones there must be for each row, less half a step."""
        emitter = self._emitter
        if rows.block == 1:
            return emitter.add(places, self._number(x, rows.first - rows.delay - Fraction(1, 2)), "needed")
        lead, last = rows.short - rows.warm_up, self._number(x, rows.first - Fraction(1, 2))
        count = dims(x)[rows.axis]
        if count is not None:
            blocks: Array = (np.arange(count) + first + lead) // rows.block * rows.period
            shape = along(len(dims(x)), rows.axis, count, 1)
            return emitter.weights("needed", (blocks + float(rows.first) - 0.5).reshape(shape))
        # Half a row more, so that what rounding makes of a whole block is not rounded down to the one before.
        row = emitter.add(places, self._number(x, (lead + Fraction(1, 2)) * rows.stride), "row")
        block = emitter.multiply(row, self._number(x, Fraction(1, rows.period)), "block")
        whole = emitter.unary("FLOOR", block, "block")
        return emitter.add(
            emitter.multiply(whole, self._number(x, Fraction(rows.period)), "block"), last, "needed"
        )

    def _number(self, x: Value, number: Fraction) -> Value:
        return self._emitter.weights("number", np.full([1] * len(dims(x)), float(number), np.float32))

    def _places(self, x: Value, rows: Rows, first: int) -> Value:
        """Return at which step after the chunk's first each row leaves, as floats along the axis of time."""
        emitter, rank = self._emitter, len(dims(x))
        count = dims(x)[rows.axis]
        if count is not None:
            steps: Array = (np.arange(count) + first) * float(rows.stride)
            return emitter.weights("places", steps.reshape(along(rank, rows.axis, count, 1)))
        is_whole = rows.stride.denominator == 1
        ones = self.ones(x, rows.axis, float(rows.stride) if is_whole else 1.0)
        options = {"exclusive": True, "reverse": False}
        places = emitter.value("places", ones, dims(ones))
        emitter.op("CUMSUM", [ones, emitter.integer(rows.axis)], places, options)
        if not is_whole:  # the sum of many fractions would be less exact
            places = emitter.multiply(places, self._number(x, rows.stride), "places")
        return emitter.add(places, self._number(x, first * rows.stride), "places") if first else places

    def ones(self, x: Value, axis: int, number: float = 1.0) -> Value:
        """Return ``number`` for each row of ``x``: [1, ..., rows, ..., 1], float32."""
        emitter, shape = self._emitter, dims(x)
        if shape[axis] is not None:
            return emitter.weights(
                "ones", np.full(along(len(shape), axis, shape[axis] or 0, 1), number, np.float32)
            )
        rank, here = len(shape), 1 << axis
        bounds = [emitter.integers(*[bound] * rank) for bound in (0, 1, 1)]
        column = emitter.value(
            "column", x, tuple(size if place == axis else 1 for place, size in enumerate(shape))
        )
        options = {"beginMask": here, "endMask": here, "shrinkAxisMask": 0}
        zeros = emitter.zeros_like(emitter.op("STRIDED_SLICE", [x, *bounds], column, options))
        if zeros.type.dtype is not DType.FLOAT32:
            zeros = emitter.cast(zeros, DType.FLOAT32, "zeros")
        return emitter.add(zeros, self._number(x, Fraction(number)), "ones")

    def total(self, x: Value, axis: int, name: str) -> Value:
        """Return the sum of ``x`` [1, ..., rows, ..., 1] over its rows: [1], float32."""
        if x.data is not None:
            return self._emitter.weights(name, x.data.sum().reshape(1))
        ones = self._emitter.value(name, x, (1,) * len(dims(x)))
        self._emitter.op("SUM", [x, self._emitter.integers(axis)], ones, {"keepDims": True})
        return self._emitter.op("RESHAPE", [ones, self._emitter.integers(1)], self._emitter.value(name, x, (1,)))

    def _steps_before(self) -> Value:
        """Return how many steps came before the chunk: [1], float32."""
        if self._count is None:
            emitter = self._emitter
            self._count = self.state("steps", DType.FLOAT32, (1,))
            chunk = self.total(self.ones(self._x, self._axis), self._axis, "steps")
            limit = emitter.weights("most", np.full(1, MOST_STEPS, np.float32))
            self.end(self._count, emitter.minimum(emitter.add(self._count, chunk, "steps"), limit, "steps"))
        return self._count


def along(rank: int, axis: int, number: int, others: int) -> list[int]:
    """Return ``number`` for one axis, and ``others`` for all others."""
    return [number if place == axis else others for place in range(rank)]
