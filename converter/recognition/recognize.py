"""Replace a scan by recurrences: the stages of recognition in their order."""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.analysis.trip_count import runs_all
from converter.ir import Names, Op, Producers, Recurrence, Scan, TfliteOp, Value, has_effects
from converter.recognition.cells import find_cells
from converter.recognition.components import components_of
from converter.recognition.plan import NoPlanError, Step, in_float32, in_order, plan
from converter.recognition.symbolic_execution import execute_symbolically
from converter.recognition.translation_validation import computes_the_same, with_open_inputs
from converter.recognition.unmask import unmask


def recognize(scan: Scan, around: Dimensions, names: Names) -> list[Op] | str:
    """Return the ops that replace ``scan``, or the first reason why its cells are not recognised.

    ``around`` and ``names`` are the values and the names of the graph that holds the scan.
    """
    try:
        step = _understood(scan, around.producers)
    except NoPlanError as reason:
        return str(reason)
    lengths = _around(scan, step.unmasked.lengths)
    if not runs_all(scan, lengths, around):
        return "it may not run every step of its sequences"
    try:
        trial = with_open_inputs(scan)
        if not computes_the_same(
            trial, plan(trial, step, around.producers, names.copy()), lengths, around.producers
        ):
            return "its results differ from those of the cells that it resembles"
        return [_rounded(op) for op in plan(scan, step, around.producers, names)]
    except NoPlanError as reason:
        return str(reason)


def _understood(scan: Scan, around: Producers) -> Step:
    """Return the step in terms of cells. Raises NoPlanError with the reason if there is none."""
    if not scan.initial_state or not scan.sequences:
        raise NoPlanError("it has no state" if scan.sequences else "it reads no sequence")
    for op in scan.body.ops:
        if not isinstance(op, TfliteOp):
            raise NoPlanError(f"its step contains the recurrence {op.name}")
        if has_effects(op):
            raise NoPlanError(
                f"its step contains {op.name}, a {op.kind}, which may do more than compute its results"
            )
    unmasked = unmask(scan, around)
    if isinstance(unmasked, str):
        raise NoPlanError(unmasked)
    components = components_of(scan.body, unmasked.states)
    if isinstance(components, str):
        raise NoPlanError(components)
    symbolic = execute_symbolically(scan, components)
    cells = find_cells(symbolic)
    if isinstance(cells, str):
        raise NoPlanError(cells)
    return Step(unmasked, symbolic, in_order(cells))


def _around(scan: Scan, value: Value | None) -> Value | None:
    """Return the operand of the scan behind an invariant of the step."""
    return dict(zip(scan.step.invariants, scan.invariants, strict=True)).get(value, value) if value else None


def _rounded(op: Op) -> Op:
    if not isinstance(op, Recurrence):
        return op
    return replace(op, cell=in_float32(op.cell))
