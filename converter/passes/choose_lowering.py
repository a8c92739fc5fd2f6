"""choose-lowering: every recurrence gets the form it is lowered to, or the conversion ends with the reasons.

The fused op where it is exact, else the loop. A loop is itself sized while the model runs, which not every fused
op beside it can stand, so the choice is repeated until it changes no more: at worst all are loops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from converter.analysis.dynamic_shapes import first_unsettled
from converter.errors import ConversionError, Rejection
from converter.ir import Graph, Lowering, Op, Program, Recurrence, Recurrent, Scan
from converter.options import ConvertOptions
from converter.passes.legality import fused_rejections, loop_rejections, scan_rejections, unrolled_rejections
from converter.targets import RULES


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What was chosen for one recurrence or scan, and why nothing better."""

    op: Recurrent
    refused: tuple[Rejection, ...]


def choose_lowering(program: Program, options: ConvertOptions) -> Program:
    """Choose a lowering for each recurrence and scan.

    Raises ConversionError with the rejections of every recurrence that has no exact lowering, or not the one that
    the options ask for.
    """
    chosen: list[Mapping[Recurrent, Choice]] = [
        _choose(graph, options, is_main=graph is program.main) for graph in program.graphs
    ]
    choices: list[Choice] = [choice for of_graph in chosen for choice in of_graph.values()]
    rejections = [reason for choice in choices if choice.op.lowering is None for reason in choice.refused]
    if rejections:
        raise ConversionError("no lowering computes the model exactly", rejections)
    graphs = (_applied(graph, of_graph) for graph, of_graph in zip(program.graphs, chosen, strict=True))
    return replace(program, graphs=tuple(graphs))


def explain_lowering(program: Program, options: ConvertOptions) -> tuple[Choice, ...]:
    """Return what `choose_lowering` chooses for each op, and the refusals that the better forms met."""
    return tuple(
        choice
        for graph in program.graphs
        for choice in _choose(graph, options, is_main=graph is program.main).values()
    )


def lowerings_chosen(program: Program) -> bool:
    """True if every recurrence and scan has a lowering."""
    return all(op.lowering is not None for op in program.ops() if isinstance(op, Recurrence | Scan))


def _choose(graph: Graph, options: ConvertOptions, *, is_main: bool) -> Mapping[Recurrent, Choice]:
    """Return the choice for each recurrence and scan of ``graph``, those in the bodies of scans too."""
    scans = [op for op in graph.ops if isinstance(op, Scan)]
    choices: dict[Recurrent, Choice] = {op: _scan_choice(op, options) for op in scans}
    for scan in scans:
        choices |= _choose(scan.body, options, is_main=False)
    return choices | _choose_recurrences(graph, choices, options, is_main=is_main)


def _choose_recurrences(
    graph: Graph, others: Mapping[Recurrent, Choice], options: ConvertOptions, *, is_main: bool
) -> dict[Recurrent, Choice]:
    """Return the choice for each recurrence of ``graph``: fused for all that can, then fewer until all agree."""
    recurrences = [op for op in graph.ops if isinstance(op, Recurrence)]
    choices: dict[Recurrent, Choice] = {op: _choice(op, None, options, is_main=is_main) for op in recurrences}
    while True:
        current = _applied(graph, {**others, **choices})
        again: dict[Recurrent, Choice] = {
            op: _choice(op, first_unsettled(current, choices[op].op), options, is_main=is_main)
            if choices[op].op.lowering is Lowering.FUSED
            else choices[op]
            for op in recurrences
        }
        if all(again[op].op.lowering is choices[op].op.lowering for op in recurrences):
            return again
        choices = again


def _applied(graph: Graph, choices: Mapping[Recurrent, Choice]) -> Graph:
    def chosen(op: Op) -> Op:
        if not isinstance(op, Recurrence | Scan):
            return op
        made = choices[op].op
        return replace(made, body=_applied(made.body, choices)) if isinstance(made, Scan) else made

    return replace(graph, ops=tuple(chosen(op) for op in graph.ops))


def _choice(op: Recurrence, unsettled: Op | None, options: ConvertOptions, *, is_main: bool) -> Choice:
    refused: list[Rejection] = []
    for lowering in _candidates(options):
        if lowering is Lowering.FUSED:
            reasons = list(fused_rejections(op, unsettled, RULES[options.target], is_main=is_main))
        elif lowering is Lowering.WHILE:
            reasons = list(loop_rejections(op))
        else:
            reasons = [*loop_rejections(op), *unrolled_rejections(op)]
        if not reasons:
            return Choice(replace(op, lowering=lowering), tuple(refused))
        refused += [reason for reason in reasons if reason not in refused]
    return Choice(replace(op, lowering=None), tuple(refused))


def _scan_choice(op: Scan, options: ConvertOptions) -> Choice:
    refused: list[Rejection] = []
    for lowering in _candidates(options):
        reasons = list(scan_rejections(op, lowering))
        if not reasons:
            return Choice(replace(op, lowering=lowering), tuple(refused))
        refused += [reason for reason in reasons if reason not in refused]
    return Choice(replace(op, lowering=None), tuple(refused))


def _candidates(options: ConvertOptions) -> tuple[Lowering, ...]:
    """Return the forms to try, the best first. Unrolled steps are never better, only what somebody may ask for."""
    return (Lowering.FUSED, Lowering.WHILE) if options.lowering is None else (options.lowering,)
