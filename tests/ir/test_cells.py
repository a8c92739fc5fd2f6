from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from converter.ir import Activation, Cell, Gate, LayerNorm, LstmCell, RnnCell, Value
from converter.ir.types import DType, TensorType, constant
from tests.programs import gate, gru_cell, layer_norm_lstm_cell, lstm_cell, rnn_cell

RNG = np.random.default_rng(0)


def test_a_gate_refuses_matrices_of_other_units() -> None:
    with pytest.raises(ValueError, match="kernel: expected 4 rows, as the bias has, got 3"):
        Gate(np.zeros((3, 2)), np.zeros((4, 4)), np.zeros(4))


def test_a_gate_refuses_a_bias_of_rank_2() -> None:
    with pytest.raises(ValueError, match=r"bias: expected rank 1, got shape \[4, 1\]"):
        Gate(np.zeros((4, 2)), np.zeros((4, 4)), np.zeros((4, 1)))


def test_an_rnn_cell_refuses_a_recurrent_kernel_that_is_not_square() -> None:
    with pytest.raises(ValueError, match="square"):
        RnnCell(gate(RNG, 4, 3, 2), rnn_cell().activation)


def test_an_lstm_cell_refuses_gates_of_different_depths() -> None:
    with pytest.raises(ValueError, match=r"cell_gate.kernel: expected shape \[4, 3\], got \[4, 5\]"):
        replace(lstm_cell(), cell_gate=gate(RNG, 4, 5, 4))


@pytest.mark.parametrize("clip", [-1.0, float("nan")])
def test_an_lstm_cell_refuses_a_clip_that_is_no_bound(clip: float) -> None:
    with pytest.raises(ValueError, match="cell_clip"):
        lstm_cell(cell_clip=clip)


def test_an_lstm_cell_refuses_a_peephole_into_an_absent_input_gate() -> None:
    with pytest.raises(ValueError, match="both an input gate and its peephole weights, or neither"):
        replace(lstm_cell(peephole=True), input_gate=None)


def test_sizes_of_a_projected_lstm_are_those_of_its_projection() -> None:
    cell = lstm_cell(units=4, projection=2)
    assert (cell.units, cell.output_size, cell.state_sizes) == (4, 2, (4, 2))


def test_a_cell_describes_its_options() -> None:
    cell: LstmCell = lstm_cell(peephole=True, cifg=True, cell_clip=1.5, projection=2, forget_bias=1.0)
    described = "lstm(units=4, activation=tanh, cifg, peephole, projection=2, cell_clip=1.5, forget_bias=1)"
    assert str(cell) == described


def test_a_gru_cell_refuses_gates_and_biases_of_other_sizes() -> None:
    with pytest.raises(ValueError, match=r"candidate.kernel: expected shape \[4, 3\], got \[4, 5\]"):
        replace(gru_cell(), candidate=gate(RNG, 4, 5, 4))
    with pytest.raises(ValueError, match=r"reset_gate.recurrent_kernel: expected shape \[4, 4\], got \[4, 2\]"):
        replace(gru_cell(), reset_gate=gate(RNG, 4, 3, 2))
    with pytest.raises(ValueError, match=r"candidate_recurrent_bias: expected shape \[4\], got \[3\]"):
        replace(gru_cell(), candidate_recurrent_bias=np.zeros(3))


def test_an_lstm_refuses_a_normalisation_of_other_gates_or_sizes() -> None:
    norm = lstm_cell(gate_norm=True).gate_norm
    assert norm is not None
    with pytest.raises(ValueError, match="expected both an input gate and its normalisation, or neither"):
        replace(lstm_cell(cifg=True), gate_norm=norm)
    with pytest.raises(ValueError, match=r"scale of cell_gate: expected shape \[4\], got \[3\]"):
        replace(lstm_cell(), gate_norm=replace(norm, cell=np.ones(3)))


def test_an_lstm_refuses_a_projection_bias_without_a_projection_of_its_size() -> None:
    with pytest.raises(ValueError, match="projection_bias: expected the size of a projection"):
        replace(lstm_cell(), projection_bias=np.zeros(4))
    with pytest.raises(ValueError, match=r"projection_bias: expected the size of a projection, got \[4\]"):
        replace(lstm_cell(projection=2), projection_bias=np.zeros(4))


