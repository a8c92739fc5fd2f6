"""keep-axes: make one FULLY_CONNECTED of a dense layer over the last axis of a sequence.

``tf.tensordot``, and so a dense layer over sequences, arrives as RESHAPE to a matrix, FULLY_CONNECTED, and RESHAPE
to the original shape. If that shape is computed, all later tensors are sized at run time, and no fused op with an
unknown batch may follow. FULLY_CONNECTED itself can keep the other axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from converter.analysis.dimensions import Dimensions
from converter.ir import (
    Array,
    DType,
    FullyConnected,
    Graph,
    Op,
    Program,
    TfliteOp,
    Value,
    as_tflite,
    attributes,
    made_by,
)
from converter.ir.dimensions import SymbolicShape


def keep_axes(program: Program) -> Program:
    """Replace RESHAPE, FULLY_CONNECTED, RESHAPE by a FULLY_CONNECTED where that keeps every axis but the last."""
    return program.map_graphs(_kept)


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """A FULLY_CONNECTED over a matrix made of ``x``, and the RESHAPE of its result that restores x's axes."""

    dense: TfliteOp
    x: Value
    back: Op


def _kept(graph: Graph) -> Graph:
    matches = _matches(graph)
    ops = tuple(_one(matches[op]) if op in matches else op for op in graph.ops)
    return replace(graph, ops=ops)


def _matches(graph: Graph) -> dict[Op, _Dense]:
    """Return the matches by the RESHAPE that is their last op."""
    around = Dimensions.of(graph.ops)
    found: dict[Op, _Dense] = {}
    for op in graph.ops:
        match = _match(op, around)
        if match is not None:
            found[op] = match
    return found


def _match(back: Op, around: Dimensions) -> _Dense | None:
    reshape = as_tflite(back, "RESHAPE")
    if reshape is None or len(reshape.operands) < 2:
        return None
    op = made_by(reshape.operand(0), around.producers, "FULLY_CONNECTED")
    dense = FullyConnected.match(op)
    matrix = None if dense is None else made_by(dense.x, around.producers, "RESHAPE")
    if op is None or dense is None or matrix is None or op.results[0].type.rank not in (2, None):
        return None
    x, kernel = matrix.operand(0), dense.weights.data
    if kernel is None or dense.shuffled or not _is_over_last_axis(kernel, x):
        return None
    wanted, shape = around.elements(reshape.operand(1)), around.shape(x)
    if wanted is None or shape is None or not _is_same((*shape[:-1], kernel.shape[0]), wanted):
        return None
    return _Dense(op, x, back)


def _is_over_last_axis(kernel: Array, x: Value) -> bool:
    is_matrix = kernel.ndim == 2 and kernel.shape[0] > 0
    return is_matrix and x.type.dtype is DType.FLOAT32 and (x.type.shape or ())[-1:] == kernel.shape[1:]


def _is_same(shape: SymbolicShape, wanted: SymbolicShape) -> bool:
    """Whether reshaping to ``wanted`` gives ``shape``; one number in it may be -1, the rest then decides."""
    open_places = [place for place, size in enumerate(wanted) if size == -1]
    return (
        len(shape) == len(wanted)
        and len(open_places) <= 1
        and all(place in open_places or shape[place] == size for place, size in enumerate(wanted))
    )


def _one(match: _Dense) -> TfliteOp:
    dense, result = match.dense, match.back.results[0]
    return replace(attributes.keeping_axes(dense), operands=(match.x, *dense.operands[1:]), results=(result,))
