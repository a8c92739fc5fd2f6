"""The cells that fused recurrent ops compute, read from their operands and options."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from converter.ir import (
    Activation,
    Array,
    Gate,
    GateNorm,
    LstmCell,
    Peephole,
    RnnCell,
    TfliteOp,
    attributes,
)
from converter.ir.operands import BasicLstmOperand, LstmOperand, RnnOperand
from converter.raising.fused_weights import FusedWeights, refusal
from converter.rules import Rule

_KINDS = ("INPUT", "FORGET", "CELL", "OUTPUT")

_ACTIVATIONS: Mapping[str, Activation] = {
    "NONE": Activation.LINEAR,
    "RELU": Activation.RELU,
    "RELU_N1_TO_1": Activation.HARD_TANH,
    "RELU6": Activation.RELU6,
    "TANH": Activation.TANH,
}


def lstm_cell(weights: FusedWeights, offset: int = 0, auxiliary: int | None = None) -> LstmCell:
    """Return the cell of an LSTM op whose weights begin ``offset`` after their positions in `LstmOperand`.

    ``auxiliary`` is the position of the first of the four kernels of an auxiliary input, whose columns follow
    those of the input. Raises ConversionError if the op is not complete, or not computed as it says.
    """
    op = weights.op
    if attributes.fused_activation(op) == "NONE":
        raise refusal(
            op,
            Rule.FUSED_OP_ACTIVATION,
            "it has no activation, and the kernel leaves its results unwritten then",
            "use tanh, relu or relu6",
        )
    gates = {kind: _lstm_gate(weights, kind, offset, auxiliary) for kind in _present(weights, offset)}
    is_plain = op.builtin == "BIDIRECTIONAL_SEQUENCE_LSTM"
    try:
        return LstmCell(
            gates.get("INPUT"),
            gates["FORGET"],
            gates["CELL"],
            gates["OUTPUT"],
            peephole=_peephole(weights, offset, gates),
            projection=weights.optional(LstmOperand.PROJECTION_WEIGHTS + offset, "projection"),
            activation=activation(op),
            cell_clip=_bound(attributes.cell_clip(op)),
            projection_clip=_projection_clip(weights, offset),
            projection_bias=weights.optional(LstmOperand.PROJECTION_BIAS + offset, "projection bias"),
            gate_norm=None if is_plain else _gate_norm(weights, gates),
        )
    except ValueError as error:
        raise refusal(op, Rule.FUSED_OP_FORM, str(error)) from error


def _present(weights: FusedWeights, offset: int) -> tuple[str, ...]:
    """Return the kinds of the gates that the op has: all, or all but the input gate (CIFG)."""
    of_input = (
        LstmOperand.INPUT_TO_INPUT_WEIGHTS,
        LstmOperand.RECURRENT_TO_INPUT_WEIGHTS,
        LstmOperand.INPUT_GATE_BIAS,
    )
    present = {weights.has(place + offset) for place in of_input}
    if len(present) > 1:
        raise refusal(weights.op, Rule.FUSED_OP_FORM, "it has some of the weights of the input gate, but not all")
    return _KINDS if True in present else _KINDS[1:]


def _lstm_gate(weights: FusedWeights, kind: str, offset: int, auxiliary: int | None) -> Gate:
    name = f"{kind.lower()} gate"
    kernel = weights.array(LstmOperand[f"INPUT_TO_{kind}_WEIGHTS"] + offset, f"kernel of the {name}")
    if auxiliary is not None:
        other = weights.array(auxiliary + _KINDS.index(kind), f"auxiliary kernel of the {name}")
        kernel = _beside(weights.op, kernel, other)
    recurrent = weights.array(
        LstmOperand[f"RECURRENT_TO_{kind}_WEIGHTS"] + offset, f"recurrent kernel of the {name}"
    )
    if recurrent.ndim == 1:
        recurrent = np.diag(recurrent)
    bias = weights.array(LstmOperand[f"{kind}_GATE_BIAS"] + offset, f"bias of the {name}")
    return _gate(weights.op, kernel, recurrent, bias)


def _beside(op: TfliteOp, kernel: Array, other: Array) -> Array:
    if kernel.ndim != 2 or other.ndim != 2 or len(kernel) != len(other):
        raise refusal(
            op, Rule.FUSED_OP_FORM, f"its kernels are {list(kernel.shape)} and, auxiliary, {list(other.shape)}"
        )
    return np.concatenate([kernel, other], 1)


def _gate(op: TfliteOp, kernel: Array, recurrent: Array, bias: Array) -> Gate:
    try:
        return Gate(kernel, recurrent, bias)
    except ValueError as error:
        raise refusal(op, Rule.FUSED_OP_FORM, str(error)) from error


def _peephole(weights: FusedWeights, offset: int, gates: Mapping[str, Gate]) -> Peephole | None:
    of_input, of_forget, of_output = (
        place + offset
        for place in (
            LstmOperand.CELL_TO_INPUT_WEIGHTS,
            LstmOperand.CELL_TO_FORGET_WEIGHTS,
            LstmOperand.CELL_TO_OUTPUT_WEIGHTS,
        )
    )
    if not any(weights.has(place) for place in (of_input, of_forget, of_output)):
        return None
    return Peephole(
        weights.array(of_input, "peephole of the input gate") if "INPUT" in gates else None,
        weights.array(of_forget, "peephole of the forget gate"),
        weights.array(of_output, "peephole of the output gate"),
    )


def _gate_norm(weights: FusedWeights, gates: Mapping[str, Gate]) -> GateNorm | None:
    if not weights.has(LstmOperand.FORGET_LAYER_NORM_COEFFICIENTS):
        return None
    scales = {
        kind: weights.array(
            LstmOperand[f"{kind}_LAYER_NORM_COEFFICIENTS"], f"normalisation of the {kind.lower()} gate"
        )
        for kind in gates
    }
    return GateNorm(scales.get("INPUT"), scales["FORGET"], scales["CELL"], scales["OUTPUT"])


def _bound(clip: float) -> float | None:
    """Return a clip of the options; the kernels clip at positive bounds only."""
    return clip if clip > 0.0 else None


def _projection_clip(weights: FusedWeights, offset: int) -> float | None:
    has_projection = weights.has(LstmOperand.PROJECTION_WEIGHTS + offset)
    return _bound(attributes.projection_clip(weights.op)) if has_projection else None


def rnn_cell(weights: FusedWeights, offset: int = 0, auxiliary: int | None = None) -> RnnCell:
    """Return the cell of an RNN op whose operands begin ``offset`` after their positions in `RnnOperand`.

    ``auxiliary`` is the position of the kernel of an auxiliary input. Raises ConversionError like `lstm_cell`.
    """
    op = weights.op
    kernel = weights.array(RnnOperand.WEIGHTS + offset, "kernel")
    if auxiliary is not None:
        kernel = _beside(op, kernel, weights.array(auxiliary, "auxiliary kernel"))
    recurrent = weights.array(RnnOperand.RECURRENT_WEIGHTS + offset, "recurrent kernel")
    gate = _gate(op, kernel, recurrent, weights.array(RnnOperand.BIAS + offset, "bias"))
    try:
        return RnnCell(gate, activation(op))
    except ValueError as error:
        raise refusal(op, Rule.FUSED_OP_FORM, str(error)) from error


def activation(op: TfliteOp) -> Activation:
    """Return the activation of a fused recurrent op. Raises ConversionError for one that is not known."""
    name = attributes.fused_activation(op)
    if name not in _ACTIVATIONS:
        raise refusal(op, Rule.FUSED_OP_ACTIVATION, f"its activation is {name}", "use tanh, relu or relu6")
    return _ACTIVATIONS[name]


def basic_lstm_cell(weights: FusedWeights) -> LstmCell:
    """Return the cell of an LSTM op with the basic kernel. Raises ConversionError like `lstm_cell`."""
    op = weights.op
    kernels = weights.array(BasicLstmOperand.WEIGHTS, "kernel")
    biases = weights.array(BasicLstmOperand.BIASES, "bias")
    if kernels.ndim != 2 or biases.ndim != 1 or len(kernels) != len(biases) or len(kernels) % 4:
        raise refusal(
            op, Rule.FUSED_OP_FORM, f"its kernel is {list(kernels.shape)} and its bias {list(biases.shape)}"
        )
    units = len(kernels) // 4
    depth = kernels.shape[1] - units
    i, g, f, o = (
        _gate(op, kernel[:, :depth], kernel[:, depth:], bias)
        for kernel, bias in zip(np.split(kernels, 4), np.split(biases, 4), strict=True)
    )
    try:
        return LstmCell(i, f, g, o)
    except ValueError as error:
        raise refusal(op, Rule.FUSED_OP_FORM, str(error)) from error