def test_a_gru_cell_has_its_output_for_a_state_and_describes_its_options() -> None:
    cell = gru_cell(reset_after=True, recurrent_activation=Activation.HARD_SIGMOID)
    assert (cell.input_size, cell.output_size, cell.state_sizes) == (3, 4, (4,))
    assert str(cell) == "gru(units=4, activation=tanh, recurrent_activation=hard_sigmoid, reset_after)"
    assert str(gru_cell()) == "gru(units=4, activation=tanh)"


def test_a_layer_normalisation_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"expected one shape \[units\], got \[4\] and \[3\]"):
        LayerNorm(np.ones(4), np.zeros(3), 1e-12)
    with pytest.raises(ValueError, match=r"epsilon: expected a number above 0, got 0\.0"):
        LayerNorm(np.ones(4), np.zeros(4), 0.0)


def test_a_layer_normalised_lstm_refuses_norms_of_other_gates_or_sizes() -> None:
    cell = layer_norm_lstm_cell()
    with pytest.raises(ValueError, match="both an input gate and its layer normalisation, or neither"):
        replace(cell, input_norm=None)
    with pytest.raises(ValueError, match=r"gamma of state: expected shape \[4\], got \[3\]"):
        replace(cell, state_norm=LayerNorm(np.ones(3), np.zeros(3), 1e-12))


def test_a_layer_normalised_lstm_has_the_sizes_of_its_lstm() -> None:
    cell = layer_norm_lstm_cell(lstm_cell(projection=2, cifg=True))
    assert (cell.input_size, cell.output_size, cell.state_sizes) == (3, 2, (4, 2))
    assert str(cell) == "layer_norm_lstm(units=4, activation=tanh, cifg, projection=2)"


EVERY_CELL = [
    pytest.param(cell, id=str(cell))
    for cell in (
        rnn_cell(),
        gru_cell(),
        gru_cell(reset_after=True),
        lstm_cell(),
        lstm_cell(peephole=True, projection=2),
        lstm_cell(cifg=True, peephole=True),
        lstm_cell(projection=2, projection_bias=True),
        lstm_cell(gate_norm=True),
        lstm_cell(gate_norm=True, cifg=True),
        layer_norm_lstm_cell(),
        layer_norm_lstm_cell(lstm_cell(cifg=True)),
    )
]


def _arrays(part: object) -> list[np.ndarray]:
    """Every array in a cell, however deep."""
    if isinstance(part, np.ndarray):
        return [part]
    if not is_dataclass(part):
        return []
    return [array for field in fields(part) for array in _arrays(getattr(part, field.name))]


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_map_gates_changes_every_gate_and_nothing_else(cell: Cell) -> None:
    names: list[str] = []

    def shut(name: str, gate: Gate) -> Gate:
        names.append(name)
        return replace(gate, bias=np.full_like(gate.bias, 7.0))

    changed = cell.map_gates(shut)
    assert names == [name for name, _ in cell.gates()]
    assert all((gate.bias == 7.0).all() for _, gate in changed.gates())
    biases = {id(gate.bias) for _, gate in cell.gates()}
    others = [array for array in _arrays(cell) if id(array) not in biases]
    kept = {id(array) for array in _arrays(changed)}
    assert kept.issuperset(map(id, others))
    assert str(changed) == str(cell)


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_map_weights_changes_every_array(cell: Cell) -> None:
    doubled = cell.map_weights(lambda array: array * 2)
    before, after = _arrays(cell), _arrays(doubled)
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(other, 2 * one)


def test_norms_go_by_the_gates_they_follow() -> None:
    cell = layer_norm_lstm_cell(lstm_cell(cifg=True))
    assert [name for name, _ in cell.norms()] == ["forget_gate", "cell_gate", "output_gate", "state"]
    assert [name for name, _ in cell.gates()] == ["forget_gate", "cell_gate", "output_gate"]
    assert dict(layer_norm_lstm_cell().norms()).keys() == {
        "input_gate", "forget_gate", "cell_gate", "output_gate", "state",
    }  # fmt: skip


def test_constants_are_read_only() -> None:
    value = constant("c", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        value.data[0] = 1.0


def test_a_constant_refuses_data_of_another_type() -> None:
    with pytest.raises(ValueError, match=r"c: expected data of float32\[3\], got float64\[3\]"):
        Value("c", TensorType(DType.FLOAT32, (3,)), np.zeros(3))


def test_a_state_tensor_refuses_constant_data() -> None:
    with pytest.raises(ValueError, match="state tensor"):
        Value("s", TensorType(DType.FLOAT32, (3,)), np.zeros(3, np.float32), is_variable=True)
