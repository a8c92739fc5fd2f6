from __future__ import annotations

from dataclasses import replace

from converter.ir import DType, Recurrence, rewire
from tests.programs import lstm_cell, recurrence, tensor


def test_every_operand_of_a_recurrence_is_replaced() -> None:
    x, mask = tensor("x", None, None, 3), tensor("mask", None, None, dtype=DType.BOOL)
    states = (tensor("c", None, 4), tensor("h", None, 4))
    lengths = tensor("lengths", None, dtype=DType.INT32)
    op: Recurrence = replace(recurrence(lstm_cell(), x, initial_state=states, sequence_length=lengths), mask=mask)
    other = {value: replace(value, name=f"other_{value.name}") for value in op.operands if value is not None}
    assert rewire(op, other).operands == tuple(other[value] for value in (x, lengths, mask, *states))
