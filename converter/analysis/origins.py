"""How large what a step makes is, known before the first step: its dimensions followed back to what is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from converter.ir import Op, TfliteOp, Trait, Value, dims, has


def origin(value: Value, axis: int, producers: Mapping[Value, Op]) -> tuple[Value, int] | None:
    """Return the value that no op of ``producers`` makes, and its axis, that is as long as ``axis`` of ``value``.

    None if the op that decides it is not known here.
    """
    producer = producers.get(value)
    if producer is None:
        return value, axis
    if not isinstance(producer, TfliteOp):
        return None
    deciding = _DECIDING.get("ELEMENTWISE" if has(producer, Trait.ELEMENTWISE) else producer.builtin)
    if deciding is None:
        return None
    found = (origin(operand, place, producers) for operand, place in deciding(producer, axis))
    return next((entry for entry in found if entry is not None), None)


def _elementwise(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    """A dimension that is not known is that of an operand for which it is not known either."""
    rank = len(dims(op.results[0]))
    for operand in op.operands:
        if operand is None or operand.type.shape is None:
            continue
        place = axis - (rank - len(dims(operand)))
        if place >= 0 and dims(operand)[place] is None:
            yield operand, place


def _leading(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    x = op.operands[0]
    if x is not None and x.type.rank == op.results[0].type.rank and axis < len(dims(x)) - 1:
        yield x, axis


def _concatenation(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    joined = int(str(op.options["axis"])) % len(dims(op.results[0]))
    for operand in op.operands:
        if axis != joined and operand is not None and operand.type.shape is not None:
            yield operand, axis


def _split(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    along, x = op.operands[0], op.operands[1]
    if x is None or along is None or along.data is None:
        return
    if axis != int(along.data) % len(dims(op.results[0])):
        yield x, axis


def _transpose(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    x, order = op.operands
    if x is not None and order is not None and order.data is not None:
        yield x, int(order.data[axis])


def _expand_dims(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    x, place = op.operands
    if x is not None and place is not None and place.data is not None:
        added = int(place.data.reshape(())) % len(dims(op.results[0]))
        if axis != added:
            yield x, axis - (axis > added)


def _rows(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    x = op.operands[0]
    if x is not None and axis == 0:
        yield x, 0


def _same(op: TfliteOp, axis: int) -> Iterator[tuple[Value, int]]:
    x = op.operands[0]
    if x is not None:
        yield x, axis


_DECIDING: Mapping[str, Callable[[TfliteOp, int], Iterator[tuple[Value, int]]]] = {
    "ELEMENTWISE": _elementwise,
    "BATCH_MATMUL": _leading,
    "CONCATENATION": _concatenation,
    "CONV_2D": _rows,
    "DEPTHWISE_CONV_2D": _rows,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": _leading,
    "LOG_SOFTMAX": _same,
    "SOFTMAX": _same,
    "SPLIT": _split,
    "TRANSPOSE": _transpose,
}
