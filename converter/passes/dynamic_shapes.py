"""Which tensors the runtimes may size only while they run.

TFLite plans memory when tensors are allocated, from the shapes of the graph's inputs. A tensor whose shape
depends on computed numbers is *dynamic*: it is sized during the invoke, and so is everything that runs after it,
whether it reads it or not. A delegate may change the order: only what reads a result is sure to run later.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from converter.ir import Graph, Lowering, Op, Recurrence, TfliteOp, Value

# Operands that hold shapes, sizes, axes or indices: unless they are constants, the result is dynamic.
_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "ARG_MAX": (1,),
    "ARG_MIN": (1,),
    "BATCH_TO_SPACE_ND": (1, 2),
    "BROADCAST_TO": (1,),
    "CONV_3D_TRANSPOSE": (0,),
    "DYNAMIC_UPDATE_SLICE": (),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "MIRROR_PAD": (1,),
    "ONE_HOT": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "RANGE": (0, 1, 2),
    "REDUCE_ALL": (1,),
    "REDUCE_ANY": (1,),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "REDUCE_PROD": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPARSE_TO_DENSE": (1,),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TOPK_V2": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}

# The size of these results depends on data, or on another graph.
_ALWAYS = frozenset(
    {"CALL", "CUSTOM", "IF", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "UNIQUE", "WHERE", "WHILE"}
)


def first_unsettled(graph: Graph, op: Recurrence) -> Op | None:
    """Return an op of ``graph`` that a runtime may size before ``op`` runs; None if there is surely none."""
    dynamic: set[Value] = set()
    later: set[Value] = set(op.results)
    for other in graph.ops:
        if any(value in later for value in other.operands):
            later.update(other.results)
        if _sizes_its_results(other, dynamic):
            dynamic.update(other.results)
            if not later.intersection(other.results):
                return other
    return None


def _sizes_its_results(op: Op, dynamic: Set[Value]) -> bool:
    """Whether a runtime may size the results of ``op`` while it runs, given what is ``dynamic``; in doubt, yes."""
    if any(value in dynamic for value in op.operands):
        return True
    if isinstance(op, Recurrence):
        return op.lowering is Lowering.WHILE and not all(value.type.is_static for value in op.results)
    return _computes_a_shape(op)


def _computes_a_shape(op: TfliteOp) -> bool:
    if op.builtin in _ALWAYS:
        return True
    # A SLICE with a -1 size resolves it while running; its planned shape is only a guess.
    if op.builtin == "SLICE" and not all(value.type.is_static for value in op.results):
        return True
    operands = [op.operands[index] for index in _SHAPE_OPERANDS.get(op.builtin, ()) if index < len(op.operands)]
    return any(value is not None and not value.is_constant for value in operands)
