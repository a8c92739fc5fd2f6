"""keep-axes: a dense layer over the last axis is one FULLY_CONNECTED that keeps the others.

``tf.tensordot``, and so a dense layer over sequences, arrives as RESHAPE to a matrix, FULLY_CONNECTED, and RESHAPE
to the shape that was. If that is computed, all that follows is sized while the model runs, and no fused op with an
unknown batch may come after it. FULLY_CONNECTED itself can keep the axes, and makes a matrix of anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from converter.analysis.computed_shapes import Size, Sizes, dimensions, sizes
from converter.ir import DType, Graph, Op, Program, TfliteOp, Value


def keep_axes(program: Program) -> Program:
    """Replace RESHAPE, FULLY_CONNECTED, RESHAPE by a FULLY_CONNECTED where that keeps every axis but the last."""
    return program.map_graphs(_kept)


def axes_kept(program: Program) -> bool:
    """True if no FULLY_CONNECTED stands between such reshapes."""
    return not any(_matches(graph) for graph in program.graphs)


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """A FULLY_CONNECTED over a matrix made of ``x``, and the RESHAPE of its result that restores x's axes."""

    dense: TfliteOp
    x: Value
    back: TfliteOp


def _kept(graph: Graph) -> Graph:
    matches = _matches(graph)
    ops = tuple(_one(matches[op]) if op in matches else op for op in graph.ops)
    return replace(graph, ops=ops)


def _matches(graph: Graph) -> dict[Op, _Dense]:
    """Return what is to be replaced, by the RESHAPE that is the last op of each."""
    producers = graph.producers()
    found: dict[Op, _Dense] = {}
    for op in graph.ops:
        match = _match(op, producers)
        if match is not None:
            found[op] = match
    return found


def _match(back: Op, producers: Mapping[Value, Op]) -> _Dense | None:
    dense = _producer(back, "RESHAPE", producers)
    to_matrix = None if dense is None else _producer(dense, "FULLY_CONNECTED", producers)
    if dense is None or to_matrix is None or to_matrix.builtin != "RESHAPE" or not isinstance(back, TfliteOp):
        return None
    x = to_matrix.operands[0]
    if x is None or not _is_over_last_axis(dense, x) or len(back.operands) < 2:
        return None
    wanted, leading = sizes(back.operands[1], producers), dimensions(x)
    units = Size(_kernel_shape(dense)[0])
    if wanted is None or leading is None or not _is_same((*leading[:-1], units), wanted):
        return None
    return _Dense(dense, x, back)


def _producer(op: Op, builtin: str, producers: Mapping[Value, Op]) -> TfliteOp | None:
    """Return the op that makes the first operand of ``op``, if ``op`` is a ``builtin``."""
    if not isinstance(op, TfliteOp) or op.builtin != builtin or op.operands[0] is None:
        return None
    found = producers.get(op.operands[0])
    return found if isinstance(found, TfliteOp) else None


def _kernel_shape(dense: TfliteOp) -> tuple[int, int]:
    """Return (units, depth) of a FULLY_CONNECTED's constant kernel; (0, 0) if it has none."""
    kernel = dense.operands[1]
    if kernel is None or kernel.data is None or kernel.data.ndim != 2:
        return 0, 0
    units, depth = kernel.data.shape
    return int(units), int(depth)


def _is_over_last_axis(dense: TfliteOp, x: Value) -> bool:
    units, depth = _kernel_shape(dense)
    return (
        units > 0
        and x.type.dtype is DType.FLOAT32
        and (x.type.shape or ())[-1:] == (depth,)
        and not dense.options.get("weightsFormat")
        and dense.results[0].type.rank in (2, None)
    )


def _is_same(shape: Sizes, wanted: Sizes) -> bool:
    """Whether reshaping to ``wanted`` gives ``shape``; one number in it may be -1, the rest then decides."""
    open_places = [place for place, size in enumerate(wanted) if size == Size(-1)]
    return (
        len(shape) == len(wanted)
        and len(open_places) <= 1
        and all(place in open_places or shape[place] == size for place, size in enumerate(wanted))
    )


def _one(match: _Dense) -> TfliteOp:
    dense, result = match.dense, match.back.results[0]
    has_bias = len(dense.operands) > 2 and dense.operands[2] is not None
    return replace(
        dense,
        operands=(match.x, *dense.operands[1:]),
        results=(result,),
        options={**dense.options, "keepNumDims": True},
        version=max(dense.version, 5 if has_bias else 6),
    )
