"""The shapes of what a loop carries: TFLiteConverter leaves sizes open that the loop starts with, and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.ir import Graph, Op, Shape, TensorType, TfliteOp, Value, rewire
from converter.ir.shapes import refined_value, result_shapes
from converter.raising.loop import Loop


def with_state_shapes(loop: Loop) -> Loop:
    """Return ``loop`` with a body that carries values in the shapes in which they are before the loop.

    A value keeps the shape that the body declares if that says as much, or if a step may change its shape: with
    shapes assumed for the inputs of the body, those of its outputs have to be the same.
    """
    assumed = {
        position: shape
        for position in loop.positions
        if (shape := _more_exact(loop.initial(position).type.shape, loop.body.inputs[position])) is not None
    }
    while assumed:
        body = _refined(loop.body, assumed)
        kept = {
            position: shape for position, shape in assumed.items() if body.outputs[position].type.shape == shape
        }
        if kept == assumed:
            return replace(loop, body=body, inside=body.producers())
        assumed = kept
    return loop


def _more_exact(before: Shape | None, inside: Value) -> Shape | None:
    """Return the shape before the loop if it is fixed, and that inside is the same but for open sizes."""
    declared = inside.type.shape
    if before is None or None in before or declared == before:
        return None
    if declared is None:
        return before
    agrees = len(declared) == len(before) and all(a in {None, b} for a, b in zip(declared, before, strict=True))
    return before if agrees else None


def _refined(body: Graph, shapes: Mapping[int, Shape]) -> Graph:
    """Return ``body`` with inputs of these shapes, and what follows from them."""
    inputs = tuple(
        replace(value, type=TensorType(value.type.dtype, shapes[position])) if position in shapes else value
        for position, value in enumerate(body.inputs)
    )
    other = {old: new for old, new in zip(body.inputs, inputs, strict=True) if old is not new}
    ops: list[Op] = []
    for op in body.ops:
        made = rewire(op, other)
        if isinstance(made, TfliteOp):
            inferred = zip(made.results, result_shapes(made), strict=True)
            made = replace(made, results=tuple(refined_value(value, shape) for value, shape in inferred))
        other |= {old: new for old, new in zip(op.results, made.results, strict=True) if old is not new}
        ops.append(made)
    return Graph(body.name, inputs, tuple(other.get(value, value) for value in body.outputs), tuple(ops))
