"""Recurrences as the fused ops UNIDIRECTIONAL_SEQUENCE_LSTM and UNIDIRECTIONAL_SEQUENCE_RNN.

The fused ops keep their state in variable tensors that survive an invoke. So every state is written before the
fused op, by an op whose result *is* the state tensor. This writer is a CONCATENATION of one operand: the runtimes
never run that op in place (an in-place writer would leave the state tensor without memory), and it reads a value
that depends on x (a constant would be folded away after the first invoke).

A final state is read back together with something of the outputs: the runtimes do not see that the fused op writes
its state tensors, and would move a reader that depends on nothing else before it. What x and the outputs lend to
these dependencies is a sum over time: unlike the first or last step it exists for a sequence of no steps, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from converter.emission.emitter import Emitter
from converter.errors import InvalidProgramError
from converter.ir import Activation, Array, LstmCell, Names, Op, Recurrence, RnnCell, TensorType, Value, attributes
from converter.ir.operands import LstmOperand, RnnOperand
from converter.lowering.lengths import (
    emit_final_state,
    emit_masked_output,
    mask_inputs,
    mask_lstm,
    measure,
    unmasked,
)

ACTIVATIONS: Mapping[Activation, str] = {
    Activation.LINEAR: "NONE",
    Activation.RELU: "RELU",
    Activation.RELU6: "RELU6",
    Activation.TANH: "TANH",
}
"""The schema's names of the activations that the fused ops have."""


def lower_fused(op: Recurrence, names: Names) -> list[Op]:
    """Return the ops that compute the results of ``op`` with one fused op.

    ``names`` holds the names in use and receives the new ones. Raises InvalidProgramError if no fused op computes
    the cell.
    """
    if not isinstance(op.cell, LstmCell | RnnCell):
        raise InvalidProgramError(f"{op.name}: no fused op computes {op.cell}")
    emitter = Emitter(op.name, names)
    if op.sequence_length is None:
        _emit(op, emitter)
        return emitter.ops
    lengths = measure(op, op.sequence_length, emitter)
    if isinstance(op.cell, LstmCell):
        free = mask_lstm(op, op.cell, mask_inputs(lengths, emitter), emitter)
        _emit(free, emitter)
    else:
        free = unmasked(op, emitter)
        _emit(free, emitter)
        emit_masked_output(free.output, lengths, emitter)
    emit_final_state(free, lengths, emitter)
    return emitter.ops


def _emit(op: Recurrence, emitter: Emitter) -> None:
    """Emit the fused op for a recurrence without lengths."""
    states = write_states(op, emitter)
    if isinstance(op.cell, LstmCell):
        _emit_lstm(op, op.cell, states, emitter)
    elif isinstance(op.cell, RnnCell):
        _emit_rnn(op, op.cell, states, emitter)
    read_states(op, states, emitter)


def _state_names(op: Recurrence) -> tuple[str, ...]:
    return ("cell_state", "output_state") if isinstance(op.cell, LstmCell) else ("hidden_state",)


def write_states(op: Recurrence, emitter: Emitter) -> list[Value]:
    """Emit the writers of the state tensors and return these, in the order of ``cell.state_sizes``."""
    zero_rows = _zero_rows(op, emitter)
    states = []
    for name, size, given in zip(_state_names(op), op.cell.state_sizes, op.initial_state, strict=True):
        source = given
        if source is None or source.is_constant:
            row = source or emitter.constant(f"zero_{name}", np.zeros((1, size), np.float32))
            source = emitter.add(zero_rows, row, f"initial_{name}")
        state = emitter.state(name, TensorType(op.x.type.dtype, (op.batch, size)))
        states.append(emitter.concatenation([source], 0, state))
    return states


def _zero_rows(op: Recurrence, emitter: Emitter) -> Value:
    """Emit one zero per row [B, 1] that depends on x, so that it is computed at every invoke."""
    rows = _sum_over_time(op, op.x, "rows", emitter)
    return emitter.zeros_like(emitter.columns(rows, 0, 1, "row"), "zero_rows")


def _sum_over_time(op: Recurrence, sequence: Value, name: str, emitter: Emitter) -> Value:
    """Emit one value per row [B, n] that depends on a sequence, which may have no steps."""
    return emitter.sum(sequence, op.time_axis, name)


