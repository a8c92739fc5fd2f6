"""choose-lowering: every recurrence gets the form it is lowered to, or the conversion ends with the reasons."""

from __future__ import annotations

from dataclasses import replace

from converter.errors import ConversionError, Rejection
from converter.ir import Graph, Lowering, Op, Program, Recurrence
from converter.passes.legality import fused_rejections


def choose_lowering(program: Program) -> Program:
    """Choose the fused op for each recurrence that it computes exactly.

    Raises ConversionError with the rejections of every recurrence that has no exact lowering.
    """
    rejections = [
        rejection
        for graph in program.graphs
        for op in graph.ops
        if isinstance(op, Recurrence)
        for rejection in _rejections(op, graph, program)
    ]
    if rejections:
        raise ConversionError("no lowering computes the model exactly", rejections)
    return program.map_ops(_choose)


def lowerings_chosen(program: Program) -> bool:
    """True if every recurrence has a lowering."""
    return all(op.lowering is not None for op in program.recurrences())


def _rejections(op: Recurrence, graph: Graph, program: Program) -> list[Rejection]:
    rejections = list(fused_rejections(op, graph))
    # Inside control flow the runtimes keep state tensors per call of the body, each in its own way.
    if graph is not program.main:
        rejections.append(
            Rejection(
                "fused-in-control-flow",
                op.place,
                f"the recurrence runs inside the {graph.name} of a tf.while_loop or tf.cond",
                "call dynamic_rnn outside of it",
            )
        )
    return rejections


def _choose(op: Op) -> Op:
    return replace(op, lowering=Lowering.FUSED) if isinstance(op, Recurrence) else op
