"""absorb-transposes: run recurrences between transposes of batch and time over the batch-major sequences.

``dynamic_rnn`` and Keras transpose a batch-major sequence before their loop and its output after it. Every
lowering takes either order, so the recurrence reads and writes batch-major sequences directly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.uses import Uses, without_dead_ops
from converter.emission.emitter import Emitter
from converter.ir import (
    FullyConnected,
    Graph,
    Op,
    Producers,
    Program,
    Recurrence,
    TensorType,
    TfliteOp,
    Trait,
    Value,
    as_tflite,
    attributes,
    has,
    rewire_graph,
)


def absorb_transposes(program: Program) -> Program:
    """Make batch-major each time-major recurrence whose input is the transpose of a batch-major sequence.

    Elementwise ops on the transposed output of such a recurrence are moved before the transpose.
    """
    return program.map_graphs(_absorb_all).map_graphs(without_dead_ops)


def _absorb_all(graph: Graph) -> Graph:
    while (op := _next(graph)) is not None:
        graph = _absorb(graph, op)
    return graph


def _next(graph: Graph) -> Recurrence | TfliteOp | None:
    producers = graph.producers()
    for op in graph.ops:
        if isinstance(op, Recurrence) and _is_between(op, producers):
            return op
        if isinstance(op, TfliteOp) and (_is_after(op, producers) or _is_reverse(op, producers)):
            return op
    return None


def _is_between(op: Recurrence, producers: Producers) -> bool:
    """True if ``op`` is time-major and reads a transposed sequence. A mask stays time-major."""
    return op.time_major and op.mask is None and _untransposed(producers.get(op.x)) is not None


def _is_reverse(op: TfliteOp, producers: Producers) -> bool:
    """True if ``op`` reverses the transposed output of a recurrence, or values computed from one."""
    if op.builtin != "REVERSE_V2" or attributes.axes(op) is None:
        return False
    return _is_output(_untransposed(producers.get(op.operand(0))), producers)


def _is_after(op: TfliteOp, producers: Producers) -> bool:
    """True if ``op`` works on elements or vectors of transposed sequences, one of them a recurrence's output."""
    given = [value for value in op.operands if value is not None and value.type.rank not in (0, 1)]
    dense = FullyConnected.match(op)
    of_vectors = dense is not None and dense.keeps_axes
    sequences = given[:1] if of_vectors else given
    if not (of_vectors or has(op, Trait.ELEMENTWISE)) or len(op.results) != 1 or op.results[0].type.rank != 3:
        return False
    sources = [_untransposed(producers.get(value)) for value in sequences]
    return None not in sources and any(_is_output(source, producers) for source in sources)


def _is_output(value: Value | None, producers: Producers) -> bool:
    """True if ``value`` is a recurrence's output, or computed from one by elements or vectors."""
    maker = None if value is None else producers.get(value)
    if maker is None or isinstance(maker, Recurrence):
        return maker is not None
    keeps_steps = has(maker, Trait.ELEMENTWISE) or as_tflite(maker, "FULLY_CONNECTED", "REVERSE_V2") is not None
    return keeps_steps and any(_is_output(operand, producers) for operand in maker.operands)


def _untransposed(op: Op | None) -> Value | None:
    """Return x if ``op`` swaps the first two axes of a sequence x [batch, time, n]."""
    transpose = as_tflite(op, "TRANSPOSE")
    swaps = transpose is not None and attributes.permutation(transpose) == (1, 0, 2)
    return transpose.operand(0) if transpose is not None and swaps else None


def _absorb(graph: Graph, op: Recurrence | TfliteOp) -> Graph:
    """Return ``graph`` with ``op`` over the sequence before its transpose; readers of its output do not change."""
    uses = Uses.of(graph)
    before = {
        value: x
        for value in op.operands
        if value is not None and (x := _untransposed(uses.producers.get(value))) is not None
    }
    seen = op.results[0]
    readers = uses.readers(seen)
    again = [reader for reader in readers if _untransposed(reader) is not None]
    others = seen in uses.outputs or len(again) < len(readers)
    emitter = Emitter(op.name, graph.names())
    output = again[0].results[0] if again else emitter.value("batch_major", seen, _swapped(seen.type))
    if isinstance(op, Recurrence):
        emitter.ops.append(replace(op, x=before[op.x], output=output, time_major=False))
    else:
        operands = tuple(value if value is None else before.get(value, value) for value in op.operands)
        if op.builtin == "REVERSE_V2":
            operands = (operands[0], _swapped_axes(operands[1], emitter))
        emitter.ops.append(replace(op, operands=operands, results=(output,)))
    if others:
        emitter.transpose(output, seen)
    ops: list[Op] = []
    for other in graph.ops:
        if other is op:
            ops += emitter.ops
        elif other not in again:
            ops.append(other)
    same = {reader.results[0]: output for reader in again[1:]}
    return rewire_graph(replace(graph, ops=tuple(ops)), same)


def _swapped_axes(axes: Value | None, emitter: Emitter) -> Value:
    if axes is None or axes.data is None:
        raise ValueError("the axes of the reversal are not constant")
    return emitter.constant("axes", np.asarray([1, 0, 2], axes.data.dtype)[axes.data])


def _swapped(type_: TensorType) -> tuple[int | None, ...]:
    time, batch, *rest = type_.shape or (None, None, None)
    return (batch, time, *rest)
