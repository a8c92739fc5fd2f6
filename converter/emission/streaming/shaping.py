"""Ops that name the size of time or a place in it, written anew for chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.streaming.facts import Plan
from converter.emission.streaming.rewriter import Rewriter, layer_of
from converter.ir import TfliteOp, attributes, dims, rewire


def alias(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """The operand, once fed, is the result."""
    rewriter.alias(op.results[0], rewriter.x(op, plan))


def resize(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """Name the sizes of a result anew, and leave that of time to the kernel if it can be left."""
    emitter, axis = rewriter.emitter, rewriter.rows(op.results[0]).axis
    x = rewriter.x(op, plan)
    sizes = [size if isinstance(size, int) else -1 for size in rewriter.sizes.shape(op.results[0]) or ()]
    sizes[axis] = -1
    if sizes.count(-1) > 1:  # of an unknown batch: what measures it measures the chunk
        rewriter.emit(rewire(op, rewriter.values(op)))
        return
    if op.builtin == "SLICE":
        begins = rewriter.sizes.elements(op.operand(1)) or ()
        numbers = [begin if isinstance(begin, int) else 0 for begin in begins]
        rewriter.emit(replace(op, operands=(x, emitter.integers(*numbers), emitter.integers(*sizes))))
    elif op.builtin == "BROADCAST_TO":
        named = [emitter.integer(size) for size in sizes]
        named[axis] = emitter.dimension(x, axis - len(sizes) + len(dims(x)))
        known = [int(size.data) for size in named if size.data is not None]
        shape = emitter.integers(*known) if len(known) == len(named) else emitter.pack(named, "sizes")
        rewriter.emit(replace(op, operands=(x, shape)))
    else:
        emitter.op("RESHAPE", [x, emitter.integers(*sizes)], rewriter.result(op.results[0]))


def last(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """A STRIDED_SLICE of the last row so far."""
    axis = rewriter.rows(op.operand(0)).axis
    bounds = [
        _changed(attributes.integers(op.operand(place)) or (), axis, number) for place, number in ((1, -1), (2, 0))
    ]
    operands = (rewriter.x(op, plan), *(rewriter.emitter.integers(*bound) for bound in bounds), op.operand(3))
    rewriter.emit(replace(op, operands=operands))


def latest(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """A STRIDED_SLICE of the last row of the sequence so far: of this chunk if it has one, else the one before."""
    rows, emitter, past = rewriter.read_rows(op, plan), rewriter.emitter, rewriter.past
    x = rewriter.x(op, plan)
    rank, axis = len(dims(x)), rows.axis
    inside = emitter.select(past.is_inside(x, rows), past.ones(x, axis), emitter.number(0.0), "inside")
    # A row is the last one if it is inside, and no row behind it is: rows of a chunk are inside without a gap.
    options = {"exclusive": True, "reverse": True}
    behind = emitter.value("behind", inside, dims(inside))
    emitter.op("CUMSUM", [inside, emitter.integer(axis)], behind, options)
    none = emitter.less(behind, emitter.number(0.5), "is_end")
    here = emitter.less(emitter.number(0.5), inside, "is_inside")
    is_last = emitter.op("LOGICAL_AND", [here, none], emitter.value("is_last", here, dims(inside)))
    shape = tuple(1 if place == axis else size for place, size in enumerate(dims(x)))
    row = emitter.value("row", x, shape)
    chosen = emitter.select(is_last, x, emitter.number(0.0), "chosen")
    emitter.op("SUM", [chosen, emitter.integers(axis)], row, {"keepDims": True})
    count = emitter.value("count", inside, (1,) * rank)
    emitter.op("SUM", [inside, emitter.integers(axis)], count, {"keepDims": True})
    before = past.state(f"{layer_of(op.name)}_last", x.type.dtype, shape)
    has_row = emitter.less(emitter.number(0.5), count, "has_row")
    final = emitter.select(has_row, row, before, emitter.value("last", row, shape))
    past.end(before, final)
    begins, ends = (attributes.integers(op.operand(place)) or () for place in (1, 2))
    bounds = [emitter.integers(*_changed(*bound)) for bound in ((begins, axis, 0), (ends, axis, 1))]
    rewriter.emit(replace(op, operands=(final, *bounds, op.operand(3))))


def part(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """Cut along time by feeding, and along other axes by the op itself."""
    rows, emitter = rewriter.rows(op.operand(0)), rewriter.emitter
    x = rewriter.x(op, plan)
    stride = int(rewriter.rows(op.results[0]).stride / rows.stride)
    if stride > 1:
        x = rewriter.past.part(x, rows.axis, None, None, stride)
    rest = attributes.whole_along(op, rows.axis)
    if rest is None:
        rewriter.alias(op.results[0], x)
        return
    numbers = (0, -1) if op.builtin == "SLICE" else (0, 0, 1)
    bounds = [
        emitter.integers(*_changed(attributes.integers(value) or (), rows.axis, number))
        for value, number in zip(op.operands[1:], numbers, strict=True)
    ]
    rewriter.emit(replace(rest, operands=(x, *bounds)))


def pad(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """A PAD of other axes than time."""
    axis = rewriter.rows(op.operand(0)).axis
    pairs = np.array(attributes.integers(op.operand(1)) or (), np.int32).reshape(-1, 2)
    pairs[axis] = 0
    paddings = rewriter.emitter.constant("paddings", pairs)
    rewriter.emit(replace(op, operands=(rewriter.x(op, plan), paddings, *op.operands[2:])))


def _changed(numbers: tuple[int, ...], place: int, number: int) -> list[int]:
    return [number if axis == place else other for axis, other in enumerate(numbers)]
