"""lower-lists: write the lists of loops that stop early as buffers (`converter.raising.buffers`).

What such a loop has collected is the part of the buffer that it wrote. Where all sizes are fixed, it is the whole
buffer, zero from there on, and an output more tells how many elements there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.errors import ConversionError, Rejection
from converter.ir import (
    Graph,
    Op,
    Program,
    TfliteOp,
    Value,
    as_tflite,
    constant,
    dims,
    rewire,
    with_results,
)
from converter.raising.arrays import arrays_to_lists
from converter.raising.buffers import Buffer, Growing, buffers_of, with_type
from converter.raising.element_sizes import emit_element_sizes
from converter.raising.lists import ListOperand, ReserveOperand
from converter.rules import Rule


def lower_lists(program: Program, max_steps: Mapping[str, int], *, is_dynamic: bool) -> Program:
    """Return ``program`` with its lists as buffers; unchanged if one of them has no such form.

    ``max_steps`` are the steps of loops that `bound_loops` has bounded, by their names. Raises ConversionError if
    a loop's steps have no bound, or if what a loop has collected needs an open size and sizes cannot be open (not
    ``is_dynamic``).
    """
    listed = arrays_to_lists(program)
    buffers = buffers_of(listed, max_steps)
    if buffers is None:
        return program
    return _Lowering(listed, buffers, is_dynamic=is_dynamic).program()


class _Lowering:
    def __init__(self, program: Program, buffers: Mapping[Value, Buffer], *, is_dynamic: bool) -> None:
        self._program, self._buffers, self._is_dynamic = program, buffers, is_dynamic
        self._new = {value: with_type(value, buffer) for value, buffer in buffers.items()}
        self._counts: dict[Value, Value] = {}

    def program(self) -> Program:
        return self._with_counts(self._program.map_graphs(self._graph))

    def _graph(self, graph: Graph) -> Graph:
        emitter = Emitter("buffers", graph.names())
        waiting: dict[Value | None, TfliteOp] = {}
        for op in graph.ops:
            if as_tflite(op, "TensorListReserve") is not None and isinstance(op, TfliteOp):
                waiting[op.results[0]] = op  # the sizes of its elements may be computed between here and the loop
                continue
            for made in [waiting.pop(value) for value in dict.fromkeys(op.operands) if value in waiting]:
                self.reserve(made, emitter, graph)
            list_op = as_tflite(op, *_RULES)
            if list_op is not None:
                _RULES[list_op.code](self, list_op, emitter, graph)
            else:
                emitter.ops.append(with_results(rewire(op, self._new), self._new))
        inputs, outputs = (
            tuple(self._new.get(value, value) for value in side) for side in (graph.inputs, graph.outputs)
        )
        return Graph(graph.name, inputs, outputs, tuple(emitter.ops))

    def _list(self, op: TfliteOp) -> Value:
        return self._new[op.operand(ListOperand.LIST)]

    # --- ops ---------------------------------------------------------------------------------------------------

    def reserve(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """A buffer of zeros."""
        buffer, new = self._buffers[op.results[0]], self._new[op.results[0]]
        first = (
            op.operand(ReserveOperand.COUNT)
            if buffer.growing is None
            else _in_graph(buffer.growing.limit, emitter)
        )
        sizes = [first, *self._element_sizes(op, buffer, emitter)]
        zeros = emitter.zeros(sizes, dims(new), "empty", dtype=new.type.dtype)
        emitter.copy(zeros, new)
        del graph

    def _element_sizes(self, op: TfliteOp, buffer: Buffer, emitter: Emitter) -> list[Value]:
        element = buffer.element or ()
        known = [emitter.integer(size) for size in element if size is not None]
        if len(known) == len(element):
            return known
        written = buffer.written()
        found = None if written is None else emit_element_sizes(*written, emitter)
        if found is None:
            raise _unknown(op, "its elements have sizes that are not known before the loop")
        return found

    def from_tensor(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """The tensor itself."""
        del graph
        emitter.copy(op.operand(0), self._new[op.results[0]])

    def set_item(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """An element written into the buffer."""
        del graph
        item = op.operand(ListOperand.WRITTEN)
        row = emitter.value("row", item, (1, *dims(item)))
        shape = emitter.integers(1, *(size if size is not None else -1 for size in dims(item)))
        if sum(size is None for size in dims(item)) > 1:
            emitter.op("EXPAND_DIMS", [item, emitter.integer(0)], row)
        else:
            emitter.op("RESHAPE", [item, shape], row)
        rest = [emitter.integer(0)] * len(dims(item))
        start = emitter.pack([op.operand(ListOperand.INDEX), *rest], "start")
        emitter.op("DYNAMIC_UPDATE_SLICE", [self._list(op), row, start], self._new[op.results[0]])

    def get_item(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """An element, or several, of the buffer."""
        del graph
        options = {"axis": 0, "batchDims": 0}
        emitter.op("GATHER", [self._list(op), op.operand(ListOperand.INDEX)], op.results[0], options)

    def stack(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """All elements: of a list that has grown, those that were written."""
        result, buffer = op.results[0], self._buffers[op.operand(ListOperand.LIST)]
        if buffer.growing is None:
            emitter.copy(self._list(op), result)
            return
        count = self._count(op, buffer.growing, graph)
        if self._is_dynamic:
            vector = emitter.op("RESHAPE", [count, emitter.integers(1)], emitter.value("count", count, (1,)))
            emitter.first(self._list(op), vector, result)
            return
        if result not in graph.outputs or graph is not self._program.main:
            raise _unknown(op, "what it has collected is computed with, and its size is open")
        self._counts[result] = count
        full = replace(result, type=self._list(op).type)
        self._new[result] = full
        emitter.copy(self._list(op), full)

    def length(self, op: TfliteOp, emitter: Emitter, graph: Graph) -> None:
        """The number of elements."""
        buffer = self._buffers[op.operand(ListOperand.LIST)]
        count = (
            emitter.dimension(self._list(op), 0)
            if buffer.growing is None
            else self._count(op, buffer.growing, graph)
        )
        emitter.copy(count, op.results[0])

    def _count(self, op: TfliteOp, growing: Growing, graph: Graph) -> Value:
        """Return how many elements a list has after its loop. Raises ConversionError anywhere else."""
        loop = next((other for other in graph.ops if op.operand(ListOperand.LIST) in other.results), None)
        if loop is not growing.loop.op:
            raise _unknown(op, "a list is read before its loop has ended")
        return growing.loop.op.results[growing.counter]

    # --- the program -------------------------------------------------------------------------------------------

    def _with_counts(self, program: Program) -> Program:
        """Return ``program`` with the number of elements of each output that is a whole buffer."""
        if not self._counts:
            return program
        signature, main = program.signature, program.main
        old = dict(zip(self._program.main.outputs, signature.outputs, strict=True))
        added = {f"{old[result]}_count": count for result, count in self._counts.items()}
        outputs = tuple(self._new.get(value, value) for value in main.outputs)
        main = replace(main, outputs=(*outputs, *added.values()))
        named = replace(signature, outputs=(*signature.outputs, *added))
        others = tuple(other for other in program.signatures if other is not signature)
        return replace(program, graphs=(main, *program.graphs[1:]), signatures=(named, *others))


def _in_graph(limit: Value, emitter: Emitter) -> Value:
    return limit if limit.data is None else constant(emitter.name("max_steps"), limit.data)


def _unknown(op: Op, detail: str) -> ConversionError:
    hint = "fix the sizes of the inputs, or let the loop return whole tensors"
    return ConversionError(
        "cannot convert the model: a loop that stops early", [Rejection(Rule.LOOP_STEPS, op.name, detail, hint)]
    )


_RULES = {
    "TensorListFromTensor": _Lowering.from_tensor,
    "TensorListGather": _Lowering.get_item,
    "TensorListGetItem": _Lowering.get_item,
    "TensorListLength": _Lowering.length,
    "TensorListSetItem": _Lowering.set_item,
    "TensorListStack": _Lowering.stack,
}
