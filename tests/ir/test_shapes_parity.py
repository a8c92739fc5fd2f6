"""Shape rules that the evaluator has no kernel for, against an interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from converter.flatbuffer import build_model
from converter.ir import Array, DType, Graph, Program, Signature, TensorType, TfliteOp, Value, constant
from converter.ir.builtins import BUILTINS
from converter.ir.shapes import result_shapes
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

pytestmark = pytest.mark.runtime


@dataclass(frozen=True)
class Case:
    """An op over float operands of given shapes and constants; ``dtypes`` are those of its results."""

    builtin: str
    operands: tuple[tuple[int, ...] | Array, ...]
    options: Mapping[str, object]
    dtypes: tuple[DType, ...] = (DType.FLOAT32,)
    version: int = 1

    def __str__(self) -> str:
        shapes = ["#" if isinstance(one, np.ndarray) else "x".join(map(str, one)) for one in self.operands]
        return "-".join([self.builtin, *shapes, *(f"{key}{value}" for key, value in self.options.items())])


def case(builtin: str, *operands: tuple[int, ...] | list[object] | int, **options: object) -> Case:
    """A case whose operands are shapes (tuples) or whole numbers (lists)."""
    given = tuple(one if isinstance(one, tuple) else np.asarray(one, np.int32) for one in operands)
    return Case(builtin, given, options)


def strides(height: int, width: int, padding: int) -> dict[str, int]:
    return {"strideH": height, "strideW": width, "padding": padding}


def _convolutions() -> list[Case]:
    found = []
    for (high, wide), padding, dilation in product([(1, 1), (2, 3)], (0, 1), (1, 2)):
        if dilation > 1 and (high, wide) != (1, 1):
            continue
        options = {**strides(high, wide, padding), "dilationHFactor": dilation, "dilationWFactor": dilation}
        found.append(case("CONV_2D", (2, 9, 8, 3), (4, 3, 2, 3), (4,), **options))
        found.append(case("DEPTHWISE_CONV_2D", (2, 9, 8, 3), (1, 3, 2, 6), (6,), **options, depthMultiplier=2))
    for (high, wide), padding in product([(1, 1), (2, 3)], (0, 1)):
        window = {"filterHeight": 3, "filterWidth": 2}
        for builtin in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
            found.append(case(builtin, (2, 9, 8, 3), **strides(high, wide, padding), **window))
        options = {**strides(high, wide, padding), "strideD": 2}
        found.append(case("CONV_3D", (2, 7, 9, 8, 3), (3, 3, 2, 3, 4), (4,), **options))
    return found


CASES = [
    *_convolutions(),
    case("TRANSPOSE_CONV", [2, 8, 9, 4], (4, 3, 3, 3), (2, 4, 5, 3), **strides(2, 2, 0)),
    case("SPACE_TO_DEPTH", (2, 6, 4, 3), blockSize=2),
    case("DEPTH_TO_SPACE", (2, 6, 4, 8), blockSize=2),
    case("SPACE_TO_BATCH_ND", (2, 6, 5, 3), [2, 3], [[0, 2], [1, 0]]),
    case("BATCH_TO_SPACE_ND", (12, 4, 2, 3), [2, 3], [[0, 1], [1, 0]]),
    case("RESIZE_BILINEAR", (2, 6, 5, 3), [4, 7]),
    case("RESIZE_NEAREST_NEIGHBOR", (2, 6, 5, 3), [4, 7]),
    case("PAD", (2, 6, 5), [[0, 1], [2, 0], [1, 1]]),
    case("PADV2", (2, 6), [[0, 1], [2, 0]], ()),
    case("MIRROR_PAD", (4, 6), [[0, 1], [2, 0]], mode=0),
    case("LOG_SOFTMAX", (2, 6)),
    case("L2_NORMALIZATION", (2, 6)),
    case("LOCAL_RESPONSE_NORMALIZATION", (2, 6, 5, 3), radius=1, bias=1.0, alpha=1.0, beta=0.5),
    case("PRELU", (2, 6, 5, 3), (1, 1, 3)),
    case("ADD_N", (2, 6), (2, 6), (2, 6)),
    case("MATRIX_DIAG", (2, 6)),
    case("MATRIX_SET_DIAG", (2, 6, 6), (2, 6)),
    case("GATHER", (2, 6, 5), [[1, 0, 3], [2, 2, 0]], axis=1, batchDims=1),
    case("GATHER_ND", (4, 6, 5), [[1, 0], [3, 2], [0, 5]]),
    case("SCATTER_ND", [[1], [3]], (2, 5), [6, 5]),
    case("ONE_HOT", [[1, 2, 0], [0, 0, 1]], 4, (), (), axis=-1),
    case("ONE_HOT", [1, 2, 0], 4, (), (), axis=0),
    replace(case("BROADCAST_TO", (2, 1, 3), [4, 2, 5, 3]), version=2),
    case("DYNAMIC_UPDATE_SLICE", (4, 6), (2, 3), [1, 1]),
    case("FLOOR_DIV", (4, 6), (1, 6)),
    case("ATAN2", (4, 6), (4, 6)),
    case("COS", (4, 6)),
    case("REDUCE_PROD", (4, 6, 5), [0, -1], keepDims=True),
    case("STRIDED_SLICE", (4, 6, 5), [0, 0, 1], [0, 0, 4], [1, 1, 2], newAxisMask=1, ellipsisMask=2),
    case("STRIDED_SLICE", (4, 6, 5), [0, 2], [0, 0], [1, 1], ellipsisMask=1, shrinkAxisMask=2),
    case("STRIDED_SLICE", (4, 6, 5), [3, 0, 0], [0, 9, 3], [-2, 2, 1], endMask=1),
    replace(case("ARG_MAX", (4, 6, 5), 1, outputType=2), dtypes=(DType.INT32,)),
    replace(case("ARG_MIN", (4, 6, 5), -3, outputType=2), dtypes=(DType.INT32,)),
    replace(case("TOPK_V2", (4, 6), 3), dtypes=(DType.FLOAT32, DType.INT32)),
    replace(case("RANK", (4, 6)), dtypes=(DType.INT32,)),
    replace(case("RANGE", 2, 9, 3), dtypes=(DType.INT32,)),
    replace(case("RANGE", 9, 2, -3), dtypes=(DType.INT32,)),
    case("RANDOM_UNIFORM", [4, 6]),
    case("EMBEDDING_LOOKUP", [1, 0, 2], (4, 6, 5)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rule_gives_the_shapes_that_the_kernel_makes(case: Case, pool: WorkerPool) -> None:
    rng = np.random.default_rng(0)
    values = [
        Value(f"x_{index}", TensorType(DType.FLOAT32, one))
        if isinstance(one, tuple)
        else constant(f"number_{index}", one)
        for index, one in enumerate(case.operands)
    ]
    results = tuple(Value(f"y_{index}", TensorType(dtype, None)) for index, dtype in enumerate(case.dtypes))
    op = TfliteOp(case.builtin, tuple(values), results, BUILTINS[case.builtin].options, case.options, case.version)
    inputs = {value.name: rng.uniform(0.1, 1.0, value.type.shape or ()) for value in values if value.data is None}
    graph = Graph("main", tuple(value for value in values if value.data is None), results, (op,))
    signature = Signature("serving_default", tuple(inputs), tuple(value.name for value in results))
    with pool.open(Runtime(AI_EDGE_LITERT, delegate=False), build_model(Program((graph,), (signature,)))) as model:
        outputs = model.run({name: array.astype(np.float32) for name, array in inputs.items()})
    assert result_shapes(op) == tuple(outputs[value.name].shape for value in results)
