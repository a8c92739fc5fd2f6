"""Tensor types, values and locations: what flows between the ops of a program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int | None, ...]

MOST_ELEMENTS = (1 << 31) - 1
"""The most elements of a TFLite tensor: its kernels count them in int32."""


class DType(Enum):
    """Element types, named as in the TFLite schema."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"
    RESOURCE = "resource"
    VARIANT = "variant"
    INT4 = "int4"
    UINT4 = "uint4"
    INT2 = "int2"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"

    @property
    def numpy(self) -> np.dtype[Any] | None:
        """The NumPy dtype, or None for a type that NumPy does not have (its constants stay raw bytes)."""
        return None if self in _NOT_IN_NUMPY else np.dtype(self.value)


_NOT_IN_NUMPY = frozenset(
    {
        DType.BFLOAT16,
        DType.STRING,
        DType.RESOURCE,
        DType.VARIANT,
        DType.INT4,
        DType.UINT4,
        DType.INT2,
        DType.FLOAT8_E4M3FN,
        DType.FLOAT8_E5M2,
    }
)


def agree(one: Shape | None, other: Shape | None) -> bool:
    """Return whether two shapes may be one: they have as many axes, and equal sizes as far as both are known."""
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=True)
    )


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape; a None dimension is known only at run time, shape None means unknown rank."""

    dtype: DType
    shape: Shape | None

    @property
    def rank(self) -> int | None:
        """Number of dimensions, None if unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """True if every dimension is known."""
        return self.shape is not None and None not in self.shape

    def __str__(self) -> str:
        dims = "*" if self.shape is None else ",".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.dtype.value}[{dims}]"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor of a graph; two values are the same only if they are the same object.

    ``data`` makes it a constant: an array of the type's dtype and shape, or flat uint8 bytes where NumPy lacks
    the dtype. ``is_variable`` marks a state tensor that survives an invoke of the interpreter. ``quantization``
    is the schema's own record, carried through untouched.
    """

    name: str
    type: TensorType
    data: Array | None = None
    is_variable: bool = False
    quantization: object | None = None

    def __post_init__(self) -> None:
        if self.data is None:
            return
        if self.is_variable:
            raise ValueError(f"{self.name}: a state tensor cannot have constant data")
        dtype = self.type.dtype.numpy
        if dtype is not None and (self.data.dtype != dtype or self.data.shape != self.type.shape):
            raise ValueError(
                f"{self.name}: expected data of {self.type}, got {self.data.dtype}{list(self.data.shape)}"
            )
        frozen = self.data.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "data", frozen)

    @property
    def is_constant(self) -> bool:
        """True if the tensor's content is part of the model."""
        return self.data is not None


def constant(name: str, data: Array) -> Value:
    """Return a constant of ``data``'s own dtype and shape."""
    return Value(name, TensorType(DType(data.dtype.name), data.shape), data)


@dataclass(frozen=True, slots=True)
class Location:
    """Where an op came from: the source (a file, a function) and the path of the layer inside it."""

    source: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} ({self.source})" if self.source else self.path


def dims(x: Value) -> Shape:
    """Return the shape of a value of known rank. Raises ValueError for any other."""
    if x.type.shape is None:
        raise ValueError(f"{x.name}: expected a known rank, got {x.type}")
    return x.type.shape
