"""Find the tensors whose size a runtime may only know while it runs.

TFLite plans memory when tensors are allocated, from the shapes of the graph's inputs. A tensor whose shape depends
on computed numbers is *dynamic*: it is sized during the invoke, and so is every tensor of later ops, whether they
read it or not. A delegate may change the order of ops: only the readers of a result are certain to run later.
"""

from __future__ import annotations

from collections.abc import Set

from converter.ir import Bidirectional, Graph, Lowering, Op, Recurrent, TfliteOp, Value, facts


def first_unsettled(graph: Graph, op: Recurrent) -> Op | None:
    """Return an op of ``graph`` whose results may be sized before ``op`` runs, None if there is certainly none."""
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
    """Whether the results of ``op`` may be sized at run time, as ``dynamic`` values are; in doubt, True."""
    if any(value in dynamic for value in op.operands):
        return True
    if isinstance(op, Bidirectional):
        return False
    if not isinstance(op, TfliteOp):
        return op.lowering is not Lowering.FUSED and not all(value.type.is_static for value in op.results)
    return computes_a_shape(op)


def computes_a_shape(op: TfliteOp) -> bool:
    """Whether the result shapes depend on more than the operands' shapes and constants; in doubt, True."""
    sized_by = facts(op).sized_by
    if sized_by is None:
        return True
    # A SLICE with a size of -1 resolves it at run time; its planned shape is a guess.
    if op.builtin == "SLICE" and not all(value.type.is_static for value in op.results):
        return True
    operands = [op.operands[index] for index in sized_by if index < len(op.operands)]
    return any(value is not None and not value.is_constant for value in operands)
