"""recognize-cells: replace scans whose step is one or more known cells by recurrences.

The other scans record the reason in ``refused``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.errors import Rejection
from converter.ir import Graph, Names, Op, Program, Recurrence, Scan
from converter.ir.verify import broken_recurrence
from converter.recognition import recognize
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
    trial = names.copy()
    outcome = recognize(scan, around, trial)
    if not isinstance(outcome, str):
        faults = [fault for op in outcome if isinstance(op, Recurrence) for fault in broken_recurrence(op)]
        outcome = faults[0] if faults else outcome  # what the file declares of a result does not fit
    if isinstance(outcome, str):
        yield replace(scan, refused=(_refusal(scan, outcome),))
        return
    names.update(trial)
    for op in outcome:
        yield replace(op, refused=(_refusal(op, "it has no state"),)) if isinstance(op, Scan) else op


def _refusal(scan: Scan, reason: str) -> Rejection:
    return Rejection(Rule.KNOWN_CELLS, scan.place, f"the loop is not a known cell: {reason}", _HINT)
