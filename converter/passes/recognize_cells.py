"""recognize-cells: scans whose step is a known cell, or several, become recurrences.

A scan that is not recognised says why in its ``refused``, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.analysis.sizes import Producers, size_of, time_of
from converter.analysis.zeros import is_zero
from converter.errors import Rejection
from converter.ir import Graph, Names, Op, Program, Scan, TfliteOp, Value
from converter.recognition import recognize
from converter.rules import Rule

_HINT = "its step runs in a loop as it is; a cell of TensorFlow 1, Keras or tflite_rnn.nn would be recognised"


def recognize_cells(program: Program) -> Program:
    """Replace each scan whose cells are known by recurrences."""
    return program.map_graphs(_recognize_in)


def cells_recognized(program: Program) -> bool:
    """True if every scan says why it is no recurrence."""
    return all(op.refused is not None for op in program.scans())


def _recognize_in(graph: Graph) -> Graph:
    producers = graph.producers()
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Scan) and op.refused is None:
            ops += _recognized(op, producers, names)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops))


def _recognized(scan: Scan, producers: Producers, names: Names) -> Iterator[Op]:
    trial = names.copy()
    outcome = recognize(
        scan,
        lambda lengths: _runs_all(scan, lengths, producers),
        lambda value: is_zero(value, producers),
        trial,
    )
    if isinstance(outcome, str):
        yield replace(scan, refused=_refusal(scan, outcome))
        return
    names.update(trial)
    for op in outcome:
        yield replace(op, refused=_refusal(op, "it has no state")) if isinstance(op, Scan) else op


def _refusal(scan: Scan, reason: str) -> Rejection:
    return Rejection(Rule.KNOWN_CELLS, scan.place, f"this loop is no known cell: {reason}", _HINT)


def _runs_all(scan: Scan, lengths: Value | None, producers: Producers) -> bool:
    """True if ``scan`` is known to run every step of all its sequences up to the end of the longest row."""
    times = {time_of(sequence, producers) for sequence in scan.sequences}
    return len(times) == 1 and covers(scan.steps, scan.sequences[0], lengths, producers)


def covers(steps: Value | None, sequence: Value, lengths: Value | None, producers: Producers) -> bool:
    """True if ``steps`` is known to reach the end of ``sequence``, or the end of its longest row.

    ``lengths`` are those of the rows, None if all rows are as long as the sequence.
    """
    if steps is None or _reaches(steps, sequence, lengths, producers):
        return True
    op = producers.get(steps)
    if not isinstance(op, TfliteOp):
        return False
    if op.builtin == "REDUCE_MAX":
        return lengths is not None and _uncast(op.operands[0], producers) is _uncast(lengths, producers)
    decide = {"CAST": all, "RESHAPE": all, "SQUEEZE": all, "MINIMUM": all, "MAXIMUM": any}.get(op.builtin)
    count = 2 if op.builtin in {"MINIMUM", "MAXIMUM"} else 1
    operands = [operand for operand in op.operands[:count] if operand is not None]
    return decide is not None and decide(covers(operand, sequence, lengths, producers) for operand in operands)


def _reaches(steps: Value, sequence: Value, lengths: Value | None, producers: Producers) -> bool:
    """True if the number of ``steps`` alone says so."""
    size, time = size_of(steps, producers), time_of(sequence, producers)
    if size == time or (isinstance(size, int) and isinstance(time, int) and size >= time):
        return True
    known = None if lengths is None else lengths.data
    return known is not None and isinstance(size, int) and size >= int(known.max(initial=0))


def _uncast(value: Value | None, producers: Producers) -> Value | None:
    producer = None if value is None else producers.get(value)
    while isinstance(producer, TfliteOp) and producer.builtin == "CAST":
        value = producer.operands[0]
        producer = None if value is None else producers.get(value)
    return value
