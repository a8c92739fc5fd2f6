"""choose-lowering: choose the lowering of every recurrence, or refuse the conversion with the reasons.

The fused op is chosen where it is exact, else the loop. A loop may be sized at run time, which rules out some
fused ops after it. So the choice is repeated until it does not change; at worst all are loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from converter.analysis.dynamic_shapes import first_unsettled
from converter.errors import ConversionError, Rejection
from converter.ir import Graph, Lowering, Op, Program, Recurrence, Recurrent, Scan
from converter.options import ConvertOptions
from converter.passes.legality import fused_rejections, loop_rejections, scan_rejections, unrolled_rejections


def choose_lowering(program: Program, options: ConvertOptions) -> Program:
    """Choose a lowering for each recurrence and scan.

    Raises ConversionError with the rejections of every recurrence that has no exact lowering, or not the one that
    the options ask for.
    """
    chosen = [_choose(graph, options, is_main=graph is program.main) for graph in program.graphs]
    rejections = [
        reason for choices in chosen for op in choices.values() if op.lowering is None for reason in op.refused
    ]
    if rejections:
        raise ConversionError("cannot convert the model exactly with the chosen options", rejections)
    graphs = (_applied(graph, choices) for graph, choices in zip(program.graphs, chosen, strict=True))
    return replace(program, graphs=tuple(graphs))


def lowerings_chosen(program: Program) -> bool:
    """True if every recurrence and scan has a lowering."""
    return all(op.lowering is not None for op in program.ops() if isinstance(op, Recurrence | Scan))


def _choose(graph: Graph, options: ConvertOptions, *, is_main: bool) -> Mapping[Recurrent, Recurrent]:
    """Return each recurrence and scan of ``graph``, and of the bodies of scans, with its lowering."""
    scans = [op for op in graph.ops if isinstance(op, Scan)]
    choices: dict[Recurrent, Recurrent] = {op: _scan_choice(op, options) for op in scans}
    for scan in scans:
        choices |= _choose(scan.body, options, is_main=False)
    return {**choices, **_choose_recurrences(graph, choices, options, is_main=is_main)}


def _choose_recurrences(
    graph: Graph, others: Mapping[Recurrent, Recurrent], options: ConvertOptions, *, is_main: bool
) -> Mapping[Recurrent, Recurrent]:
    """Return the recurrences of ``graph`` with their lowerings, with fewer fused ones until all are legal."""
    recurrences = [op for op in graph.ops if isinstance(op, Recurrence)]
    choices: dict[Recurrent, Recurrent] = {op: _choice(op, None, options, is_main=is_main) for op in recurrences}
    while True:
        current = _applied(graph, {**others, **choices})
        again: dict[Recurrent, Recurrent] = {
            op: _choice(op, first_unsettled(current, choices[op]), options, is_main=is_main)
            if choices[op].lowering is Lowering.FUSED
            else choices[op]
            for op in recurrences
        }
        if all(again[op].lowering is choices[op].lowering for op in recurrences):
            return again
        choices = again


def _applied(graph: Graph, choices: Mapping[Recurrent, Recurrent]) -> Graph:
    def chosen(op: Op) -> Op:
        if not isinstance(op, Recurrence | Scan):
            return op
        made = choices[op]
        return replace(made, body=_applied(made.body, choices)) if isinstance(made, Scan) else made

    return replace(graph, ops=tuple(chosen(op) for op in graph.ops))


def _choice(op: Recurrence, unsettled: Op | None, options: ConvertOptions, *, is_main: bool) -> Recurrence:
    def rejections(lowering: Lowering) -> Iterator[Rejection]:
        if lowering is Lowering.FUSED:
            yield from fused_rejections(op, unsettled, options.target, is_main=is_main)
        else:
            yield from loop_rejections(op)
        if lowering is Lowering.UNROLLED:
            yield from unrolled_rejections(op)

    lowering, refused = _first_without(rejections, options)
    return replace(op, lowering=lowering, refused=refused)


def _scan_choice(op: Scan, options: ConvertOptions) -> Scan:
    lowering, refused = _first_without(lambda lowering: scan_rejections(op, lowering), options)
    return replace(op, lowering=lowering, refused=refused)


def _first_without(
    rejections: Callable[[Lowering], Iterable[Rejection]], options: ConvertOptions
) -> tuple[Lowering | None, tuple[Rejection, ...]]:
    """Return the best legal lowering, None if there is none, and the rejections of the better ones."""
    refused: list[Rejection] = []
    # Unrolled steps are only used on request.
    for lowering in (Lowering.FUSED, Lowering.WHILE) if options.lowering is None else (options.lowering,):
        reasons = list(rejections(lowering))
        if not reasons:
            return lowering, tuple(refused)
        refused += [reason for reason in reasons if reason not in refused]
    return None, tuple(refused)
