"""Reductions over time and running sums on chunks: what was reduced before is a state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.streaming.facts import Plan, Rows
from converter.emission.streaming.past import LARGEST
from converter.emission.streaming.rewriter import Rewriter, layer_of
from converter.ir import DType, TfliteOp, Value, attributes, dims


def reduce(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """Reduce the chunk, and combine it with what was reduced before."""
    layer, emitter = layer_of(op.name), rewriter.emitter
    x, result = rewriter.x(op, plan), rewriter.result(op.results[0])
    kind = "SUM" if op.builtin == "MEAN" else op.builtin
    chunk = emitter.value("chunk", result, dims(result))
    axes = emitter.constant("axes", np.array(attributes.axes(op) or (), np.int32))
    emitter.op(kind, [x, axes], chunk, {"keepDims": attributes.keeps_dims(op)})
    name = f"{layer}_{kind.removeprefix('REDUCE_').lower()}"
    before = rewriter.past.state(name, result.type.dtype, dims(result))
    if op.builtin == "MEAN":
        total = emitter.add(before, chunk, "sum")
        rewriter.past.end(before, total)
        emitter.binary("DIV", total, _elements(rewriter, op, rewriter.read_rows(op, plan), x, layer), result)
    elif op.builtin == "SUM":
        rewriter.past.end(before, emitter.add(before, chunk, result))
    else:
        outside = emitter.number(-LARGEST if kind == "REDUCE_MAX" else LARGEST)
        seen, _ = _counts(rewriter, x, rewriter.read_rows(op, plan), layer)
        is_first = emitter.less(seen, emitter.constant("one", np.ones(1, np.int32)), "is_first")
        kept = emitter.select(is_first, outside, before, emitter.value("kept", before, dims(before)))
        combine = emitter.maximum if kind == "REDUCE_MAX" else emitter.minimum
        rewriter.past.end(before, combine(kept, chunk, result))


def _elements(rewriter: Rewriter, op: TfliteOp, rows: Rows, x: Value, layer: str) -> Value:
    """Return how many elements were summed for each element of a MEAN, at least one: [1], float32."""
    emitter = rewriter.emitter
    _, count = _counts(rewriter, x, rows, layer)
    number = emitter.cast(count, DType.FLOAT32, "count")
    others = {axis % len(dims(x)) for axis in attributes.axes(op) or ()} - {rows.axis}
    each = float(np.prod([dims(x)[axis] or 1 for axis in others]))
    if each != 1:
        number = emitter.multiply(number, emitter.weights("each", np.full(1, each, np.float32)), "number")
    return emitter.maximum(number, emitter.weights("one", np.ones(1, np.float32)), "number")


def _counts(rewriter: Rewriter, x: Value, rows: Rows, layer: str) -> tuple[Value, Value]:
    """Return how many rows of the sequence came before the chunk, and how many with it: two int32 [1]."""
    emitter, past = rewriter.emitter, rewriter.past
    before = past.state(f"{layer}_count", DType.INT32, (1,))
    known = dims(x)[rows.axis]
    if known is not None and not past.varies(rows):
        chunk = emitter.constant("rows", np.array([known], np.int32))
    else:
        ones = past.ones(x, rows.axis)
        if past.varies(rows):
            ones = emitter.select(past.is_inside(x, rows), ones, emitter.number(0.0), "inside")
        chunk = emitter.cast(past.total(ones, rows.axis, "rows"), DType.INT32, "rows")
    after = emitter.add(before, chunk, "count")
    past.end(before, after)
    return before, after


def cumulate(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """A CUMSUM of the chunk, and the sum before it added to each row."""
    rows, emitter = rewriter.rows(op.operand(0)), rewriter.emitter
    x, result = rewriter.x(op, plan), rewriter.result(op.results[0])
    shape = tuple(1 if axis == rows.axis else size for axis, size in enumerate(dims(x)))
    total = emitter.op(
        "SUM", [x, emitter.integers(rows.axis)], emitter.value("total", x, shape), {"keepDims": True}
    )
    before = rewriter.past.state(f"{layer_of(op.name)}_sum", x.type.dtype, shape)
    here = emitter.value("here", result, dims(result))
    emitter.ops.append(replace(op, operands=(x, *op.operands[1:]), results=(here,)))
    emitter.add(here, before, result)
    rewriter.past.end(before, emitter.add(before, total, "sum"))
