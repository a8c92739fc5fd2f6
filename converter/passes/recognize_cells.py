"""recognize-cells: replace scans whose step is one or more known cells by recurrences.

A scan of several cells of which some are known becomes a chain of recurrences and scans. The other scans record
the reason in ``refused``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.errors import Rejection
from converter.ir import Graph, Names, Op, Program, Recurrence, Scan
from converter.ir.verify import broken_recurrence
from converter.recognition import recognize
from converter.recognition.splitting import Groups, groups_of, split
from converter.rules import Rule

_HINT = "it becomes a loop, as it is; cells of TensorFlow 1, Keras and tflite_rnn.nn are recognised"


def recognize_cells(program: Program) -> Program:
    """Replace each scan whose cells are known by recurrences."""
    return program.map_graphs(_recognize_in)


def cells_recognized(program: Program) -> bool:
    """True if every scan records why it is not a recurrence."""
    return all(op.refused for op in program.scans())


def _recognize_in(graph: Graph) -> Graph:
    around = Dimensions.of(graph.ops)
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Scan) and not op.refused:
            ops += _recognized(op, around, names)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops))


def _recognized(scan: Scan, around: Dimensions, names: Names) -> Iterator[Op]:
    outcome = _outcome(scan, around, names)
    if isinstance(outcome, str):
        yield from _in_parts(scan, around, names) or [replace(scan, refused=(_refusal(scan, outcome),))]
    else:
        yield from outcome


def _outcome(scan: Scan, around: Dimensions, names: Names) -> list[Op] | str:
    """Return the ops that replace a scan, or why its cells are not recognised."""
    trial = names.copy()
    outcome = recognize(scan, around, trial)
    if isinstance(outcome, str):
        return outcome
    faults = [fault for op in outcome if isinstance(op, Recurrence) for fault in broken_recurrence(op)]
    if faults:
        return faults[0]  # what the file declares of a result does not fit
    names.update(trial)
    return [
        replace(op, refused=(_refusal(op, "it has no state"),)) if isinstance(op, Scan) else op for op in outcome
    ]


def _in_parts(scan: Scan, around: Dimensions, names: Names) -> list[Op] | None:
    """Return a chain of recurrences and scans, None if no part of the scan is a known cell."""
    groups, trial = groups_of(scan), names.copy()
    chain = _chain(scan, groups, around, trial) if len(groups) > 1 else []
    known = [not isinstance(outcome, str) for outcome, _ in chain]
    if not any(known):
        return None
    joined: list[tuple[int, ...]] = []
    for place, group in enumerate(groups):
        if place and not known[place] and not known[place - 1]:
            joined[-1] += group
        else:
            joined.append(group)
    if len(joined) < len(groups):
        trial = names.copy()
        chain = _chain(scan, joined, around, trial)
    names.update(trial)
    return [
        op
        for outcome, part in chain
        for op in ([replace(part, refused=(_refusal(part, outcome),))] if isinstance(outcome, str) else outcome)
    ]


def _chain(scan: Scan, groups: Groups, around: Dimensions, names: Names) -> list[tuple[list[Op] | str, Scan]]:
    """Return what becomes of each part of a scan, and the part, in their order; nothing if it has no parts."""
    found = []
    for part in split(scan, groups, names) or []:
        outcome = _outcome(part, around, names)
        found.append((outcome, part))
        around = around.extended([part] if isinstance(outcome, str) else outcome)
    return found


def _refusal(scan: Scan, reason: str) -> Rejection:
    return Rejection(Rule.KNOWN_CELLS, scan.place, f"the loop is not a known cell: {reason}", _HINT)
