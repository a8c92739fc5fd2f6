"""Find the elements of sequences that a step reads at its counter."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from converter.ir import StridedSlice, TfliteOp, Value, attributes, made_by
from converter.raising.indices import NEXT, NOW, Index, index_of, indices_of
from converter.raising.lists import ArrayOperand, ListOperand, scattered
from converter.raising.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """``op`` of the body returns the current element of ``sequence``, a value outside; ``axis`` is time."""

    op: TfliteOp
    sequence: Value
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What is needed to find the reads of a loop's body."""

    loop: Loop
    counters: Set[Value]
    outside: Mapping[Value, Value]
    """The value outside of the loop of each invariant of the body."""

    def read_of(self, op: TfliteOp) -> Read | None:
        """Return the read of ``op``, None if it does not read a sequence at the counter."""
        find = _FORMS.get(op.code)
        return None if find is None else find(self, op)

    def index(self, value: Value | None) -> Index | None:
        """Return an integer of the body as a function of t."""
        return None if value is None else index_of(value, self.counters, self.loop.inside)

    def indices(self, value: Value | None) -> tuple[Index | None, ...] | None:
        """Return each element of an integer vector of the body as a function of t."""
        return None if value is None else indices_of(value, self.counters, self.loop.inside)


def _array_read(reader: Reader, op: TfliteOp) -> Read | None:
    if reader.index(op.operand(ArrayOperand.INDEX)) != NOW:
        return None
    handle = reader.outside.get(op.operand(ArrayOperand.HANDLE))
    flow = reader.outside.get(op.operand(ArrayOperand.FLOW_OF_READER))
    sequence = None if handle is None or flow is None else scattered(handle, flow, reader.loop.around)
    return None if sequence is None else Read(op, sequence)


def _list_item(reader: Reader, op: TfliteOp) -> Read | None:
    if reader.index(op.operand(ListOperand.INDEX)) != NOW:
        return None
    items = reader.outside.get(op.operand(ListOperand.LIST))
    made = made_by(items, reader.loop.around.producers, "TensorListFromTensor")
    return None if made is None else Read(op, made.operand(0))


def _gather(reader: Reader, op: TfliteOp) -> Read | None:
    sequence, index = reader.outside.get(op.operand(0)), op.operand(1)
    if sequence is None or index.type.shape != () or reader.index(index) != NOW:
        return None
    rank = sequence.type.rank
    return (
        None if rank is None or attributes.has_batch_axes(op) else Read(op, sequence, attributes.axis(op) % rank)
    )


def _strided_slice(reader: Reader, op: TfliteOp) -> Read | None:
    sliced = StridedSlice.of(op)
    sequence = reader.outside.get(sliced.x)
    if sequence is None or not (sliced.is_plain and sliced.has_unit_strides):
        return None
    axis = sliced.dropped_axis
    first, last = reader.indices(sliced.begin), reader.indices(sliced.end)
    if axis is None or first is None or last is None or first[axis] != NOW or last[axis] != NEXT:
        return None
    others = (place for place in range(len(first)) if place != axis)
    return Read(op, sequence, axis) if all(map(sliced.is_whole, others)) else None


_FORMS = {
    "GATHER": _gather,
    "STRIDED_SLICE": _strided_slice,
    "TensorArrayReadV3": _array_read,
    "TensorListGetItem": _list_item,
}
