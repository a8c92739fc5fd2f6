"""The targets, and what each of them takes: one record of limits per target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from converter.ir import DType
from converter.targets.ops import MICRO_OPS, VERSIONS


class Target(Enum):
    """Something that runs ``.tflite`` files."""

    LITERT = "litert"
    LITERT_COMPILED = "litert-compiled"
    LITERT_WEB = "litert-web"
    TFLITE_RUNTIME = "tflite-runtime"
    TFLM = "tflm"


TARGETS = tuple(target.value for target in Target)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target takes. The rules (`converter.targets.rules`) say what becomes of a program beyond them.

    ``versions`` holds the newest version of each builtin op that it has. ``boundary`` is the set of element types
    that inputs and outputs may have (None: any). ``concatenation_operands`` bounds CONCATENATION (None: not).
    ``variable_tensors`` says whether state tensors are allowed, and with them fused recurrent ops; ``dynamic``
    whether dimensions may be open; ``fused_features`` whether the fused LSTM may have peepholes, a projection,
    coupled gates or another activation than tanh; ``direct_outputs`` whether an output of the model may be the
    very result of a WHILE, an input, or another output, too; ``signatures`` whether more than the main graph can
    be run; ``short_slices`` whether a STRIDED_SLICE may leave out its last axes. ``missing_types`` are the element
    types that the kernel of a builtin does not work on; where int64 is one, no operand and no result may have it.
    """

    title: str
    versions: Mapping[str, int]
    variable_tensors: bool = True
    dynamic: bool = True
    boundary: frozenset[DType] | None = None
    concatenation_operands: int | None = None
    fused_features: bool = True
    direct_outputs: bool = True
    signatures: bool = True
    short_slices: bool = True
    missing_types: Mapping[str, frozenset[DType]] = field(default_factory=dict)


_LITERT = {name: newest for name, (_, newest) in VERSIONS.items()}
_CLASSIC = {name: newest for name, (newest, _) in VERSIONS.items() if newest}
# Microcontrollers look at no version: whatever a file says is taken for the one kernel there is.
_MICRO = dict.fromkeys(MICRO_OPS, max(_LITERT.values()))

_INTEGERS = frozenset({DType.INT32, DType.INT64})
_INT64 = frozenset({DType.INT64})
_MICRO_LACKS: Mapping[str, frozenset[DType]] = {
    **dict.fromkeys(
        ("ADD", "ARG_MAX", "ARG_MIN", "CAST", "MUL", "SLICE", "SPLIT", "SPLIT_V", "STRIDED_SLICE"), _INT64
    ),
    **dict.fromkeys(("DYNAMIC_UPDATE_SLICE", "PAD", "PADV2"), _INT64 | {DType.BOOL}),
    **dict.fromkeys(("SUB", "SQUARED_DIFFERENCE"), _INT64),
    **dict.fromkeys(("ABS", "ADD_N", "CUMSUM", "FLOOR_DIV", "FLOOR_MOD", "MEAN", "NEG"), _INTEGERS),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN", "SUM", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _INTEGERS),
    **dict.fromkeys(
        ("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "GATHER_ND", "EXPAND_DIMS"), _INTEGERS | {DType.BOOL}
    ),
    **dict.fromkeys(("RESIZE_NEAREST_NEIGHBOR", "SELECT_V2", "TRANSPOSE"), _INTEGERS | {DType.BOOL}),
    "GATHER": _INTEGERS | {DType.BOOL, DType.INT16},
    "UNPACK": frozenset({DType.BOOL}),
}
"""Measured: the op alone on every type that another interpreter runs it on."""

LIMITS: Mapping[Target, Limits] = {
    Target.LITERT: Limits("LiteRT's Interpreter (ai-edge-litert, tf.lite)", _LITERT),
    Target.LITERT_COMPILED: Limits(
        "LiteRT's CompiledModel", _LITERT, variable_tensors=False, dynamic=False, direct_outputs=False
    ),
    Target.LITERT_WEB: Limits(
        "LiteRT.js in a browser",
        _LITERT,
        variable_tensors=False,
        dynamic=False,
        boundary=frozenset({DType.FLOAT32, DType.INT32, DType.UINT8}),
        direct_outputs=False,
    ),
    Target.TFLITE_RUNTIME: Limits("tflite-runtime 2.14", _CLASSIC),
    Target.TFLM: Limits(
        "TensorFlow Lite for Microcontrollers",
        _MICRO,
        dynamic=False,
        concatenation_operands=10,
        fused_features=False,
        direct_outputs=False,
        signatures=False,
        short_slices=False,
        missing_types=_MICRO_LACKS,
    ),
}
