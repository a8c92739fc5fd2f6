"""What an op needs of the runtime: an op of a file, or the fused op that a recurrence would become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from converter.ir import (
    Activation,
    DType,
    LstmCell,
    Recurrence,
    RnnCell,
    Shape,
    TfliteOp,
    fused_activation,
    integers,
)
from converter.ir.operands import LstmOperand, RnnOperand

FUSED_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
FUSED_RNN = "UNIDIRECTIONAL_SEQUENCE_RNN"

_COUPLED_GATES = "coupled gates"
_PEEPHOLES = "peepholes"
_PROJECTION = "projection"
_LAYER_NORM = "layer normalisation"
_OTHER_ACTIVATION = "activations other than tanh"


@dataclass(frozen=True, slots=True)
class Needs:
    """What rules about single ops look at.

    ``place`` is what messages call the op, ``type`` the element type of its first operand. ``shapes`` are those of
    its operands, None where the rank is unknown or an operand is left out. ``features`` are what a fused LSTM has
    beyond the plain one, in words. ``repeats`` says whether the op is a TILE by known numbers of copies.
    """

    place: str
    builtin: str
    shapes: tuple[Shape | None, ...]
    version: int = 1
    custom_code: str | None = None
    state_tensors: bool = False
    features: tuple[str, ...] = ()
    type: DType | None = None
    repeats: bool = False


def needs_of(op: TfliteOp) -> Needs:
    """Return what an op of a file needs."""
    return Needs(
        place=op.name,
        builtin=op.builtin,
        shapes=tuple(None if value is None else value.type.shape for value in op.operands),
        version=op.version,
        custom_code=op.custom_code,
        state_tensors=any(value is not None and value.is_variable for value in (*op.operands, *op.results)),
        features=tuple(_features_of_op(op)) if op.builtin == FUSED_LSTM else (),
        type=op.operands[0].type.dtype if op.operands and op.operands[0] is not None else None,
        repeats=op.builtin == "TILE" and min(integers(op.operands[-1]) or (0,)) > 0,
    )


def needs_of_fused(op: Recurrence) -> Needs:
    """Return what the fused op that computes ``op`` needs; for a cell without one, what a plain LSTM needs."""
    is_rnn = isinstance(op.cell, RnnCell)
    return Needs(
        place=op.place,
        builtin=FUSED_RNN if is_rnn else FUSED_LSTM,
        shapes=(None,) * len(RnnOperand if is_rnn else LstmOperand),
        state_tensors=True,
        features=tuple(_features_of_cell(op.cell)) if isinstance(op.cell, LstmCell) else (),
    )


def _features_of_op(op: TfliteOp) -> Iterator[str]:
    if len(op.operands) != len(LstmOperand):
        return
    if op.operands[LstmOperand.INPUT_TO_INPUT_WEIGHTS] is None:
        yield _COUPLED_GATES
    if op.operands[LstmOperand.CELL_TO_FORGET_WEIGHTS] is not None:
        yield _PEEPHOLES
    if op.operands[LstmOperand.PROJECTION_WEIGHTS] is not None:
        yield _PROJECTION
    if op.operands[LstmOperand.FORGET_LAYER_NORM_COEFFICIENTS] is not None:
        yield _LAYER_NORM
    if fused_activation(op) != "TANH":
        yield _OTHER_ACTIVATION


def _features_of_cell(cell: LstmCell) -> Iterator[str]:
    if cell.input_gate is None:
        yield _COUPLED_GATES
    if cell.peephole is not None:
        yield _PEEPHOLES
    if cell.projection is not None:
        yield _PROJECTION
    if cell.gate_norm is not None:
        yield _LAYER_NORM
    if cell.activation is not Activation.TANH:
        yield _OTHER_ACTIVATION
