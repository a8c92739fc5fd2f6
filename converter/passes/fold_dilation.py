"""fold-dilation: one dilated convolution for SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND.

TensorFlow computes a dilated convolution over interleaved parts of x. Where sizes are unknown, TFLiteConverter
leaves it so. It computes paddings and crops from the size of x: p before and q behind it for the convolution, and
as many more behind it as make whole parts, which are cropped again. A kernel that knows dilations needs no parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.analysis.uses import Uses
from converter.emission.emitter import Emitter
from converter.errors import InvalidProgramError
from converter.ir import (
    Array,
    Graph,
    Op,
    Producers,
    Program,
    TensorType,
    TfliteOp,
    Trait,
    Value,
    attributes,
    dims,
    has,
    integers,
    made_by,
)
from converter.ir.attributes import Windows
from converter.ir.evaluate import evaluate_graph

_MOST = 1024
"""The largest dilation that is folded: every size of a period is tried."""


@dataclass(frozen=True, slots=True, eq=False)
class _Dilated:
    """A dilated convolution in parts over ``x``, whose inner axes are padded by ``paddings`` [axes, 2]."""

    x: Value
    conv: TfliteOp
    expand: TfliteOp | None
    result: Value
    block: tuple[int, ...]
    paddings: Array

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of a convolution's operand, of four axes, along which it is dilated."""
        if self.expand is None:
            return tuple(range(1, len(self.block) + 1))
        place = _place(self.expand)
        return tuple(axis + (place <= axis) for axis in range(1, len(self.block) + 1))


def fold_dilation(program: Program) -> Program:
    """Replace dilated convolutions in parts by one op each, which knows the dilation."""
    return program.map_graphs(_folded)


def _folded(graph: Graph) -> Graph:
    uses = Uses.of(graph)
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        found = _match(op, uses)
        if found is None:
            ops.append(op)
            continue
        emitter = Emitter(found.conv.name, names)
        _emit(found, emitter)
        ops += emitter.ops
    return replace(graph, ops=tuple(ops))


# --- matching ----------------------------------------------------------------------------------------------------


def _match(op: Op, uses: Uses) -> _Dilated | None:
    if not isinstance(op, TfliteOp) or op.builtin != "BATCH_TO_SPACE_ND":
        return None
    producers = uses.producers
    reshaped = made_by(op.operand(0), producers, "RESHAPE", "SQUEEZE")
    conv = made_by(reshaped.operand(0) if reshaped else op.operand(0), producers, "CONV_2D", "DEPTHWISE_CONV_2D")
    if conv is None or not _is_plain(conv):
        return None
    expand = made_by(conv.operand(0), producers, "EXPAND_DIMS")
    parts = made_by(expand.operand(0) if expand else conv.operand(0), producers, "SPACE_TO_BATCH_ND")
    if parts is None or (expand is None) != (reshaped is None):
        return None
    if not _fits(op, conv, expand, reshaped, parts):
        return None
    block = integers(parts.operand(1))
    if not block or block != integers(op.operand(1)) or min(block) < 1 or math.lcm(*block) > _MOST:
        return None
    paddings = _paddings(parts.operand(0), block, parts.operand(2), op.operand(2), producers)
    return None if paddings is None else _Dilated(parts.operand(0), conv, expand, op.results[0], block, paddings)


def _is_plain(conv: TfliteOp) -> bool:
    windows = Windows.of(conv)
    return not windows.is_padded and windows.strides == windows.dilations == (1, 1)


def _fits(
    op: TfliteOp, conv: TfliteOp, expand: TfliteOp | None, reshaped: TfliteOp | None, parts: TfliteOp
) -> bool:
    """Return whether what is between the parts and the convolution adds one axis of size one and drops it."""
    rank = 4 if expand is None else 3
    ranks = {parts.operand(0).type.rank, op.results[0].type.rank}
    if ranks != {rank} or conv.operand(1).type.rank != 4 or conv.results[0].type.rank != 4:
        return False
    if expand is None or reshaped is None:
        return True
    made, kernel = conv.results[0].type.shape, conv.operand(1).type.shape
    if integers(expand.operand(1)) is None or made is None or kernel is None or reshaped.results[0].type.rank != 3:
        return False
    place = _place(expand)
    return place in {1, 2} and kernel[place] == 1 and made[place] == 1


def _place(expand: TfliteOp) -> int:
    """Return the axis that an EXPAND_DIMS of three axes adds."""
    return (integers(expand.operand(1)) or (0,))[0] % 4


