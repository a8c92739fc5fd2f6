"""Find the elements of outputs that a step writes at its counter, or always at index 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from converter.analysis.zeros import is_zero
from converter.ir import Shape, TfliteOp, Value, attributes, constant, made_by
from converter.raising.indices import FIRST, NOW, Index
from converter.raising.lists import ArrayOperand, ListOperand, ReserveOperand
from converter.raising.loop import Loop
from converter.raising.reads import Reader


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A carried value that each step writes ``element`` into, at its counter or always at one index (``is_last``).

    ``count`` is its number of elements, a scalar outside of the loop, None if it has one per step. ``is_tensor``
    is False for a list or an array. Its initial content is zero, or never read.
    """

    position: int
    element: Value
    count: Value | None
    is_last: bool
    is_tensor: bool = False
    handle: Value | None = None
    """The TensorArray, outside of the loop."""
    reads_all: bool = True
    """Whether all elements are read, or only the first ``count`` of them, by slices."""


def write_of(position: int, reader: Reader) -> Write | None:
    """Return the write into a carried value, if the step does nothing else to it."""
    loop = reader.loop
    carried, after = loop.body.inputs[position], loop.body.outputs[position]
    op = made_by(after, loop.inside, *_FORMS)
    if op is None or carried in loop.body.outputs or _readers(carried, loop) - _allowed(op, carried, loop):
        return None
    return _FORMS[op.code](reader, op, position)


def _readers(carried: Value, loop: Loop) -> set[int]:
    return {id(op) for op in loop.body.ops if carried in op.operands}


def _allowed(op: TfliteOp, carried: Value, loop: Loop) -> set[int]:
    """Return the ops that may read a carried output: the op that writes it, and the SLICEs that it joins."""
    slices = [made_by(value, loop.inside, "SLICE") for value in op.operands]
    return {id(op), *(id(part) for part in slices if part is not None and part.operands[0] is carried)}


def _placed(index: Index | None, count: Value | None) -> bool | None:
    """Return whether a write at ``index`` replaces the previous one, None if it is at some other index."""
    if index == NOW:
        return False
    is_single = count is not None and count.data is not None and int(count.data.reshape(-1)[0]) == 1
    return True if index == FIRST and is_single else None


def _array_write(reader: Reader, op: TfliteOp, position: int) -> Write | None:
    loop = reader.loop
    handle = reader.outside.get(op.operand(ArrayOperand.HANDLE))
    array = made_by(handle, loop.around.producers, "TensorArrayV3")
    flow = op.operand(ArrayOperand.FLOW_OF_WRITER)
    if array is None or flow is not loop.body.inputs[position] or loop.initial(position) is not array.results[1]:
        return None
    count = array.operand(0)
    is_last = _placed(reader.index(op.operand(ArrayOperand.INDEX)), count)
    if is_last is None:
        return None
    return Write(position, op.operand(ArrayOperand.WRITTEN), count, is_last, handle=handle)


def _list_write(reader: Reader, op: TfliteOp, position: int) -> Write | None:
    loop = reader.loop
    reserve = made_by(_without_zeros(loop.initial(position), loop), loop.around.producers, "TensorListReserve")
    if reserve is None or op.operand(ListOperand.LIST) is not loop.body.inputs[position]:
        return None
    count: Value | None = reserve.operand(ReserveOperand.COUNT)
    if count is not None and count.data is not None and not count.data.any():
        count = None  # a list that grows with each step
    is_last = _placed(reader.index(op.operand(ListOperand.INDEX)), count)
    return None if is_last is None else Write(position, op.operand(ListOperand.WRITTEN), count, is_last)


def _without_zeros(value: Value, loop: Loop) -> Value:
    """Return the list that ``value`` was before zeros were written into it, which it holds initially."""
    op = made_by(value, loop.around.producers, "TensorListSetItem")
    if op is None or not is_zero(op.operand(ListOperand.WRITTEN), loop.around.producers):
        return value
    return _without_zeros(op.operand(ListOperand.LIST), loop)


def _joined(reader: Reader, op: TfliteOp, position: int) -> Write | None:
    """Match ``CONCATENATION(x[:t], element, x[t+1:])``."""
    carried = reader.loop.body.inputs[position]
    if len(op.operands) != 3 or attributes.axis(op) != 0:
        return None
    before, row, after = (op.operand(index) for index in range(3))
    start, end = _slice(before, carried, reader), _slice(after, carried, reader)
    if start is None or end is None or start[0] != FIRST or end[1] != Index(0, -1):
        return None
    index = start[1]
    if index is None or end[0] != Index(index.scale, index.offset + 1):
        return None
    return _tensor_write(reader, position, row, index)


def _slice(value: Value, carried: Value, reader: Reader) -> tuple[Index | None, Index | None] | None:
    """Return begin and size along the first axis of a SLICE of ``carried`` that takes all of the others."""
    op = made_by(value, reader.loop.inside, "SLICE")
    if op is None or op.operands[0] is not carried:
        return None
    begin, size = reader.indices(op.operands[1]), reader.indices(op.operands[2])
    if begin is None or size is None or any(index != FIRST for index in begin[1:]):
        return None
    if any(index != Index(0, -1) for index in size[1:]):
        return None
    return begin[0], size[0]


def _updated(reader: Reader, op: TfliteOp, position: int) -> Write | None:
    x, row, start = (op.operand(index) for index in range(3))
    begin = reader.indices(start)
    if x is not reader.loop.body.inputs[position] or not begin or any(index != FIRST for index in begin[1:]):
        return None
    return _tensor_write(reader, position, row, begin[0])


def _replaced(reader: Reader, op: TfliteOp, position: int) -> Write | None:
    """Match an output of one element that is a new one after each step."""
    return _tensor_write(reader, position, op.results[0], FIRST)


def _tensor_write(reader: Reader, position: int, row: Value, index: Index | None) -> Write | None:
    loop = reader.loop
    initial = loop.initial(position)
    shape = initial.type.shape
    element = _without_first_axis(row, reader)
    if not shape or shape[0] is None or element is None or not is_zero(initial, loop.around.producers):
        return None
    count = constant("count", np.array(shape[0], np.int32))
    is_last = _placed(index, count)
    return None if is_last is None else Write(position, element, count, is_last, is_tensor=True)


def _without_first_axis(row: Value, reader: Reader) -> Value | None:
    """Return the element that a row of one element was made of."""
    op = made_by(row, reader.loop.inside, "RESHAPE", "EXPAND_DIMS")
    if op is None:
        return None
    element, shape = op.operand(0), row.type.shape
    return element if shape and shape == (1, *_dims(element)) else None


def _dims(value: Value) -> Shape:
    return value.type.shape or ()


_FORMS: Mapping[str, Callable[[Reader, TfliteOp, int], Write | None]] = {
    "CONCATENATION": _joined,
    "DYNAMIC_UPDATE_SLICE": _updated,
    "EXPAND_DIMS": _replaced,
    "RESHAPE": _replaced,
    "TensorArrayWriteV3": _array_write,
    "TensorListSetItem": _list_write,
}
