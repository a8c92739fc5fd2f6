"""Two recurrences over one sequence as BIDIRECTIONAL_SEQUENCE_LSTM or BIDIRECTIONAL_SEQUENCE_RNN.

State tensors are written and read as for the fused ops of one direction. With lengths, one mask column serves
both: backwards the padding comes first, and an LSTM that starts from zero does not move there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.emission.emitter import Emitter
from converter.errors import InvalidProgramError
from converter.ir import Array, Bidirectional, LstmCell, Names, Op, Recurrence, RnnCell, Value, attributes, new_op
from converter.ir.operands import BidirectionalLstmOperand, BidirectionalRnnOperand, LstmOperand, RnnOperand
from converter.lowering.fused import (
    ACTIVATIONS,
    lstm_options,
    lstm_weights,
    read_states,
    rnn_weights,
    write_states,
)
from converter.lowering.lengths import emit_final_state, mask_inputs, mask_lstm, measure


def lower_bidirectional(op: Bidirectional, names: Names) -> list[Op]:
    """Return the ops that compute the results of ``op``.

    ``names`` holds the names in use and receives the new ones. Raises InvalidProgramError for cells, or lengths,
    that no bidirectional op computes.
    """
    emitter = Emitter(op.name, names)
    if op.forward.sequence_length is None:
        _emit(op.forward, op.backward, emitter)
        return emitter.ops
    if not (isinstance(op.forward.cell, LstmCell) and isinstance(op.backward.cell, LstmCell)):
        raise InvalidProgramError(f"{op.name}: no bidirectional op keeps the lengths of {op.forward.cell}")
    lengths = measure(op.forward, op.forward.sequence_length, emitter)
    masked = mask_inputs(lengths, emitter)
    forward = mask_lstm(op.forward, op.forward.cell, masked, emitter)
    backward = mask_lstm(op.backward, op.backward.cell, masked, emitter)
    # Its last step is the first of each row: the state tensors hold the final state.
    _emit(forward, replace(backward, final_state=op.backward.final_state), emitter)
    emit_final_state(forward, lengths, emitter)
    return emitter.ops


def _emit(forward: Recurrence, backward: Recurrence, emitter: Emitter) -> None:
    states = [write_states(direction, emitter) for direction in (forward, backward)]
    if isinstance(forward.cell, LstmCell) and isinstance(backward.cell, LstmCell):
        _emit_lstm(forward, forward.cell, backward.cell, backward.output, states, emitter)
    elif isinstance(forward.cell, RnnCell) and isinstance(backward.cell, RnnCell):
        _emit_rnn(forward, forward.cell, backward.cell, backward.output, states, emitter)
    else:
        raise InvalidProgramError(f"{forward.name}: no bidirectional op computes {forward.cell}, {backward.cell}")
    for direction, tensors in zip((forward, backward), states, strict=True):
        read_states(direction, tensors, emitter)


def _emit_lstm(
    op: Recurrence,
    forward: LstmCell,
    backward: LstmCell,
    output: Value,
    states: list[list[Value]],
    emitter: Emitter,
) -> None:
    place = BidirectionalLstmOperand
    operands: list[Value | None] = [None] * place.COUNT
    operands[place.INPUT] = op.x
    _add_weights(operands, lstm_weights(forward), place.FORWARD, "forward", emitter)
    _add_weights(operands, lstm_weights(backward), place.BACKWARD, "backward", emitter)
    (operands[place.FORWARD_CELL_STATE], operands[place.FORWARD_OUTPUT_STATE]) = states[0]
    (operands[place.BACKWARD_CELL_STATE], operands[place.BACKWARD_OUTPUT_STATE]) = states[1]
    options = lstm_options(op, forward)
    _append("BIDIRECTIONAL_SEQUENCE_LSTM", operands, [op.output, output], options, emitter)


def _emit_rnn(
    op: Recurrence, forward: RnnCell, backward: RnnCell, output: Value, states: list[list[Value]], emitter: Emitter
) -> None:
    place = BidirectionalRnnOperand
    operands: list[Value | None] = [None] * place.COUNT
    operands[place.INPUT] = op.x
    _add_weights(operands, rnn_weights(forward), place.FORWARD, "forward", emitter)
    _add_weights(operands, rnn_weights(backward), place.BACKWARD, "backward", emitter)
    (operands[RnnOperand.HIDDEN_STATE + place.FORWARD],) = states[0]
    (operands[RnnOperand.HIDDEN_STATE + place.BACKWARD],) = states[1]
    options = {"timeMajor": op.time_major, **attributes.activation(ACTIVATIONS[forward.activation])}
    _append("BIDIRECTIONAL_SEQUENCE_RNN", operands, [op.output, output], options, emitter)


def _add_weights(
    operands: list[Value | None],
    weights: Mapping[LstmOperand, tuple[str, Array]] | Mapping[RnnOperand, tuple[str, Array]],
    offset: int,
    direction: str,
    emitter: Emitter,
) -> None:
    for position, (name, array) in weights.items():
        operands[position + offset] = emitter.weights(f"{direction}/{name}", array)


def _append(
    builtin: str,
    operands: list[Value | None],
    results: list[Value],
    options: Mapping[str, object],
    emitter: Emitter,
) -> None:
    """Append the op. Its two outputs are not merged: the kernel would be wrong for batch-major sequences."""
    emitter.ops.append(new_op(builtin, operands, results, {**options, "mergeOutputs": False}))
