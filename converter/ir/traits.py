"""Facts about ops, by the name of their builtin or their custom code."""

from __future__ import annotations

ELEMENTWISE = frozenset(
    [
        *("ABS", "CAST", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG"),
        *("LOGICAL_NOT", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN"),
        *("SQRT", "SQUARE", "TANH", "ZEROS_LIKE"),
        *("ADD", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"),
        *("LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW", "SELECT_V2"),
        *("SQUARED_DIFFERENCE", "SUB"),
    ]
)
"""Ops whose result has, element by element, the broadcast shape of their operands."""

PURE_CUSTOM_OPS = frozenset(
    {
        "TensorArrayGatherV3",
        "TensorArrayReadV3",
        "TensorArrayScatterV3",
        "TensorArraySizeV3",
        "TensorArrayV3",
        "TensorArrayWriteV3",
        "TensorListFromTensor",
        "TensorListGather",
        "TensorListGetItem",
        "TensorListLength",
        "TensorListReserve",
        "TensorListSetItem",
        "TensorListStack",
    }
)
"""TensorFlow's ops on lists and arrays of tensors: values, as every op is told what it must come after."""
