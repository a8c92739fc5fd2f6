"""Values that are known to be zero."""

from __future__ import annotations

import numpy as np
import pytest

from converter.analysis.zeros import is_zero
from converter.emission.emitter import Emitter
from converter.ir import DType, Names, Op, TensorType, Value, constant
from tests.programs import tensor

X = tensor("x", None, 4)
ZERO, ONE = constant("zero", np.zeros((), np.float32)), constant("one", np.ones((), np.float32))
ZEROS = constant("zeros", np.zeros((1, 4), np.float32))


def _known(emitter: Emitter, value: Value) -> bool:
    producers: dict[Value, Op] = {result: op for op in emitter.ops for result in op.results}
    return is_zero(value, producers)


def _shape() -> Value:
    return constant("shape", np.asarray([2, 4], np.int32))


@pytest.mark.parametrize(
    ("builtin", "operands"),
    [
        ("ZEROS_LIKE", [X]),
        ("FILL", [_shape(), ZERO]),
        ("BROADCAST_TO", [ZEROS, _shape()]),
        ("TILE", [ZEROS, _shape()]),
        ("RESHAPE", [ZEROS, _shape()]),
        ("TRANSPOSE", [ZEROS, _shape()]),
        ("EXPAND_DIMS", [ZEROS, _shape()]),
        ("ADD", [ZEROS, ZERO]),
        ("CONCATENATION", [ZEROS, ZEROS]),
    ],
)
def test_zero_in_any_spelling(builtin: str, operands: list[Value]) -> None:
    emitter = Emitter("m", Names(["x"]))
    assert _known(emitter, emitter.op(builtin, operands, tensor("y", None, 4)))


@pytest.mark.parametrize(
    ("builtin", "operands"),
    [
        ("FILL", [_shape(), ONE]),
        ("RESHAPE", [X, _shape()]),
        ("ADD", [ZEROS, ONE]),
        ("CONCATENATION", [ZEROS, X]),
        ("MUL", [ZEROS, X]),  # which may not be a number
        ("FILL", [ZERO, X]),
    ],
)
def test_what_is_not_known_to_be_zero(builtin: str, operands: list[Value]) -> None:
    emitter = Emitter("m", Names(["x"]))
    assert not _known(emitter, emitter.op(builtin, operands, tensor("y", None, 4)))


def test_zeros_are_followed_through_several_ops() -> None:
    emitter = Emitter("m", Names(["x"]))
    zeros = emitter.zeros_like(X)
    assert _known(emitter, emitter.transpose(emitter.expand_dims(zeros, 0, "expanded"), "turned"))


def test_bytes_of_a_type_that_numpy_lacks_are_not_known() -> None:
    raw = Value("raw", TensorType(DType.STRING, (1,)), np.zeros(4, np.uint8))
    assert not is_zero(raw, {})
