"""Elements of sequences that a step reads at its counter."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from converter.ir import TfliteOp, Value
from converter.raising.indices import NEXT, NOW, Index, index_of, indices_of
from converter.raising.lists import ArrayOperand, ListOperand, made_by, operand, scattered
from converter.raising.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """``op`` of the body gives the element of ``sequence``, a value around the loop, whose ``axis`` is time."""

    op: TfliteOp
    sequence: Value
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What is needed to find the reads of a loop's body."""

    loop: Loop
    counters: Set[Value]
    outside: Mapping[Value, Value]
    """What each invariant of the body is around the loop."""

    def read_of(self, op: TfliteOp) -> Read | None:
        """Return what ``op`` reads, if it is the element of a sequence at the counter."""
        find = _FORMS.get(op.custom_code or op.builtin)
        return None if find is None else find(self, op)

    def index(self, value: Value | None) -> Index | None:
        """Return what an integer of the body is in step t."""
        return None if value is None else index_of(value, self.counters, self.loop.inside)

    def indices(self, value: Value | None) -> tuple[Index | None, ...] | None:
        """Return what each element of an integer vector of the body is in step t."""
        return None if value is None else indices_of(value, self.counters, self.loop.inside)


def _array_read(reader: Reader, op: TfliteOp) -> Read | None:
    if reader.index(operand(op, ArrayOperand.INDEX)) != NOW:
        return None
    handle = reader.outside.get(operand(op, ArrayOperand.HANDLE))
    flow = reader.outside.get(operand(op, ArrayOperand.FLOW_OF_READER))
    sequence = None if handle is None or flow is None else scattered(handle, flow, reader.loop.around)
    return None if sequence is None else Read(op, sequence)


def _list_item(reader: Reader, op: TfliteOp) -> Read | None:
    if reader.index(operand(op, ListOperand.INDEX)) != NOW:
        return None
    items = made_by(reader.outside.get(operand(op, ListOperand.LIST)), reader.loop.around, "TensorListFromTensor")
    return None if items is None else Read(op, operand(items, 0))


def _gather(reader: Reader, op: TfliteOp) -> Read | None:
    x, index = op.operands
    sequence = reader.outside.get(x) if x is not None else None
    if sequence is None or index is None or index.type.shape != () or reader.index(index) != NOW:
        return None
    rank = sequence.type.rank
    axis = int(str(op.options.get("axis", 0)))
    if rank is None or int(str(op.options.get("batchDims", 0))):
        return None
    return Read(op, sequence, axis % rank)


def _strided_slice(reader: Reader, op: TfliteOp) -> Read | None:
    x, begin, end, strides = op.operands
    sequence = reader.outside.get(x) if x is not None else None
    if sequence is None or strides is None or strides.data is None or (strides.data != 1).any():
        return None
    if any(int(str(op.options.get(mask, 0))) for mask in ("ellipsisMask", "newAxisMask")):
        return None
    axis = _single_axis(int(str(op.options["shrinkAxisMask"])))
    first, last = reader.indices(begin), reader.indices(end)
    if axis is None or first is None or last is None or first[axis] != NOW or last[axis] != NEXT:
        return None
    whole = int(str(op.options["beginMask"])) & int(str(op.options["endMask"]))
    others = [place for place in range(len(first)) if place != axis]
    return Read(op, sequence, axis) if all(whole & (1 << place) for place in others) else None


def _single_axis(mask: int) -> int | None:
    """Return the only bit that is set."""
    return mask.bit_length() - 1 if mask and not mask & (mask - 1) else None


_FORMS = {
    "GATHER": _gather,
    "STRIDED_SLICE": _strided_slice,
    "TensorArrayReadV3": _array_read,
    "TensorListGetItem": _list_item,
}
