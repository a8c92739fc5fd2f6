"""What the fused lowering emits, op by op; that it computes the right thing is for `test_fused_parity`."""

from __future__ import annotations

import pytest

from converter.convert import compile_program
from converter.errors import InvalidProgramError
from converter.flatbuffer import read_model
from converter.flatbuffer.schema import ACTIVATION_NUMBERS
from converter.ir import Activation, Cell, Program, TfliteOp, Value
from converter.ir.operands import LstmOperand, RnnOperand
from converter.lowering.fused import ACTIVATIONS, lower_fused
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    program,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)

LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"


def lowered(source: Program) -> Program:
    return read_model(compile_program(source).model)


def fused(cell: Cell, kind: str, *, time_major: bool = True) -> TfliteOp:
    (found,) = [op for op in lowered(stack([cell], time_major=time_major)).ops() if op.name and _kind(op) == kind]
    assert isinstance(found, TfliteOp)
    return found


def _kind(op: object) -> str:
    return op.kind if isinstance(op, TfliteOp) else ""


def present(op: TfliteOp) -> set[LstmOperand]:
    return {position for position in LstmOperand if op.operands[position] is not None}


LAYER_NORM = {position for position in LstmOperand if "LAYER_NORM" in position.name}
PEEPHOLES = {position for position in LstmOperand if position.name.startswith("CELL_TO_")}
PROJECTION = {LstmOperand.PROJECTION_WEIGHTS}
INPUT_GATE = {
    LstmOperand.INPUT_TO_INPUT_WEIGHTS,
    LstmOperand.RECURRENT_TO_INPUT_WEIGHTS,
    LstmOperand.CELL_TO_INPUT_WEIGHTS,
    LstmOperand.INPUT_GATE_BIAS,
}
PLAIN = set(LstmOperand) - LAYER_NORM - PEEPHOLES - PROJECTION - {LstmOperand.PROJECTION_BIAS}


def test_a_plain_lstm_has_24_operands_and_leaves_the_optional_ones_out() -> None:
    op = fused(lstm_cell(), LSTM)
    assert len(op.operands) == 24
    assert present(op) == PLAIN


def test_peepholes_and_projection_add_their_operands() -> None:
    assert present(fused(lstm_cell(peephole=True, projection=2), LSTM)) == PLAIN | PEEPHOLES | PROJECTION


def test_a_coupled_input_gate_leaves_its_operands_out() -> None:
    assert present(fused(lstm_cell(cifg=True, peephole=True), LSTM)) == (PLAIN | PEEPHOLES) - INPUT_GATE


@pytest.mark.parametrize("time_major", [True, False])
def test_options_say_what_the_cell_says(time_major: bool) -> None:
    cell = lstm_cell(cell_clip=1.5, projection=2, projection_clip=0.5, activation=Activation.RELU6)
    options = fused(cell, LSTM, time_major=time_major).options
    assert bool(options["timeMajor"]) is time_major
    assert (options["cellClip"], options["projClip"]) == (1.5, 0.5)
    assert options["fusedActivationFunction"] == ACTIVATION_NUMBERS["RELU6"]


def test_absent_clips_are_written_as_off() -> None:
    options = fused(lstm_cell(), LSTM).options
    assert (options["cellClip"], options["projClip"]) == (0.0, 0.0)


def test_activations_are_those_of_the_schema() -> None:
    assert set(ACTIVATIONS.values()) <= ACTIVATION_NUMBERS.keys()


@pytest.mark.parametrize("given_state", [True, False])
@pytest.mark.parametrize("cell", [lstm_cell(), rnn_cell()], ids=["lstm", "rnn"])
def test_every_state_tensor_is_written_by_a_concatenation_that_depends_on_an_input(
    cell: Cell, given_state: bool
) -> None:
    main = lowered(stack([cell], given_state=given_state)).main
    producers = main.producers()
    states = [value for value in main.values() if value.is_variable]
    assert len(states) == len(cell.state_sizes)
    for state in states:
        writer = producers[state]
        assert isinstance(writer, TfliteOp)
        assert (writer.builtin, len(writer.operands)) == ("CONCATENATION", 1)
        assert inputs_of(writer.operands[0], main.inputs, main.producers())


def inputs_of(value: Value | None, inputs: tuple[Value, ...], producers: dict[Value, object]) -> set[Value]:
    if value is None or value.is_constant:
        return set()
    if value in inputs:
        return {value}
    op = producers[value]
    assert isinstance(op, TfliteOp)
    return {found for operand in op.operands for found in inputs_of(operand, inputs, producers)}


def test_a_state_that_is_not_read_costs_nothing() -> None:
    x = tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x)
    unread = lowered(program([x], [op], [op.output])).op_counts()
    read = lowered(program([x], [op], [op.output, *op.final_state])).op_counts()
    assert (sum(unread.values()), sum(read.values())) == (8, 12)


def test_names_of_state_tensors_tell_their_layer() -> None:
    names = [
        value.name for value in lowered(stack([lstm_cell(), rnn_cell(depth=4)])).main.values() if value.is_variable
    ]
    assert names == ["layer_0/cell_state", "layer_0/output_state", "layer_1/hidden_state"]


def test_the_rnn_has_its_five_operands() -> None:
    op = fused(rnn_cell(activation=Activation.LINEAR), RNN)
    assert [value is not None for value in op.operands] == [True] * len(RnnOperand)
    assert op.options["fusedActivationFunction"] == 0


@pytest.mark.parametrize("cell", [gru_cell(), layer_norm_lstm_cell()], ids=["gru", "layer_norm_lstm"])
def test_a_cell_without_a_fused_op_is_an_error_of_whoever_chose_that_lowering(cell: Cell) -> None:
    with pytest.raises(InvalidProgramError, match="rnn: no fused op computes"):
        lower_fused(recurrence(cell, tensor("x", None, None, 3)), set())