def _paddings(x: Value, block: Sequence[int], paddings: Value, crops: Value, producers: Producers) -> Array | None:
    """Return the paddings of the convolution [axes, 2], None if paddings or crops are not made for it."""
    shape = dims(x)
    unknown = [axis for axis in range(1, len(block) + 1) if shape[axis] is None]
    ops = _ops_of((paddings, crops), x, block, producers)
    if len(unknown) > 1 or ops is None:
        return None
    sizes = tuple(op.results[0] for op in ops if op.builtin == "SHAPE")
    graph = Graph("paddings", sizes, (paddings, crops), tuple(op for op in ops if op.builtin != "SHAPE"))
    found: Array | None = None
    for length in range(1, 2 + 2 * math.lcm(*block)) if unknown else (1,):
        known = np.array([length if axis in unknown else size or 1 for axis, size in enumerate(shape)], np.int32)
        own = _own_paddings(graph, known, block)
        if own is None or (found is not None and not np.array_equal(own, found)):
            return None
        found = own
    return found


def _own_paddings(graph: Graph, sizes: Array, block: Sequence[int]) -> Array | None:
    """Return the paddings of the convolution at the ``sizes`` of x, without those that make whole parts."""
    try:
        padded, cropped = evaluate_graph(graph, [sizes] * len(graph.inputs))
    except (InvalidProgramError, ValueError, IndexError, ArithmeticError):
        return None
    if padded.shape != (len(block), 2) or cropped.shape != padded.shape or cropped[:, 0].any():
        return None
    own = padded - cropped
    spatial = sizes[1 : len(block) + 1]
    extra = -(spatial + own.sum(axis=1)) % np.array(block)
    return own if own.min() >= 0 and np.array_equal(cropped[:, 1], extra) else None


def _ops_of(
    values: Sequence[Value], x: Value, block: Sequence[int], producers: Producers
) -> list[TfliteOp] | None:
    """Return the ops that compute integers from the shape of ``x``, in order; None if others are among them."""
    found: dict[TfliteOp, None] = {}

    def visit(value: Value) -> bool:
        op = producers.get(value)
        if value.is_constant or op in found:
            return True
        if not isinstance(op, TfliteOp) or not _is_known(op, x, block):
            return False
        if op.builtin != "SHAPE" and not all(visit(operand) for operand in op.operands if operand is not None):
            return False
        found[op] = None
        return True

    return list(found) if all(visit(value) for value in values) else None


def _is_known(op: TfliteOp, x: Value, block: Sequence[int]) -> bool:
    """Return whether an op may compute a padding.

    Sums, differences and rests by the block of a size L are linear in L but for a part whose period is the block:
    if they are right for two periods, they are right for every L.
    """
    if op.builtin == "SHAPE":
        return op.operand(0) is x
    if op.builtin == "FLOOR_MOD":
        divisor = integers(op.operand(1))
        return divisor is not None and set(divisor) <= set(block)
    return has(op, Trait.MOVES | Trait.RESHAPES) or op.builtin in {"ADD", "SUB"}


# --- emission ----------------------------------------------------------------------------------------------------


def _emit(found: _Dilated, emitter: Emitter) -> None:
    x = _padded(found, emitter)
    if found.expand is not None:
        place = _place(found.expand)
        shape = (*dims(x)[:place], 1, *dims(x)[place:])
        x = emitter.op("EXPAND_DIMS", [x, emitter.integer(place)], emitter.value("row", x, shape))
    kernel = dims(found.conv.operand(1))
    factors = dict(zip(found.axes, found.block, strict=True))
    sizes = [_after(dims(x)[axis], kernel[axis], factors.get(axis, 1)) for axis in (1, 2)]
    made = (dims(x)[0], *sizes, dims(found.conv.results[0])[3])
    conv = attributes.dilated(found.conv, factors.get(1, 1), factors.get(2, 1))
    result = found.result
    if found.expand is not None:
        result = Value(emitter.name("dilated"), TensorType(found.result.type.dtype, made))
    emitter.ops.append(replace(conv, operands=(x, *conv.operands[1:]), results=(result,)))
    if found.expand is not None:
        emitter.op("SQUEEZE", [result], found.result, {"squeezeDims": [_place(found.expand)]})


def _padded(found: _Dilated, emitter: Emitter) -> Value:
    if not found.paddings.any():
        return found.x
    pairs = np.zeros((len(dims(found.x)), 2), np.int32)
    pairs[1 : len(found.block) + 1] = found.paddings
    sizes = zip(dims(found.x), pairs.sum(axis=1), strict=True)
    shape = tuple(None if size is None else size + int(more) for size, more in sizes)
    given = [found.x, emitter.constant("paddings", pairs)]
    return emitter.op("PAD", given, emitter.value("padded", found.x, shape))


def _after(size: int | None, span: int | None, factor: int) -> int | None:
    return None if size is None or span is None else max(0, size - (span - 1) * factor)
