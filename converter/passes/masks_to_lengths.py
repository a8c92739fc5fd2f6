"""masks-to-lengths: take masks for lengths, on the user's word that padding is on the right.

Masks may have gaps, which no fused op skips. If each row is unmasked up to its end and masked from there on, its
length says the same, and beside lengths an LSTM fuses::

    %y = recurrence(%x, lstm(...), batch_major, mask=%m, masked_output=held)

becomes::

    %n = SUM(CAST(%m), 1)
    %steps, %c, %h = recurrence(%x, lstm(...), batch_major, sequence_length=%n)
    %y = SELECT_V2(%m, %steps, %h)

for past its end, a row holds its last output. It is not selected where nobody reads it: by a recurrence of the
same lengths, or where only the last output is read, which is the final state. A recurrence that goes backwards
gives its outputs in another order; it is only changed where they are reversed to that of its input, or only the
last is read.
"""

from __future__ import annotations

from dataclasses import replace

from converter.analysis.reversals import reversal_of
from converter.analysis.uses import Uses
from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, MaskedOutput, Op, Program, Recurrence, TensorType, Value, dims, rewire_graph
from converter.passes.read_final_state import is_last


def masks_to_lengths(program: Program) -> Program:
    """Replace the masks of the main graph's recurrences by lengths."""
    return replace(program, graphs=(_Rewriter(program.main).graph(), *program.graphs[1:]))


def is_masked(program: Program) -> bool:
    """Return whether a recurrence of the main graph has a mask."""
    return any(isinstance(op, Recurrence) and op.mask is not None for op in program.main.ops)


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self._graph, self._uses = graph, Uses.of(graph)
        self._emitter = Emitter("lengths", graph.names())
        self._lengths: dict[tuple[Value, bool], Value] = {}
        self._other: dict[Value, Value] = {}
        self._reversals: dict[Op, Recurrence] = {}

    def graph(self) -> Graph:
        for op in self._graph.ops:
            if op in self._reversals:
                self._restore(op, self._reversals[op])
            elif isinstance(op, Recurrence) and op.mask is not None and self._fits(op):
                self._replace(op, op.mask)
            else:
                self._emitter.ops.append(op)
        return rewire_graph(replace(self._graph, ops=tuple(self._emitter.ops)), self._other)

    def _fits(self, op: Recurrence) -> bool:
        if op.sequence_length is not None or op.output in self._uses.outputs:
            return op.sequence_length is None and not op.go_backwards
        if not op.go_backwards:
            return True
        readers = self._uses.readers(op.output)
        reversals = [reader for reader in readers if not is_last(reader, op)]
        for reader in reversals:
            reversal = reversal_of(reader)
            if reversal is None or reversal.axis != op.time_axis or reversal.lengths is not None:
                return False
        self._reversals.update(dict.fromkeys(reversals, op))
        return True

    def _replace(self, op: Recurrence, mask: Value) -> None:
        lengths = self._length_of(mask, op.time_major)
        steps = replace(op.output, name=self._emitter.name("steps"))
        new = replace(op, mask=None, sequence_length=lengths, output=steps)
        self._emitter.ops.append(new)
        last = self._last(op, lengths)
        readers = self._uses.readers(op.output)
        for reader in readers:
            # Backwards, the last step that is computed is the first of the row, which is never padding.
            if is_last(reader, op) and (op.go_backwards or op.masked_output is MaskedOutput.HELD):
                self._other[reader.results[0]] = last
        if op.go_backwards:
            self._other[op.output] = steps
            return
        rest = [reader for reader in readers if not is_last(reader, op) and not _ignores_rest(reader, op, mask)]
        if op.masked_output is MaskedOutput.ZERO or not (rest or op.output in self._uses.outputs):
            self._other[op.output] = steps
        else:
            self._other[op.output] = self._held(op, mask, steps, last)

    def _last(self, op: Recurrence, lengths: Value) -> Value:
        """Return the output that a row holds: its last state, or zero if it has no step."""
        emitter, state = self._emitter, op.final_state[-1]
        if op.initial_state[-1] is None:
            return state
        column = emitter.value("column", lengths, (dims(lengths)[0], 1))
        emitter.op("RESHAPE", [lengths, emitter.integers(-1, 1)], column)
        has_steps = emitter.less(emitter.integer(0), column, "has_steps")
        return emitter.select(has_steps, state, emitter.number(0.0), emitter.value("last", state, dims(state)))

    def _held(self, op: Recurrence, mask: Value, steps: Value, last: Value) -> Value:
        emitter = self._emitter
        flags = Value(emitter.name("flags"), TensorType(DType.BOOL, (*dims(mask), 1)))
        emitter.op("EXPAND_DIMS", [mask, emitter.integer(2)], flags)
        shape = list(dims(last))
        shape.insert(op.time_axis, 1)
        rows = emitter.value("rows", last, tuple(shape))
        emitter.op("EXPAND_DIMS", [last, emitter.integer(op.time_axis)], rows)
        return emitter.select(flags, steps, rows, emitter.value("held", steps, dims(op.output)))

    def _length_of(self, mask: Value, time_major: bool) -> Value:
        key = (mask, time_major)
        if key not in self._lengths:
            emitter = self._emitter
            self._lengths[key] = emitter.sum(
                emitter.cast(mask, DType.INT32, "steps"), 0 if time_major else 1, "length"
            )
        return self._lengths[key]

    def _restore(self, reader: Op, op: Recurrence) -> None:
        """Reverse the outputs of a recurrence that goes backwards, each row within its length."""
        if op.mask is None:
            raise ValueError(f"{op.name}: expected a mask")
        lengths, time = self._length_of(op.mask, op.time_major), op.time_axis
        options = {"seqDim": time, "batchDim": 1 - time}
        self._emitter.op("REVERSE_SEQUENCE", [op.output, lengths], reader.results[0], options)


def _ignores_rest(reader: Op, op: Recurrence, mask: Value) -> bool:
    """Return whether ``reader`` is a recurrence of the same mask, which skips what is past the end of a row."""
    return (
        isinstance(reader, Recurrence)
        and reader.mask is mask
        and reader.x is op.output
        and reader.time_major is op.time_major
    )
