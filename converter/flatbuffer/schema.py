"""The only import of the TFLite schema (object API); every other module uses this one.

``ai_edge_litert.schema_py_generated`` is plain Python: it loads neither TensorFlow nor a native library.
"""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated

from converter.ir import DType

schema: Any = schema_py_generated

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3


def _numbers(enum: type) -> dict[str, int]:
    return {name: number for name, number in vars(enum).items() if not name.startswith("_")}


BUILTIN_NUMBERS = _numbers(schema.BuiltinOperator)
BUILTIN_NAMES = {number: name for name, number in BUILTIN_NUMBERS.items()}
DTYPE_NUMBERS = {
    dtype: number for dtype in DType if (number := _numbers(schema.TensorType).get(dtype.name)) is not None
}
DTYPES = {number: dtype for dtype, number in DTYPE_NUMBERS.items()}
OPTIONS_NUMBERS = _numbers(schema.BuiltinOptions)
OPTIONS2_NUMBERS = _numbers(schema.BuiltinOptions2)
ACTIVATION_NUMBERS = _numbers(schema.ActivationFunctionType)

LAST_DEPRECATED_BUILTIN = 127
"""``deprecated_builtin_code`` is a byte: newer ops put this placeholder there, older ones their own number."""
