"""TensorArrays of control flow v1 as TensorLists.

An array is a handle that never changes and a *flow*, a number that every write returns. The list is what the flow
stands for, so each flow becomes the list itself, and handles are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.analysis.uses import Uses, without_dead_ops
from converter.ir import (
    DType,
    Graph,
    Op,
    Program,
    TensorType,
    TfliteOp,
    Value,
    as_tflite,
    constant,
    rewire,
    with_results,
)
from converter.raising.lists import ArrayOperand, is_range, scattered
from converter.raising.subgraphs import passed_on

_FLOW_OF = {
    "TensorArrayGatherV3": ArrayOperand.FLOW_OF_READER,
    "TensorArrayReadV3": ArrayOperand.FLOW_OF_READER,
    "TensorArrayScatterV3": ArrayOperand.FLOW_OF_WRITER,
    "TensorArraySizeV3": 1,
    "TensorArrayWriteV3": ArrayOperand.FLOW_OF_WRITER,
}
"""The ops on arrays, and the place of the flow among their operands."""


def arrays_to_lists(program: Program) -> Program:
    """Return ``program`` with its TensorArrays as TensorLists; unchanged if one of them has no such form."""
    made = [op for op in program.ops() if as_tflite(op, "TensorArrayV3") is not None]
    if not made:
        return program
    handles = _reached((op.results[0] for op in made), program)
    flows = _reached((op.results[1] for op in made), program)
    if not all(_is_known(op, handles, flows, program) for op in program.ops()):
        return program
    lists = {flow: replace(flow, type=TensorType(DType.VARIANT, ())) for flow in flows}
    graphs = [_Rewriting(graph, lists, handles).graph() for graph in program.graphs]
    found = tuple(graph for graph in graphs if graph is not None)
    return replace(program, graphs=found) if len(found) == len(program.graphs) else program


def _reached(values: Iterable[Value], program: Program) -> frozenset[Value]:
    """Return the values that are the same arrays as ``values``: what writes return, and what graphs pass on."""
    reached, size = set(values), 0
    while len(reached) != size:
        size = len(reached)
        for op in program.ops():
            for one, other in passed_on(op, program):
                if one in reached or other in reached:
                    reached |= {one, other}
            array = as_tflite(op, "TensorArrayScatterV3", "TensorArrayWriteV3")
            if array is not None and array.operand(ArrayOperand.FLOW_OF_WRITER) in reached:
                reached.add(array.results[0])
    return frozenset(reached)


def _is_known(op: Op, handles: frozenset[Value], flows: frozenset[Value], program: Program) -> bool:
    """Return whether an op uses arrays in a way that has a form on lists, if at all."""
    array = as_tflite(op, *_FLOW_OF)
    if array is not None:
        others = [value for place, value in enumerate(op.operands) if place not in {0, _FLOW_OF[array.code]}]
        is_apart = not any(value in flows or value in handles for value in others)
        return is_apart and array.operand(0) in handles and array.operand(_FLOW_OF[array.code]) in flows
    used = {value for value in (*op.operands, *op.results) if value in flows or value in handles}
    if as_tflite(op, "TensorArrayV3") is not None:
        return True
    if as_tflite(op, "WHILE", "IF") is None:
        return not used
    return used <= {value for pair in passed_on(op, program) for value in pair}


@dataclass(frozen=True, slots=True, eq=False)
class _Rewriting:
    """A graph with arrays, each flow's list, and the handles."""

    old: Graph
    lists: Mapping[Value, Value]
    handles: frozenset[Value]

    def graph(self) -> Graph | None:
        """Return the graph with lists, None if an array is used in a way that has no form on lists."""
        around, uses = Dimensions.of(self.old.ops), Uses.of(self.old)
        ops = []
        for op in self.old.ops:
            array = as_tflite(op, "TensorArrayV3")
            if array is not None and _is_filled(array, uses):
                continue
            new = self._op(op, around)
            if new is None:
                return None
            ops.append(new)
        inputs, outputs = self._kept(self.old.inputs), self._kept(self.old.outputs)
        return without_dead_ops(Graph(self.old.name, inputs, outputs, tuple(ops)))

    def _kept(self, values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(self.lists.get(value, value) for value in values if value not in self.handles)

    def _op(self, op: Op, around: Dimensions) -> Op | None:
        tflite = as_tflite(op)
        if tflite is None:
            return op
        if tflite.builtin in {"WHILE", "IF"}:
            operands = tuple(value for value in tflite.operands if value is None or value not in self.handles)
            results = tuple(value for value in tflite.results if value not in self.handles)
            return with_results(
                rewire(replace(tflite, operands=operands, results=results), self.lists), self.lists
            )
        rule = _RULES.get(tflite.code)
        return op if rule is None else rule(self, tflite, around)

    def list_of(self, op: TfliteOp) -> Value:
        """Return the list that an op reads or writes."""
        return self.lists[op.operand(_FLOW_OF[op.code])]

    # --- ops ---------------------------------------------------------------------------------------------------

    def reserve(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """A new array."""
        del around
        return _custom("TensorListReserve", [_any_shape(op), op.operand(0)], self.lists[op.results[1]])

    def scatter(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """A sequence as an array: all elements, in their order."""
        sequence = scattered(op.operand(ArrayOperand.HANDLE), op.results[0], around)
        if sequence is None:
            return None
        return _custom("TensorListFromTensor", [sequence, _any_shape(op)], self.lists[op.results[0]])

    def write(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """An element that replaces another one."""
        del around
        operands = [self.list_of(op), op.operand(ArrayOperand.INDEX), op.operand(ArrayOperand.WRITTEN)]
        return _custom("TensorListSetItem", operands, self.lists[op.results[0]])

    def read(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """An element."""
        del around
        operands = [self.list_of(op), op.operand(ArrayOperand.INDEX), _any_shape(op)]
        return _custom("TensorListGetItem", operands, op.results[0])

    def gather(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """Several elements, or all of them in their order."""
        index = op.operand(ArrayOperand.INDEX)
        sizes = (
            size.results[0]
            for size in self.old.ops
            if as_tflite(size, "TensorArraySizeV3") is not None
            and size.operands[1] is op.operand(ArrayOperand.FLOW_OF_READER)
        )
        if any(is_range(index, size, around) for size in sizes):
            return _custom("TensorListStack", [self.list_of(op), _any_shape(op)], op.results[0])
        return _custom("TensorListGather", [self.list_of(op), index, _any_shape(op)], op.results[0])

    def size(self, op: TfliteOp, around: Dimensions) -> Op | None:
        """The number of elements."""
        del around
        return _custom("TensorListLength", [self.list_of(op)], op.results[0])


def _custom(code: str, operands: Iterable[Value], result: Value) -> TfliteOp:
    return TfliteOp("CUSTOM", tuple(operands), (result,), custom_code=code)


def _is_filled(array: TfliteOp, uses: Uses) -> bool:
    """Return whether a new array is only filled by a scatter, which makes a list of its own."""
    readers = uses.readers(array.results[1])
    return bool(readers) and all(as_tflite(op, "TensorArrayScatterV3") is not None for op in readers)


def _any_shape(op: Op) -> Value:
    return constant(f"{op.name}/element_shape", np.array(-1, np.int32))


_RULES: Mapping[str, Callable[[_Rewriting, TfliteOp, Dimensions], Op | None]] = {
    "TensorArrayGatherV3": _Rewriting.gather,
    "TensorArrayReadV3": _Rewriting.read,
    "TensorArrayScatterV3": _Rewriting.scatter,
    "TensorArraySizeV3": _Rewriting.size,
    "TensorArrayV3": _Rewriting.reserve,
    "TensorArrayWriteV3": _Rewriting.write,
}
