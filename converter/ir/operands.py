"""Positions in the operand lists of the fused ops, and of TRANSPOSE_CONV. They are written nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class LstmOperand(IntEnum):
    """Operands of UNIDIRECTIONAL_SEQUENCE_LSTM; those of a gate that is absent stay empty."""

    INPUT = 0
    INPUT_TO_INPUT_WEIGHTS = 1
    INPUT_TO_FORGET_WEIGHTS = 2
    INPUT_TO_CELL_WEIGHTS = 3
    INPUT_TO_OUTPUT_WEIGHTS = 4
    RECURRENT_TO_INPUT_WEIGHTS = 5
    RECURRENT_TO_FORGET_WEIGHTS = 6
    RECURRENT_TO_CELL_WEIGHTS = 7
    RECURRENT_TO_OUTPUT_WEIGHTS = 8
    CELL_TO_INPUT_WEIGHTS = 9
    CELL_TO_FORGET_WEIGHTS = 10
    CELL_TO_OUTPUT_WEIGHTS = 11
    INPUT_GATE_BIAS = 12
    FORGET_GATE_BIAS = 13
    CELL_GATE_BIAS = 14
    OUTPUT_GATE_BIAS = 15
    PROJECTION_WEIGHTS = 16
    PROJECTION_BIAS = 17
    OUTPUT_STATE = 18
    CELL_STATE = 19
    INPUT_LAYER_NORM_COEFFICIENTS = 20
    FORGET_LAYER_NORM_COEFFICIENTS = 21
    CELL_LAYER_NORM_COEFFICIENTS = 22
    OUTPUT_LAYER_NORM_COEFFICIENTS = 23


class RnnOperand(IntEnum):
    """Operands of UNIDIRECTIONAL_SEQUENCE_RNN."""

    INPUT = 0
    WEIGHTS = 1
    RECURRENT_WEIGHTS = 2
    BIAS = 3
    HIDDEN_STATE = 4


class BidirectionalLstmOperand(IntEnum):
    """Operands of BIDIRECTIONAL_SEQUENCE_LSTM; the weights of a direction are those of the LSTM, in its order.

    ``FORWARD`` and ``BACKWARD`` are the offsets of a direction's weights from their positions in `LstmOperand`.
    Those of the auxiliary input, four for each direction, begin at the positions called ``..._AUXILIARY_WEIGHTS``.
    """

    INPUT = 0
    FORWARD = 0
    BACKWARD = 17
    FORWARD_OUTPUT_STATE = 35
    FORWARD_CELL_STATE = 36
    BACKWARD_OUTPUT_STATE = 37
    BACKWARD_CELL_STATE = 38
    AUXILIARY_INPUT = 39
    FORWARD_AUXILIARY_WEIGHTS = 40
    BACKWARD_AUXILIARY_WEIGHTS = 44
    COUNT = 48


class BidirectionalRnnOperand(IntEnum):
    """Operands of BIDIRECTIONAL_SEQUENCE_RNN.

    ``FORWARD`` and ``BACKWARD`` are the offsets of a direction's operands from their positions in `RnnOperand`.
    """

    INPUT = 0
    FORWARD = 0
    BACKWARD = 4
    AUXILIARY_INPUT = 9
    FORWARD_AUXILIARY_WEIGHTS = 10
    BACKWARD_AUXILIARY_WEIGHTS = 11
    COUNT = 12


class BasicLstmOperand(IntEnum):
    """Operands of the LSTM op whose kernel is the basic one; its weights are those of all gates."""

    INPUT = 0
    OUTPUT_STATE = 1
    WEIGHTS = 2
    BIASES = 3
    CELL_STATE = 4


class BasicLstmResult(IntEnum):
    """Results of that op: the new states, and what the kernel keeps its sums in."""

    OUTPUT_STATE = 0
    CELL_STATE = 1
    CONCATENATED_INPUTS = 2
    GATE_SUMS = 3


class SvdfOperand(IntEnum):
    """Operands of SVDF."""

    INPUT = 0
    FEATURE_WEIGHTS = 1
    TIME_WEIGHTS = 2
    BIAS = 3
    STATE = 4


class TransposeConvOperand(IntEnum):
    """Operands of TRANSPOSE_CONV: filters are [channels, height, width, input channels]; a bias may be absent."""

    SHAPE = 0
    FILTERS = 1
    INPUT = 2
    BIAS = 3


STATE_OPERANDS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM": (
            BidirectionalLstmOperand.FORWARD_OUTPUT_STATE,
            BidirectionalLstmOperand.FORWARD_CELL_STATE,
            BidirectionalLstmOperand.BACKWARD_OUTPUT_STATE,
            BidirectionalLstmOperand.BACKWARD_CELL_STATE,
        ),
        "BIDIRECTIONAL_SEQUENCE_RNN": (
            RnnOperand.HIDDEN_STATE + BidirectionalRnnOperand.FORWARD,
            RnnOperand.HIDDEN_STATE + BidirectionalRnnOperand.BACKWARD,
        ),
        "LSTM": (LstmOperand.OUTPUT_STATE, LstmOperand.CELL_STATE),
        "RNN": (RnnOperand.HIDDEN_STATE,),
        "SVDF": (SvdfOperand.STATE,),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": (LstmOperand.OUTPUT_STATE, LstmOperand.CELL_STATE),
        "UNIDIRECTIONAL_SEQUENCE_RNN": (RnnOperand.HIDDEN_STATE,),
    }
)
"""The operands in which an op keeps its state: it reads them and writes them, though they are not its results."""

STEPS = frozenset({"LSTM", "RNN", "SVDF"})
"""The ops that read one step [B, n] of a sequence; the others of `STATE_OPERANDS` read whole sequences."""
