"""Integers that a graph computes from shapes, as products of numbers and sizes of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from converter.ir import StridedSlice, TfliteOp
from converter.ir.dimensions import Dimension, SymbolicShape, multiply
from converter.ir.shapes import Known


def result_elements(op: TfliteOp, operands: Sequence[Known]) -> tuple[SymbolicShape | None, ...]:
    """Return the elements of each result of ``op``, None unless they are integers of known count.

    A list or an array of tensors has one element: its length.
    """
    rule = _RULES.get(op.code)
    if rule is None:
        return (None,) * len(op.results)
    elements = tuple(rule(op, operands))
    return elements + (None,) * (len(op.results) - len(elements))


_MOST = 1 << 16
"""The most elements that are followed: shapes have few, and a file may declare any number."""

_Rule = Callable[[TfliteOp, Sequence[Known]], Sequence[SymbolicShape | None]]


def _shape(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    return [given[0].shape]


def _as_first(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    return [given[0].numbers]


def _as_second(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    return [given[1].numbers]


def _joined(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    parts = [_elements(operand) for operand in given]
    known = [part for part in parts if part is not None]
    return [tuple(number for part in known for number in part) if len(known) == len(parts) else None]


def _elements(operand: Known) -> SymbolicShape | None:
    """Return the elements of an operand, each None if only their count is known."""
    if operand.numbers is not None or operand.shape is None:
        return operand.numbers
    count = multiply(operand.shape)
    return (None,) * count if isinstance(count, int) and count <= _MOST else None


def _gathered(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    numbers, places = given[0].numbers, given[1].numbers
    if numbers is None or places is None or len(given[0].shape or ()) != 1:
        return [None]
    known = [place for place in places if isinstance(place, int) and -len(numbers) <= place < len(numbers)]
    return [tuple(numbers[place] for place in known) if len(known) == len(places) else None]


def _multiplied(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    left, right = (operand.numbers for operand in given)
    if left is None or right is None or (len(left) != len(right) and 1 not in {len(left), len(right)}):
        return [None]
    count = max(len(left), len(right))
    pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
    return [tuple(map(multiply, pairs))]


def _product(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    numbers = given[0].numbers
    return [None if numbers is None or len(given[0].shape or ()) > 1 else (multiply(numbers),)]


def _unpacked(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    numbers = given[0].numbers
    return [] if numbers is None or len(given[0].shape or ()) != 1 else [(number,) for number in numbers]


def _sliced(op: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    slice_ = StridedSlice.of(op)
    numbers = given[0].numbers
    bounds = [operand.numbers or (None,) for operand in given[1:4]]
    if not slice_.is_plain or numbers is None or {len(bound) for bound in bounds} != {1}:
        return [None]
    ((begin,), (end,), (stride,)) = bounds
    if slice_.drops(0):
        return [_at(numbers, begin)]
    first = 0 if slice_.has_open_begin(0) else begin
    last = len(numbers) if slice_.has_open_end(0) else end
    if stride != 1 or not isinstance(first, int) or not isinstance(last, int):
        return [None]
    return [numbers[first:last]]


def _cut(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    numbers, begins, sizes = (operand.numbers for operand in given)
    if numbers is None or begins is None or sizes is None or len(begins) != 1 or len(sizes) != 1:
        return [None]
    begin, size = begins[0], sizes[0]
    if not isinstance(begin, int) or not isinstance(size, int) or begin < 0 or size < -1:
        return [None]
    return [numbers[begin:] if size == -1 else numbers[begin : begin + size]]


def _at(numbers: SymbolicShape, place: Dimension | None) -> SymbolicShape | None:
    known = isinstance(place, int) and -len(numbers) <= place < len(numbers)
    return (numbers[place],) if known and isinstance(place, int) else None


def _length(_: TfliteOp, given: Sequence[Known]) -> list[SymbolicShape | None]:
    return [given[0].shape[:1] if given[0].shape else None]


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "CAST": _as_first,
        "CONCATENATION": _joined,
        "EXPAND_DIMS": _as_first,
        "GATHER": _gathered,
        "MUL": _multiplied,
        "PACK": _joined,
        "REDUCE_PROD": _product,
        "RESHAPE": _as_first,
        "SHAPE": _shape,
        "SLICE": _cut,
        "SQUEEZE": _as_first,
        "STRIDED_SLICE": _sliced,
        "TensorArraySizeV3": _as_first,
        "TensorArrayV3": _as_first,
        "TensorListFromTensor": _length,
        "TensorListLength": _as_first,
        "TensorListReserve": _as_second,
        "UNPACK": _unpacked,
    }
)
