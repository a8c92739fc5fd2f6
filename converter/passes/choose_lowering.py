"""choose-lowering: every recurrence gets the form it is lowered to, or the conversion ends with the reasons.

The fused op where it is exact, else the loop. The order is that of the graph, for a loop makes what follows it
dynamic, which a fused op may not stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from converter.errors import ConversionError, Rejection
from converter.ir import Graph, Lowering, Op, Program, Recurrence, Value
from converter.options import ConvertOptions
from converter.passes.dynamic_shapes import sizes_its_results
from converter.passes.legality import fused_rejections, loop_rejections


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What was chosen for one recurrence, and why nothing better."""

    op: Recurrence
    refused: tuple[Rejection, ...]


def choose_lowering(program: Program, options: ConvertOptions) -> Program:
    """Choose a lowering for each recurrence.

    Raises ConversionError with the rejections of every recurrence that has no exact lowering, or not the one that
    the options ask for.
    """
    choices, graphs = _choose(program, options)
    rejections = [reason for choice in choices if choice.op.lowering is None for reason in choice.refused]
    if rejections:
        raise ConversionError("no lowering computes the model exactly", rejections)
    return replace(program, graphs=graphs)


def explain_lowering(program: Program, options: ConvertOptions) -> tuple[Choice, ...]:
    """Return what `choose_lowering` chooses for each recurrence, and the refusals that the better forms met."""
    return _choose(program, options)[0]


def lowerings_chosen(program: Program) -> bool:
    """True if every recurrence has a lowering."""
    return all(op.lowering is not None for op in program.recurrences())


def _choose(program: Program, options: ConvertOptions) -> tuple[tuple[Choice, ...], tuple[Graph, ...]]:
    choices: list[Choice] = []
    graphs = []
    for graph in program.graphs:
        dynamic: set[Value] = set()
        ops: list[Op] = []
        for op in graph.ops:
            chosen = op
            if isinstance(op, Recurrence):
                choice = _choice(op, frozenset(dynamic), options, is_main=graph is program.main)
                choices.append(choice)
                chosen = choice.op
            if sizes_its_results(chosen, dynamic):
                dynamic.update(chosen.results)
            ops.append(chosen)
        graphs.append(replace(graph, ops=tuple(ops)))
    return tuple(choices), tuple(graphs)


def _choice(op: Recurrence, dynamic: frozenset[Value], options: ConvertOptions, *, is_main: bool) -> Choice:
    refused: list[Rejection] = []
    for lowering in (Lowering.FUSED, Lowering.WHILE):
        if options.lowering not in (None, lowering):
            continue
        reasons = list(_rejections(op, lowering, dynamic, is_main=is_main))
        if not reasons:
            return Choice(replace(op, lowering=lowering), tuple(refused))
        refused += [reason for reason in reasons if reason not in refused]
    return Choice(replace(op, lowering=None), tuple(refused))


def _rejections(
    op: Recurrence, lowering: Lowering, dynamic: frozenset[Value], *, is_main: bool
) -> list[Rejection]:
    if lowering is Lowering.WHILE:
        return list(loop_rejections(op))
    return list(fused_rejections(op, dynamic, is_main=is_main))
