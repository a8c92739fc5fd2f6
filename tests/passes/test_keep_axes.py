"""keep-axes: dense layers over the last axis, in the spelling of tf.tensordot."""

from __future__ import annotations

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Program, Signature, TfliteOp, Value, constant, evaluate
from converter.passes.keep_axes import keep_axes
from tests.passes.settled import assert_settled
from tests.programs import tensor

KERNEL = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)


def tensordot(*, leading: tuple[int, ...] = (0, 1), last: int = 3, constant_shape: bool = False) -> Program:
    """x [?, 4, 6] by a kernel [3, 6], then reshaped to the dimensions ``leading`` of x and ``last``."""
    x = tensor("x", None, 4, 6)
    emitter = Emitter("dense", Names({"x", "y"}))
    shape = emitter.op("SHAPE", [x], tensor("shape", 3, dtype=DType.INT32))
    kept = tensor("kept", len(leading), dtype=DType.INT32)
    options = {"axis": 0, "batchDims": 0}
    emitter.op("GATHER", [shape, emitter.integers(*leading)], kept, options)
    back: Value = emitter.integers(-1, 4, last)
    if not constant_shape:
        back = emitter.concatenation([kept, emitter.integers(last)], 0, "back")
    matrix = emitter.op("RESHAPE", [x, emitter.integers(-1, 6)], tensor("matrix", None, 6))
    dense = Value("product", tensor("p", None, 3).type)
    emitter.op(
        "FULLY_CONNECTED",
        [matrix, constant("kernel", KERNEL), None],
        dense,
        {"keepNumDims": False},
    )
    y = emitter.op("RESHAPE", [dense, back], tensor("y", None, 4, 3))
    return Program((Graph("main", (x,), (y,), tuple(emitter.ops)),), (Signature("s", ("x",), ("y",)),))


@pytest.mark.parametrize("constant_shape", [False, True])
def test_it_becomes_one_op_with_the_same_meaning(constant_shape: bool) -> None:
    source = tensordot(constant_shape=constant_shape)
    kept = keep_axes(source)
    assert_settled(keep_axes, kept)
    last = kept.main.ops[-1]
    assert isinstance(last, TfliteOp)
    assert (last.builtin, last.operands[0]) == ("FULLY_CONNECTED", source.main.inputs[0])
    x = np.random.default_rng(1).standard_normal((2, 4, 6))
    np.testing.assert_allclose(evaluate(kept, {"x": x})["y"], x @ KERNEL.T, rtol=1e-6)
    np.testing.assert_allclose(evaluate(kept, {"x": x})["y"], evaluate(source, {"x": x})["y"])


@pytest.mark.parametrize("broken", [{"leading": (1, 0)}, {"leading": (0,)}, {"last": 1}])
def test_another_shape_stays_as_it_is(broken: dict) -> None:
    source = tensordot(**broken)
    assert keep_axes(source).main.ops == source.main.ops
