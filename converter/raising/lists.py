"""TensorFlow's lists and arrays of tensors, which TFLiteConverter leaves as CUSTOM ops.

Loops of control flow v1 (frozen graphs) have TensorArrays: a handle that never changes, and a *flow*, a number
that every write returns. Loops of control flow v2 have TensorLists, which are values.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.ir import Value, made_by


class ArrayOperand(IntEnum):
    """Operands of the ops on TensorArrays: reads and gathers have the flow third, writes last."""

    HANDLE = 0
    INDEX = 1
    FLOW_OF_READER = 2
    WRITTEN = 2
    FLOW_OF_WRITER = 3


class ListOperand(IntEnum):
    """Operands of the ops on TensorLists."""

    LIST = 0
    INDEX = 1
    WRITTEN = 2


class ReserveOperand(IntEnum):
    """Operands of TensorListReserve."""

    SHAPE = 0
    COUNT = 1


def scattered(handle: Value, flow: Value, around: Dimensions) -> Value | None:
    """Return the sequence whose elements a TensorArray holds in order."""
    scatter = made_by(flow, around.producers, "TensorArrayScatterV3")
    if scatter is None or scatter.operand(ArrayOperand.HANDLE) is not handle:
        return None
    array = made_by(handle, around.producers, "TensorArrayV3")
    if array is None or not is_range(scatter.operand(ArrayOperand.INDEX), array.operand(0), around):
        return None
    return scatter.operand(ArrayOperand.WRITTEN)


def is_range(indices: Value, count: Value, around: Dimensions) -> bool:
    """True if ``indices`` are 0, 1, … ``count`` - 1."""
    if indices.data is not None:
        size = around.number(count)
        return np.array_equal(indices.data.reshape(-1), np.arange(size)) if isinstance(size, int) else False
    op = made_by(indices, around.producers, "RANGE")
    if op is None:
        return False
    start, limit, delta = (around.number(op.operand(index)) for index in range(3))
    return start == 0 and delta == 1 and limit == around.number(count)
