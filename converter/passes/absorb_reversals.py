"""absorb-reversals: make recurrences over reversed sequences go backwards over the sequences themselves.

::

    %r = REVERSE_V2(%x, const int32[1])
    %y, %h = recurrence(%r, rnn(units=4, activation=tanh), time_major)

becomes::

    %y, %h = recurrence(%x, rnn(units=4, activation=tanh), time_major, go_backwards)

The outputs of such a recurrence are in the order in which its steps are computed, so their readers do not change,
including a second reversal.
"""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.analysis.reversals import Reversal, reversal_of, reverses_time
from converter.ir import Graph, Op, Program, Recurrence, Value


def absorb_reversals(program: Program) -> Program:
    """Reverse the direction of each recurrence whose input is reversed in time, each row within its length."""
    return program.map_graphs(_absorb_all)


def _absorb_all(graph: Graph) -> Graph:
    around = Dimensions.of(graph.ops)
    ops = tuple(_absorbed(op, around) for op in graph.ops)
    if all(new is old for new, old in zip(ops, graph.ops, strict=True)):
        return graph
    return _absorb_all(replace(graph, ops=ops))  # two reversals cancel out


def _absorbed(op: Op, around: Dimensions) -> Op:
    if not isinstance(op, Recurrence):
        return op
    reversal = _reversal(op.x, op, around)
    if reversal is None:
        return op
    turned = replace(op, x=reversal.x, sequence_length=reversal.lengths, go_backwards=not op.go_backwards)
    if op.mask is None:
        return turned
    mask = _reversal(op.mask, op, around)
    return op if mask is None else replace(turned, mask=mask.x)


def _reversal(sequence: Value, op: Recurrence, around: Dimensions) -> Reversal | None:
    reversal = reversal_of(around.producers.get(sequence))
    return reversal if reversal is not None and reverses_time(reversal, op, around) else None
