from __future__ import annotations

import pytest

from converter.errors import InvalidProgramError
from converter.ir import Cell
from converter.lowering.fused import lower_fused
from tests.programs import gru_cell, layer_norm_lstm_cell, recurrence, tensor


@pytest.mark.parametrize("cell", [gru_cell(), layer_norm_lstm_cell()], ids=["gru", "layer_norm_lstm"])
def test_a_cell_without_a_fused_op_is_an_error_of_whoever_chose_that_lowering(cell: Cell) -> None:
    with pytest.raises(InvalidProgramError, match="rnn: no fused op computes"):
        lower_fused(recurrence(cell, tensor("x", None, None, 3)), set())