def _emit_lstm(op: Recurrence, cell: LstmCell, states: list[Value], emitter: Emitter) -> None:
    cell_state, output_state = states
    operands: list[Value | None] = [None] * len(LstmOperand)
    operands[LstmOperand.INPUT] = op.x
    operands[LstmOperand.OUTPUT_STATE] = output_state
    operands[LstmOperand.CELL_STATE] = cell_state
    for position, (name, array) in lstm_weights(cell).items():
        operands[position] = emitter.weights(name, array)
    emitter.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        operands,
        op.output,
        lstm_options(op, cell),
    )


def lstm_options(op: Recurrence, cell: LstmCell) -> dict[str, object]:
    """Return the options of a fused LSTM."""
    return {
        **attributes.activation(ACTIVATIONS[cell.activation]),
        "cellClip": cell.cell_clip or 0.0,
        "projClip": cell.projection_clip or 0.0,
        "timeMajor": op.time_major,
    }


def lstm_weights(cell: LstmCell) -> dict[LstmOperand, tuple[str, Array]]:
    """Return the weights of an LSTM that are present, each with its name, by position."""
    weights: dict[LstmOperand, tuple[str, Array]] = {}
    for name, gate in cell.gates():
        kind = name.removesuffix("_gate").upper()
        weights[LstmOperand[f"INPUT_TO_{kind}_WEIGHTS"]] = (f"{name}/kernel", gate.kernel)
        weights[LstmOperand[f"RECURRENT_TO_{kind}_WEIGHTS"]] = (f"{name}/recurrent_kernel", gate.recurrent_kernel)
        weights[LstmOperand[f"{kind}_GATE_BIAS"]] = (f"{name}/bias", gate.bias)
    if cell.peephole is not None:
        if cell.peephole.input is not None:
            weights[LstmOperand.CELL_TO_INPUT_WEIGHTS] = ("input_gate/peephole", cell.peephole.input)
        weights[LstmOperand.CELL_TO_FORGET_WEIGHTS] = ("forget_gate/peephole", cell.peephole.forget)
        weights[LstmOperand.CELL_TO_OUTPUT_WEIGHTS] = ("output_gate/peephole", cell.peephole.output)
    if cell.projection is not None:
        weights[LstmOperand.PROJECTION_WEIGHTS] = ("projection", cell.projection)
    if cell.projection_bias is not None:
        weights[LstmOperand.PROJECTION_BIAS] = ("projection_bias", cell.projection_bias)
    for name, scale in () if cell.gate_norm is None else cell.gate_norm.scales():
        kind = name.removesuffix("_gate").upper()
        weights[LstmOperand[f"{kind}_LAYER_NORM_COEFFICIENTS"]] = (f"{name}/norm", scale)
    return weights


def rnn_weights(cell: RnnCell) -> dict[RnnOperand, tuple[str, Array]]:
    """Return the weights of a simple RNN, each with its name, by position."""
    return {
        RnnOperand.WEIGHTS: ("kernel", cell.gate.kernel),
        RnnOperand.RECURRENT_WEIGHTS: ("recurrent_kernel", cell.gate.recurrent_kernel),
        RnnOperand.BIAS: ("bias", cell.gate.bias),
    }


def _emit_rnn(op: Recurrence, cell: RnnCell, states: list[Value], emitter: Emitter) -> None:
    operands: list[Value | None] = [None] * len(RnnOperand)
    operands[RnnOperand.INPUT] = op.x
    operands[RnnOperand.HIDDEN_STATE] = states[0]
    for position, (name, array) in rnn_weights(cell).items():
        operands[position] = emitter.weights(name, array)
    options = {**attributes.activation(ACTIVATIONS[cell.activation]), "timeMajor": op.time_major}
    emitter.op("UNIDIRECTIONAL_SEQUENCE_RNN", operands, op.output, options)


def read_states(op: Recurrence, states: list[Value], emitter: Emitter) -> None:
    """Emit the readers of the final states, which depend on the outputs to run after the fused op."""
    outputs = _sum_over_time(op, op.output, "outputs_of_row", emitter)
    together = emitter.concatenation([*states, outputs], 1, "final_states")
    start = 0
    for final, size in zip(op.final_state, op.cell.state_sizes, strict=True):
        emitter.columns(together, start, start + size, final)
        start += size
