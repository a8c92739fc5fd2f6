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
    StridedSlice,
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

    ``place`` is what messages call the op, ``type`` the element type of what it works on, ``types`` those of all
    its operands and results. ``shapes`` are those of its operands, None where the rank is unknown or an operand is
    left out. ``features`` are what a fused LSTM has beyond the plain one, in words. ``repeats`` says whether it is
    a TILE by known numbers of copies, ``axes_left_out`` whether it is a STRIDED_SLICE by known numbers that
    names the first axes only.
    """

    place: str
    builtin: str
    shapes: tuple[Shape | None, ...]
    version: int = 1
    custom_code: str | None = None
    state_tensors: bool = False
    features: tuple[str, ...] = ()
    type: DType | None = None
    types: frozenset[DType] = frozenset()
    repeats: bool = False
    axes_left_out: bool = False


_WORKS_ON = {"SELECT": 1, "SELECT_V2": 1, "SPLIT": 1}
"""The operand that an op works on, where it is not the first."""


def needs_of(op: TfliteOp) -> Needs:
    """Return what an op of a file needs."""
    values = [value for value in (*op.operands, *op.results) if value is not None]
    number = _WORKS_ON.get(op.builtin, 0)
    subject = op.operands[number] if len(op.operands) > number else None
    return Needs(
        place=op.name,
        builtin=op.builtin,
        shapes=tuple(None if value is None else value.type.shape for value in op.operands),
        version=op.version,
        custom_code=op.custom_code,
        state_tensors=any(value.is_variable for value in values),
        features=tuple(_features_of_op(op)) if op.builtin == FUSED_LSTM else (),
        type=None if subject is None else subject.type.dtype,
        types=frozenset(value.type.dtype for value in values),
        repeats=op.builtin == "TILE" and min(integers(op.operands[-1]) or (0,)) > 0,
        axes_left_out=op.builtin == "STRIDED_SLICE" and _leaves_out_axes(op),
    )


def _leaves_out_axes(op: TfliteOp) -> bool:
    x, spec = op.operand(0).type.shape, [integers(value) for value in op.operands[1:]]
    return StridedSlice.of(op).is_plain and x is not None and all(named and len(named) < len(x) for named in spec)


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
