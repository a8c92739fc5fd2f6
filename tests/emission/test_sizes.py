"""Symbolic sizes as ops, against the numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.emission.sizes import emit_size
from converter.ir import DType, Graph, Names, TensorType
from converter.ir.dimensions import Dimension, multiply, unknown
from converter.ir.evaluate import evaluate_graph
from tests.programs import tensor

X, N, ROWS = tensor("x", None, None, 8), tensor("n", dtype=DType.INT32), tensor("rows", 1, dtype=DType.INT64)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (5, 5),
        (unknown(X, 1), 3),
        (unknown(N), 7),
        (unknown(ROWS), 6),
        (multiply([unknown(X, 0), unknown(X, 1), 4, unknown(X, 0)]), 2 * 3 * 4 * 2),
    ],
)
def test_a_size_is_computed_as_an_int32_scalar(size: Dimension, expected: int) -> None:
    emitter = Emitter("m", Names(["x", "n", "rows"]))
    value = emit_size(size, emitter)
    assert value.type == TensorType(DType.INT32, ())
    graph = Graph("main", (X, N, ROWS), (value,), tuple(emitter.ops))
    given = [np.zeros((2, 3, 8)), np.asarray(7, np.int32), np.asarray([6], np.int64)]
    assert evaluate_graph(graph, given)[0] == expected


def test_equal_products_are_the_same_ops() -> None:
    ops = []
    for factors in ((X, N), (N, X)):
        emitter = Emitter("m", Names())
        sizes = {X: unknown(X, 0), N: unknown(N)}
        emit_size(multiply([sizes[value] for value in factors]) or 0, emitter)
        ops.append([(op.builtin, [value.name for value in op.operands if value]) for op in emitter.ops])
    assert ops[0] == ops[1]
