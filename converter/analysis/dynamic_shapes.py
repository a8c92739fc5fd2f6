"""Which tensors the runtimes may size only while they run.

TFLite plans memory when tensors are allocated, from the shapes of the graph's inputs. A tensor whose shape
depends on computed numbers is *dynamic*: it is sized during the invoke, and so is everything that runs after it,
whether it reads it or not. A delegate may change the order: only what reads a result is sure to run later.
"""

from __future__ import annotations

from collections.abc import Set

from converter.ir import Bidirectional, Graph, Lowering, Op, Recurrent, TfliteOp, Value, facts


def first_unsettled(graph: Graph, op: Recurrent) -> Op | None:
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
    if isinstance(op, Bidirectional):
        return False
    if not isinstance(op, TfliteOp):
        return op.lowering is not Lowering.FUSED and not all(value.type.is_static for value in op.results)
    return computes_a_shape(op)


def computes_a_shape(op: TfliteOp) -> bool:
    """Whether the shapes of the results depend on more than the operands' shapes and constants; in doubt, yes."""
    sized_by = facts(op).sized_by
    if sized_by is None:
        return True
    # A SLICE with a -1 size resolves it while running; its planned shape is only a guess.
    if op.builtin == "SLICE" and not all(value.type.is_static for value in op.results):
        return True
    operands = [op.operands[index] for index in sized_by if index < len(op.operands)]
    return any(value is not None and not value.is_constant for value in operands)
