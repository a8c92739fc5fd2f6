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
    be run. ``missing_types`` are the element types of its first operand that the kernel of a builtin lacks.
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
    missing_types: Mapping[str, frozenset[DType]] = field(default_factory=dict)


_LITERT = {name: newest for name, (_, newest) in VERSIONS.items()}
_CLASSIC = {name: newest for name, (newest, _) in VERSIONS.items() if newest}
# Microcontrollers look at no version: whatever a file says is taken for the one kernel there is.
_MICRO = dict.fromkeys(MICRO_OPS, max(_LITERT.values()))

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
        missing_types={
            "EXPAND_DIMS": frozenset({DType.BOOL, DType.INT32, DType.INT64}),
            "GATHER": frozenset({DType.BOOL, DType.INT16}),
            "REDUCE_MAX": frozenset({DType.INT32, DType.INT64}),
            "TRANSPOSE": frozenset({DType.BOOL, DType.INT32, DType.INT64}),
        },
    ),
}
