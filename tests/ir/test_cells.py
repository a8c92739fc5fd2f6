from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.ir import Gate, LstmCell, RnnCell, Value
from converter.ir.types import DType, TensorType, constant
from tests.programs import gate, lstm_cell, rnn_cell

RNG = np.random.default_rng(0)


def test_a_gate_refuses_matrices_of_other_units() -> None:
    with pytest.raises(ValueError, match="kernel has 3 rows, the bias has 4"):
        Gate(np.zeros((3, 2)), np.zeros((4, 4)), np.zeros(4))


def test_a_gate_refuses_a_bias_of_rank_2() -> None:
    with pytest.raises(ValueError, match=r"bias has shape \[4, 1\]"):
        Gate(np.zeros((4, 2)), np.zeros((4, 4)), np.zeros((4, 1)))


def test_an_rnn_cell_refuses_a_recurrent_kernel_that_is_not_square() -> None:
    with pytest.raises(ValueError, match="square"):
        RnnCell(gate(RNG, 4, 3, 2), rnn_cell().activation)


def test_an_lstm_cell_refuses_gates_of_different_depths() -> None:
    with pytest.raises(ValueError, match=r"cell_gate.kernel is \[4, 5\], not \[4, 3\]"):
        replace(lstm_cell(), cell_gate=gate(RNG, 4, 5, 4))


@pytest.mark.parametrize("clip", [-1.0, float("nan")])
def test_an_lstm_cell_refuses_a_clip_that_is_no_bound(clip: float) -> None:
    with pytest.raises(ValueError, match="cell_clip"):
        lstm_cell(cell_clip=clip)


def test_an_lstm_cell_refuses_a_peephole_into_an_absent_input_gate() -> None:
    with pytest.raises(ValueError, match="together or not at all"):
        replace(lstm_cell(peephole=True), input_gate=None)


def test_sizes_of_a_projected_lstm_are_those_of_its_projection() -> None:
    cell = lstm_cell(units=4, projection=2)
    assert (cell.units, cell.output_size, cell.state_sizes) == (4, 2, (4, 2))


def test_a_cell_describes_its_options() -> None:
    cell: LstmCell = lstm_cell(peephole=True, cifg=True, cell_clip=1.5, projection=2, forget_bias=1.0)
    described = "lstm(units=4, activation=tanh, cifg, peephole, projection=2, cell_clip=1.5, forget_bias=1)"
    assert str(cell) == described


def test_constants_are_read_only() -> None:
    value = constant("c", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        value.data[0] = 1.0


def test_a_constant_refuses_data_of_another_type() -> None:
    with pytest.raises(ValueError, match=r"data is float64\[3\], type is float32\[3\]"):
        Value("c", TensorType(DType.FLOAT32, (3,)), np.zeros(3))


def test_a_state_tensor_refuses_constant_data() -> None:
    with pytest.raises(ValueError, match="state tensor"):
        Value("s", TensorType(DType.FLOAT32, (3,)), np.zeros(3, np.float32), is_variable=True)
