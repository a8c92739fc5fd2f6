"""Lists of tensors as buffers: one tensor with room for every element, written by DYNAMIC_UPDATE_SLICE.

A loop that stops early keeps its WHILE op and its condition. What it collects in a list goes into a buffer with as
many elements as the loop has steps at most; what it reads from a list is a GATHER. All values of one list, in each
graph that passes it on, are one buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from converter.errors import ConversionError, Rejection
from converter.ir import (
    DType,
    Op,
    Program,
    Shape,
    TensorType,
    TfliteOp,
    Value,
    as_tflite,
    attributes,
)
from converter.raising.condition import limits_of
from converter.raising.indices import NOW
from converter.raising.lists import ListOperand, ReserveOperand
from converter.raising.loop import Loop, loop_of
from converter.raising.scans import loop_name
from converter.raising.subgraphs import passed_on
from converter.rules import Rule

LIST_OPS = frozenset(
    {
        "TensorListFromTensor",
        "TensorListGather",
        "TensorListGetItem",
        "TensorListLength",
        "TensorListReserve",
        "TensorListSetItem",
        "TensorListStack",
    }
)
"""The ops on lists that have a form on buffers."""


@dataclass(slots=True, eq=False)
class Buffer:
    """A list: what its elements are, where it is made, and the loop that makes it grow, if one does."""

    dtype: DType | None = None
    element: Shape | None = None
    size: int | None = None
    sources: list[tuple[int, TfliteOp]] = field(default_factory=list)
    writes: list[tuple[int, TfliteOp]] = field(default_factory=list)
    growing: Growing | None = None
    writer: Loop | None = None
    """The loop whose body writes its elements."""

    def written(self) -> tuple[Value, Loop] | None:
        """Return what the loop that writes its elements writes, a value of its body, and the loop."""
        return None if self.writer is None else (self.writes[0][1].operand(ListOperand.WRITTEN), self.writer)

    def type(self) -> TensorType | None:
        """The type of the buffer, None if its elements are unknown."""
        if self.dtype is None or self.element is None:
            return None
        return TensorType(self.dtype, (self.size, *self.element))


@dataclass(frozen=True, slots=True, eq=False)
class Growing:
    """The loop that makes a list grow by one element per step.

    ``counter`` is the position of a counter of its steps, ``limit`` the value beside the loop that bounds them.
    """

    loop: Loop
    counter: int
    limit: Value


def buffers_of(program: Program, max_steps: Mapping[str, int]) -> dict[Value, Buffer] | None:
    """Return the buffer of each list, None if lists are used in a way that has no form on buffers.

    Raises ConversionError if the steps of a loop that collects tensors have no bound.
    """
    parents = _joined(program)
    if not parents:
        return None
    found: dict[Value, Buffer] = {}
    for value in parents:
        found.setdefault(_root(value, parents), Buffer())
    buffers = {value: found[_root(value, parents)] for value in parents}
    for number, graph in enumerate(program.graphs):
        for op in graph.ops:
            if isinstance(op, TfliteOp) and op.custom_code in LIST_OPS:
                _take_note(op, number, buffers)
    return buffers if all(_settle(buffer, program, max_steps) for buffer in found.values()) else None


def _joined(program: Program) -> dict[Value, Value] | None:
    """Return all values that are lists, joined where they are one (see `_root`); None if one is used otherwise."""
    values = (value for graph in program.graphs for value in graph.values())
    parents = {value: value for value in values if value.type.dtype is DType.VARIANT}
    for op in program.ops():
        for one, other in (*passed_on(op, program), *_written(op)):
            if (one in parents) is not (other in parents):
                return None
            if one in parents:
                parents[_root(one, parents)] = _root(other, parents)
        if not _is_known(op, parents):
            return None
    return parents


def _root(value: Value, parents: dict[Value, Value]) -> Value:
    while parents[value] is not value:
        value = parents[value]
    return value


def _written(op: Op) -> Iterator[tuple[Value, Value]]:
    """Yield a list and what a write makes of it, which are one buffer."""
    write = as_tflite(op, "TensorListSetItem")
    if write is not None:
        yield write.operand(ListOperand.LIST), write.results[0]


def _is_known(op: Op, parents: Mapping[Value, Value]) -> bool:
    """Return whether an op uses lists in a way that has a form on buffers, if at all."""
    if not any(value in parents for value in (*op.operands, *op.results) if value is not None):
        return True
    tflite = as_tflite(op)
    if tflite is None:
        return False
    if tflite.custom_code not in LIST_OPS:
        return tflite.builtin in {"WHILE", "IF"}
    makes = tflite.custom_code in {"TensorListFromTensor", "TensorListReserve", "TensorListSetItem"}
    reads = tflite.custom_code not in {"TensorListFromTensor", "TensorListReserve"}
    if any(value in parents for place, value in enumerate(tflite.operands) if value and (place or not reads)):
        return False  # a list as an index, or as an element
    is_made = len(tflite.results) == 1 and tflite.results[0] in parents
    return is_made is makes and (not reads or tflite.operand(ListOperand.LIST) in parents)


def _take_note(op: TfliteOp, graph: int, buffers: Mapping[Value, Buffer]) -> None:
    """Note what an op says of its list."""
    match op.custom_code:
        case "TensorListReserve":
            buffers[op.results[0]].sources.append((graph, op))
        case "TensorListFromTensor":
            buffer, x = buffers[op.results[0]], op.operand(0)
            buffer.sources.append((graph, op))
            if x.type.shape:
                buffer.dtype, buffer.element = x.type.dtype, x.type.shape[1:]
        case "TensorListSetItem":
            buffer, item = buffers[op.results[0]], op.operand(ListOperand.WRITTEN)
            buffer.writes.append((graph, op))
            if item.type.shape is not None:
                buffer.dtype, buffer.element = item.type.dtype, item.type.shape
        case _:
            pass


def _settle(buffer: Buffer, program: Program, max_steps: Mapping[str, int]) -> bool:
    """Find the size of a buffer, and the loop that makes it grow. False if it is made in an unknown way."""
    if len(buffer.sources) != 1 or buffer.type() is None:
        return False
    _, source = buffer.sources[0]
    if source.custom_code == "TensorListFromTensor":
        shape = source.operand(0).type.shape
        buffer.size = shape[0] if shape else None
        return True
    count = source.operand(ReserveOperand.COUNT)
    buffer.writer = _writer(buffer, program)
    if count.data is None or int(count.data) > 0:
        buffer.size = None if count.data is None else int(count.data)
        return True
    buffer.growing = _growing(buffer, max_steps)
    if buffer.growing is None:
        return False
    limit = buffer.growing.limit
    buffer.size = None if limit.data is None else int(limit.data)
    return True


def _writer(buffer: Buffer, program: Program) -> Loop | None:
    """Return the loop whose body has the only op that writes to a list, None if there is none."""
    if len(buffer.writes) != 1:
        return None
    body_number, _ = buffer.writes[0]
    for graph in program.graphs:
        for op in graph.ops:
            loop = as_tflite(op, "WHILE")
            if loop is not None and attributes.loop_graphs(loop)[1] == body_number:
                return loop_of(loop, graph, program)
    return None


def _growing(buffer: Buffer, max_steps: Mapping[str, int]) -> Growing | None:
    """Return the loop that writes an element per step, at its counter; None if it is another one.

    Raises ConversionError if nothing bounds its steps.
    """
    loop = buffer.writer
    if loop is None:
        return None
    _, write = buffer.writes[0]
    index = write.operand(ListOperand.INDEX)
    places = [place for place in loop.counters() if loop.index(index, frozenset({loop.body.inputs[place]})) == NOW]
    return Growing(loop, places[0], _limit(loop, max_steps)) if places else None


def _limit(loop: Loop, max_steps: Mapping[str, int]) -> Value:
    """Return the bound of a loop's steps: as the user says, or as its condition does."""
    name = loop_name(loop)
    if name in max_steps:
        return bound_of(max_steps[name])
    limits = limits_of(loop, loop.counters(), loop.invariants(), loop.graph.names(), partial=True)
    if limits is not None:
        for value in limits.values:
            if value.data is not None or value in {*loop.graph.inputs, *loop.around.producers}:
                return value
    raise ConversionError(
        "cannot convert the model: a loop collects tensors, and nothing bounds its steps",
        [
            Rejection(
                Rule.LOOP_STEPS,
                name,
                "the loop ends on a computed condition alone",
                f"bound its steps: --max-steps {name}=N, or max_steps={{{name!r}: N}} of the source",
            )
        ],
    )


def bound_of(number: int) -> Value:
    """Return a number of steps as a constant."""
    return Value("max_steps", TensorType(DType.INT32, ()), np.array(number, np.int32))


def with_type(value: Value, buffer: Buffer) -> Value:
    """Return a value of a list as its buffer."""
    kind = buffer.type()
    if kind is None:
        raise ValueError(f"{value.name}: the elements of the list are unknown")
    return replace(value, type=kind)
