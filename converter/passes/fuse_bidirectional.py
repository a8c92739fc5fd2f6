"""fuse-bidirectional: fuse a forward and a backward recurrence over one sequence to a bidirectional op.

::

    %y = recurrence(%x, lstm(units=4, activation=tanh), time_major, lowering=fused)
    %r = recurrence(%x, lstm(units=4, activation=tanh), time_major, go_backwards, lowering=fused)
    %z = REVERSE_V2(%r, const int32[1])

becomes::

    %y, %z = bidirectional(recurrence(%x, ...), recurrence(%x, ..., go_backwards, ...))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.analysis.reversals import reversal_of, reverses_time, same_lengths
from converter.analysis.uses import Uses
from converter.ir import (
    Bidirectional,
    Graph,
    Lowering,
    LstmCell,
    Op,
    Program,
    Recurrence,
    RnnCell,
    Value,
    as_tflite,
    rewire,
)
from converter.targets import Target, has_op


def fuse_bidirectional(program: Program, target: Target) -> Program:
    """Fuse each pair of recurrences that one bidirectional op of ``target`` computes exactly."""
    return program.map_graphs(lambda graph: _paired(graph, target))


def _paired(graph: Graph, target: Target) -> Graph:
    recurrences = [op for op in graph.ops if isinstance(op, Recurrence)]
    for backward in recurrences:
        for forward in recurrences:
            graph_of_pair = _pair(graph, forward, backward, target)
            if graph_of_pair is not None:
                return _paired(graph_of_pair, target)
    return graph


def _pair(graph: Graph, forward: Recurrence, backward: Recurrence, target: Target) -> Graph | None:
    """Return ``graph`` with the two as one op, None if they are not a pair, or no op computes them."""
    if not _fits(forward, backward, target):
        return None
    around = Dimensions.of(graph.ops)
    if not _same_rows(forward, backward, around):
        return None
    restored = _restored(backward, Uses.of(graph), around)
    if restored is None:
        return None
    output, dropped = restored
    op = Bidirectional(forward, replace(backward, output=output, sequence_length=forward.sequence_length))
    return _inserted(graph, op, [forward, backward, *dropped])


def _fits(forward: Recurrence, backward: Recurrence, target: Target) -> bool:
    """Whether one op computes both, regardless of their operands."""
    builtin = _builtin(forward, backward)
    return (
        builtin is not None
        and has_op(builtin, target)
        and (forward.go_backwards, backward.go_backwards) == (False, True)
        and forward.lowering is backward.lowering is Lowering.FUSED
        and forward.time_major is backward.time_major
        and (backward.sequence_length is None or _stands_lengths(backward))
    )


def _same_rows(forward: Recurrence, backward: Recurrence, around: Dimensions) -> bool:
    """Whether both read the same steps of the same rows."""
    one, other = forward.sequence_length, backward.sequence_length
    if one is None or other is None:
        return forward.x is backward.x and one is other
    return forward.x is backward.x and same_lengths(one, other, backward, around)


def _builtin(forward: Recurrence, backward: Recurrence) -> str | None:
    match forward.cell, backward.cell:
        case RnnCell() as one, RnnCell() as other if one.activation is other.activation:
            return "BIDIRECTIONAL_SEQUENCE_RNN"
        case LstmCell() as one, LstmCell() as other if _options(one) == _options(other):
            return "BIDIRECTIONAL_SEQUENCE_LSTM" if one.gate_norm is None else None
    return None


def _options(cell: LstmCell) -> tuple[object, ...]:
    """Return the options that both directions of the op share; the kernel checks both against the same sizes."""
    return (
        cell.units,
        cell.output_size,
        cell.activation,
        cell.cell_clip,
        cell.projection_clip,
        cell.input_gate is None,
        cell.peephole is None,
        cell.projection is None,
        cell.projection_bias is None,
        cell.gate_norm is None,
    )


def _stands_lengths(backward: Recurrence) -> bool:
    # Backwards, the padding comes first: closed gates keep c there, but make h zero.
    return isinstance(backward.cell, LstmCell) and all(state is None for state in backward.initial_state)


def _restored(backward: Recurrence, uses: Uses, around: Dimensions) -> tuple[Value, list[Op]] | None:
    """Return the outputs in the order of x and the reversal that computes them, None with other readers."""
    readers = [op for op in uses.readers(backward.output) if not as_tflite(op, "SHAPE")]
    if backward.output in uses.outputs:
        return None
    if not readers:
        return backward.output, []
    (first, *others) = readers
    reversal = reversal_of(first)
    if others or reversal is None or not reverses_time(reversal, backward, around):
        return None
    return first.results[0], [first]


def _inserted(graph: Graph, op: Bidirectional, replaced: Iterable[Op]) -> Graph | None:
    """Return ``graph`` with ``op`` in place of others, after its operands and before its readers.

    Returns None if it depends on its own results through other ops.
    """
    gone = set(replaced)
    waiting = set(op.results)
    before: list[Op] = []
    after: list[Op] = []
    # The shape of the removed outputs is that of the outputs in order of time.
    renamed = {
        old.output: op.backward.output
        for old in gone
        if isinstance(old, Recurrence) and old.output is not op.forward.output
    }
    for other in graph.ops:
        if other in gone:
            continue
        moved = rewire(other, renamed)
        if waiting.intersection(moved.operands):
            after.append(moved)
            waiting.update(moved.results)
        else:
            before.append(moved)
    if waiting.intersection(op.operands):
        return None
    return replace(graph, ops=(*before, op, *after))
