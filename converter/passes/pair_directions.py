"""pair-directions: two fused recurrences that run over one sequence in both directions become one op.

A backward recurrence is one over a reversed sequence whose outputs are reversed again. Both reversals go away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from converter.ir import (
    Bidirectional,
    Graph,
    Lowering,
    LstmCell,
    Op,
    Program,
    Recurrence,
    RnnCell,
    TfliteOp,
    Value,
    rewire,
)
from converter.targets import RULES, Target


def pair_directions(program: Program, target: Target) -> Program:
    """Pair what one bidirectional op of ``target`` computes exactly; everything else stays as it is."""
    return program.map_graphs(lambda graph: _paired(graph, target))


def all_paired(program: Program, target: Target) -> bool:
    """True if no two recurrences are left to be paired."""
    return all(_paired(graph, target) is graph for graph in program.graphs)


@dataclass(frozen=True, slots=True, eq=False)
class _Uses:
    """Who makes each value of a graph, and who reads it."""

    producers: Mapping[Value, Op]
    readers: Mapping[Value, list[Op]]
    outputs: frozenset[Value]

    @classmethod
    def of(cls, graph: Graph) -> _Uses:
        readers: dict[Value, list[Op]] = {}
        for op in graph.ops:
            for value in op.operands:
                if value is not None:
                    readers.setdefault(value, []).append(op)
        return cls(graph.producers(), readers, frozenset(graph.outputs))


def _paired(graph: Graph, target: Target) -> Graph:
    recurrences = [op for op in graph.ops if isinstance(op, Recurrence)]
    for backward in recurrences:
        for forward in recurrences:
            graph_of_pair = _pair(graph, forward, backward, target)
            if graph_of_pair is not None:
                return _paired(graph_of_pair, target)
    return graph


def _pair(graph: Graph, forward: Recurrence, backward: Recurrence, target: Target) -> Graph | None:
    """Return ``graph`` with the two as one op, or None if they are no pair, or no op computes them."""
    uses = _Uses.of(graph)
    reversal = uses.producers.get(backward.x)
    if forward is backward or not _fits(forward, backward, target):
        return None
    if reversal is None or reversal.operands[0] is not forward.x or not _reverses(reversal, backward, uses):
        return None
    restored = _restored(backward, uses)
    if restored is None:
        return None
    output, dropped = restored
    op = Bidirectional(forward, replace(backward, x=forward.x, output=output))
    return _inserted(graph, op, [forward, backward, *dropped])


def _fits(forward: Recurrence, backward: Recurrence, target: Target) -> bool:
    """Whether one op computes both, apart from what they read."""
    builtin = _builtin(forward, backward)
    return (
        builtin is not None
        and builtin in RULES[target].versions
        and forward.lowering is backward.lowering is Lowering.FUSED
        and forward.time_major is backward.time_major
        and forward.sequence_length is backward.sequence_length
        and (forward.sequence_length is None or _stands_lengths(backward))
    )


def _builtin(forward: Recurrence, backward: Recurrence) -> str | None:
    match forward.cell, backward.cell:
        case RnnCell() as one, RnnCell() as other if one.activation is other.activation:
            return "BIDIRECTIONAL_SEQUENCE_RNN"
        case LstmCell() as one, LstmCell() as other if _options(one) == _options(other):
            return "BIDIRECTIONAL_SEQUENCE_LSTM"
    return None


def _options(cell: LstmCell) -> tuple[object, ...]:
    """What both directions of the op share; the kernel checks one's weights against the other's sizes."""
    return (
        cell.units,
        cell.output_size,
        cell.activation,
        cell.cell_clip,
        cell.projection_clip,
        cell.input_gate is None,
        cell.peephole is None,
        cell.projection is None,
    )


def _stands_lengths(backward: Recurrence) -> bool:
    # Backwards, the padding comes first: gates that are shut keep c there, but make h zero.
    return isinstance(backward.cell, LstmCell) and all(state is None for state in backward.initial_state)


def _restored(backward: Recurrence, uses: _Uses) -> tuple[Value, list[Op]] | None:
    """Return the outputs in order of time and the reversal that made them so; None if they are read otherwise."""
    readers = [op for op in uses.readers.get(backward.output, []) if not _is_shape(op)]
    if backward.output in uses.outputs:
        return None
    if not readers:
        return backward.output, []
    (first, *others) = readers
    if others or not _reverses(first, backward, uses):
        return None
    return first.results[0], [first]


def _is_shape(op: Op) -> bool:
    return isinstance(op, TfliteOp) and op.builtin == "SHAPE"


def _reverses(op: Op, backward: Recurrence, uses: _Uses) -> bool:
    """Whether ``op`` turns its first operand around in time, each row within its length."""
    if not isinstance(op, TfliteOp):
        return False
    lengths, axis = backward.sequence_length, backward.time_axis
    if op.builtin == "REVERSE_V2" and lengths is None:
        axes = op.operands[1]
        return axes is not None and axes.data is not None and axes.data.tolist() == [axis]
    if op.builtin == "REVERSE_SEQUENCE" and lengths is not None:
        dims = (op.options.get("seqDim"), op.options.get("batchDim"))
        return dims == (axis, 1 - axis) and _same_lengths(op.operands[1], backward, uses)
    return False


def _same_lengths(value: Value | None, backward: Recurrence, uses: _Uses) -> bool:
    """Whether ``value`` is the sequence_length, maybe kept between zero and the number of steps."""
    while value is not None and value is not backward.sequence_length:
        op = uses.producers.get(value)
        if not isinstance(op, TfliteOp) or op.builtin not in {"MAXIMUM", "MINIMUM"}:
            return False
        value, bound = op.operands
        if not (_is_zero(bound) if op.builtin == "MAXIMUM" else _is_time(bound, backward, uses)):
            return False
    return value is not None


def _is_zero(bound: Value | None) -> bool:
    return bound is not None and bound.data is not None and not bound.data.any()


def _is_time(bound: Value | None, backward: Recurrence, uses: _Uses) -> bool:
    """Whether ``bound`` is the number of steps: a constant, or an element of a shape."""
    if bound is None:
        return False
    steps = None if backward.x.type.shape is None else backward.x.type.shape[backward.time_axis]
    if bound.data is not None:
        return steps is not None and bound.data.tolist() == steps
    op = uses.producers.get(bound)
    if not isinstance(op, TfliteOp) or op.builtin != "STRIDED_SLICE" or op.operands[1] is None:
        return False
    shape = uses.producers.get(op.operands[0]) if op.operands[0] is not None else None
    begin = op.operands[1].data
    return (
        shape is not None
        and _is_shape(shape)
        and begin is not None
        and begin.tolist() == [backward.time_axis]
        and _is_sequence(shape.operands[0], backward, uses)
    )


def _is_sequence(value: Value | None, backward: Recurrence, uses: _Uses) -> bool:
    """Whether ``value`` has as many steps as the recurrence."""
    reversal = uses.producers.get(backward.x)
    original = None if reversal is None else reversal.operands[0]
    return value is not None and value in {backward.x, backward.output, original}


def _inserted(graph: Graph, op: Bidirectional, replaced: Iterable[Op]) -> Graph | None:
    """Return ``graph`` with ``op`` in place of others: after what it reads, before what reads it.

    None if it reads, by way of other ops, what it makes itself.
    """
    gone = set(replaced)
    waiting = set(op.results)
    before: list[Op] = []
    after: list[Op] = []
    # A shape of the outputs that are no more is the shape of those in order of time.
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
