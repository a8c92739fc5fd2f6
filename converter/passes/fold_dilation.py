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

from converter.analysis.uses import backward_slice
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
    as_tflite,
    attributes,
    dims,
    has,
    integers,
    made_by,
)
from converter.ir.attributes import Windows
from converter.ir.evaluate import evaluate_graph
from converter.ir.shapes import result_shapes

_MOST = 1024
"""The largest dilation that is folded: every size of a period is tried."""


@dataclass(frozen=True, slots=True, eq=False)
class _Dilated:
    """A dilated convolution in parts over ``x``, whose inner axes are padded by ``paddings`` [axes, 2].

    Where x has three axes, the convolution has one more, of size one, at ``place``.
    """

    x: Value
    conv: TfliteOp
    place: int | None
    result: Value
    block: tuple[int, ...]
    paddings: Array

    @property
    def dilations(self) -> tuple[int, int]:
        """The dilations along the two inner axes of the convolution."""
        factors = [*self.block, 1][:2]
        return (1, factors[0]) if self.place == 1 else (factors[0], factors[1])


def fold_dilation(program: Program) -> Program:
    """Replace dilated convolutions in parts by one op each, which knows the dilation."""
    return program.map_graphs(_folded)


def _folded(graph: Graph) -> Graph:
    producers = graph.producers()
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        found = _match(op, graph, producers)
        if found is None:
            ops.append(op)
            continue
        emitter = Emitter(found.conv.name, names)
        _emit(found, emitter)
        ops += emitter.ops
    return replace(graph, ops=tuple(ops))


# --- matching ----------------------------------------------------------------------------------------------------


def _match(op: Op, graph: Graph, producers: Producers) -> _Dilated | None:
    if not isinstance(op, TfliteOp) or op.builtin != "BATCH_TO_SPACE_ND":
        return None
    reshaped = made_by(op.operand(0), producers, "RESHAPE", "SQUEEZE")
    conv = made_by(reshaped.operand(0) if reshaped else op.operand(0), producers, "CONV_2D", "DEPTHWISE_CONV_2D")
    if conv is None or not _is_plain(conv):
        return None
    expand = made_by(conv.operand(0), producers, "EXPAND_DIMS")
    parts = made_by(expand.operand(0) if expand else conv.operand(0), producers, "SPACE_TO_BATCH_ND")
    if parts is None or (expand is None) != (reshaped is None):
        return None
    added = None if expand is None else integers(expand.operand(1))
    place = added[0] % 4 if added else None
    if (expand is None) != (place is None) or not _fits(op, conv, parts, place):
        return None
    block = _block(parts, op, 2 if place is None else 1)  # the last axis is that of channels
    if block is None or (expand is None) != (place is None) or not _fits(op, conv, parts, place):
        return None
    paddings = _paddings(parts.operand(0), block, (parts.operand(2), op.operand(2)), graph)
    return None if paddings is None else _Dilated(parts.operand(0), conv, place, op.results[0], block, paddings)


def _is_plain(conv: TfliteOp) -> bool:
    windows = Windows.of(conv)
    return not windows.is_padded and windows.strides == windows.dilations == (1, 1)


def _fits(op: TfliteOp, conv: TfliteOp, parts: TfliteOp, place: int | None) -> bool:
    """Return whether the convolution runs over the parts, with one more axis of size one at ``place``, if any."""
    ranks = {value.type.rank for value in (parts.operand(0), op.operand(0), op.results[0])}
    made, kernel = conv.results[0].type.shape, conv.operand(1).type.shape
    if ranks != {4 if place is None else 3} or made is None or kernel is None or {len(made), len(kernel)} != {4}:
        return False
    return place is None or (place in {1, 2} and kernel[place] == made[place] == 1)


def _block(parts: TfliteOp, op: TfliteOp, most: int) -> tuple[int, ...] | None:
    """Return the dilations, None if the two ops differ, or if they are along more than ``most`` axes."""
    block = integers(parts.operand(1))
    if not block or len(block) > most or block != integers(op.operand(1)):
        return None
    return block if min(block) >= 1 and math.lcm(*block) <= _MOST else None


def _paddings(x: Value, block: Sequence[int], computed: tuple[Value, Value], graph: Graph) -> Array | None:
    """Return the paddings of the convolution [axes, 2], None if paddings and crops are not ``computed`` for it."""
    shape = dims(x)
    unknown = [axis for axis in range(1, len(block) + 1) if shape[axis] is None]
    part = _computation(computed, x, block, graph)
    if len(unknown) > 1 or part is None:
        return None
    found: Array | None = None
    for length in range(1, 2 + 2 * math.lcm(*block)) if unknown else (1,):
        known = np.array([length if axis in unknown else size or 1 for axis, size in enumerate(shape)], np.int32)
        own = _own_paddings(part, known, block)
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


def _computation(values: tuple[Value, ...], x: Value, block: Sequence[int], graph: Graph) -> Graph | None:
    """Return the part of ``graph`` that computes ``values`` from the shape of ``x``; None if others are in it."""
    sizes = {op.results[0] for op in graph.ops if as_tflite(op, "SHAPE") and op.operands[0] is x}
    part = backward_slice(graph.ops, values, given=sizes)
    made = sizes.union(*(op.results for op in part.ops))
    if not all(_is_known(op, block) for op in part.ops):
        return None
    if any(value not in made and not value.is_constant for value in part.values):
        return None
    return Graph("paddings", tuple(sizes), values, part.ops)


def _is_known(op: Op, block: Sequence[int]) -> bool:
    """Return whether an op may compute a padding.

    Sums, differences and rests by the block of a size L are linear in L but for a part whose period is the block:
    if they are right for two periods, they are right for every L.
    """
    if as_tflite(op, "FLOOR_MOD"):
        divisor = integers(op.operands[1])
        return divisor is not None and set(divisor) <= set(block)
    return has(op, Trait.MOVES | Trait.RESHAPES) or as_tflite(op, "ADD", "SUB") is not None


# --- emission ----------------------------------------------------------------------------------------------------


def _emit(found: _Dilated, emitter: Emitter) -> None:
    pairs = np.zeros((len(dims(found.x)), 2), np.int32)
    pairs[1 : len(found.block) + 1] = found.paddings
    x, place = emitter.pad(found.x, pairs), found.place
    if place is not None:
        shape = (*dims(x)[:place], 1, *dims(x)[place:])
        x = emitter.op("EXPAND_DIMS", [x, emitter.integer(place)], emitter.value("row", x, shape))
    conv = attributes.dilated(replace(found.conv, operands=(x, *found.conv.operands[1:])), *found.dilations)
    if place is None:
        emitter.ops.append(replace(conv, results=(found.result,)))
        return
    (made,) = result_shapes(conv)
    row = Value(emitter.name("dilated"), TensorType(found.result.type.dtype, made))
    emitter.ops.append(replace(conv, results=(row,)))
    emitter.op("SQUEEZE", [row], found.result, {"squeezeDims": [place]})
