"""Which tensors the runtimes may size only while they run.

TFLite plans memory when tensors are allocated, from the shapes of the graph's inputs. A tensor whose shape
depends on computed numbers is *dynamic*: it is sized during the invoke, and so is everything that runs after it,
whether it reads it or not. A delegate may change the order: only what reads a result is sure to run later.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from converter.ir import Bidirectional, Graph, Lowering, Op, Steps, TfliteOp, Value

# Ops whose results are sized from the shapes of their operands, and from the content of those operands that are
# listed here (shapes, sizes, axes, indices), which must be constants then.
SETTLED: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(
        [
            "ABS",
            "ADD",
            "ADD_N",
            "ASSIGN_VARIABLE",
            "ATAN2",
            "AVERAGE_POOL_2D",
            "BATCH_MATMUL",
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            "BIDIRECTIONAL_SEQUENCE_RNN",
            "BITCAST",
            "BITWISE_XOR",
            "BUCKETIZE",
            "CALL_ONCE",
            "CAST",
            "CEIL",
            "COMPLEX_ABS",
            "CONCATENATION",
            "CONV_2D",
            "CONV_3D",
            "COS",
            "DEPTHWISE_CONV_2D",
            "DEPTH_TO_SPACE",
            "DEQUANTIZE",
            "DIV",
            "DYNAMIC_UPDATE_SLICE",
            "ELU",
            "EMBEDDING_LOOKUP",
            "EQUAL",
            "EXP",
            "FAKE_QUANT",
            "FLOOR",
            "FLOOR_DIV",
            "FLOOR_MOD",
            "FULLY_CONNECTED",
            "GATHER",
            "GATHER_ND",
            "GELU",
            "GREATER",
            "GREATER_EQUAL",
            "HARD_SWISH",
            "IMAG",
            "L2_NORMALIZATION",
            "L2_POOL_2D",
            "LEAKY_RELU",
            "LESS",
            "LESS_EQUAL",
            "LOCAL_RESPONSE_NORMALIZATION",
            "LOG",
            "LOGICAL_AND",
            "LOGICAL_NOT",
            "LOGICAL_OR",
            "LOGISTIC",
            "LOG_SOFTMAX",
            "LSTM",
            "MATRIX_DIAG",
            "MATRIX_SET_DIAG",
            "MAXIMUM",
            "MAX_POOL_2D",
            "MINIMUM",
            "MUL",
            "NEG",
            "NOT_EQUAL",
            "PACK",
            "POW",
            "PRELU",
            "QUANTIZE",
            "RANK",
            "REAL",
            "RELU",
            "RELU6",
            "RELU_0_TO_1",
            "RELU_N1_TO_1",
            "REVERSE_SEQUENCE",
            "REVERSE_V2",
            "RIGHT_SHIFT",
            "RNN",
            "ROUND",
            "RSQRT",
            "SELECT",
            "SELECT_V2",
            "SHAPE",
            "SIGN",
            "SIN",
            "SOFTMAX",
            "SPACE_TO_DEPTH",
            "SQRT",
            "SQUARE",
            "SQUARED_DIFFERENCE",
            "SQUEEZE",
            "SUB",
            "SVDF",
            "TANH",
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            "UNIDIRECTIONAL_SEQUENCE_RNN",
            "UNPACK",
            "VAR_HANDLE",
            "ZEROS_LIKE",
        ],
        (),
    ),
    **dict.fromkeys(
        [
            "ARG_MAX",
            "ARG_MIN",
            "BROADCAST_TO",
            "CUMSUM",
            "EXPAND_DIMS",
            "MEAN",
            "MIRROR_PAD",
            "ONE_HOT",
            "PAD",
            "PADV2",
            "REDUCE_ALL",
            "REDUCE_ANY",
            "REDUCE_MAX",
            "REDUCE_MIN",
            "REDUCE_PROD",
            "RESHAPE",
            "RESIZE_BILINEAR",
            "RESIZE_NEAREST_NEIGHBOR",
            "RFFT2D",
            "SUM",
            "TILE",
            "TOPK_V2",
            "TRANSPOSE",
        ],
        (1,),
    ),
    "BATCH_TO_SPACE_ND": (1, 2),
    "CONV_3D_TRANSPOSE": (0,),
    "FILL": (0,),
    "RANGE": (0, 1, 2),
    "SCATTER_ND": (2,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPARSE_TO_DENSE": (1,),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "TRANSPOSE_CONV": (0,),
}


def first_unsettled(graph: Graph, op: Steps) -> Op | None:
    """Return an op of ``graph`` that a runtime may size before ``op`` runs; None if there is surely none."""
    dynamic: set[Value] = set()
    later: set[Value] = set(op.results)
    for other in graph.ops:
        if any(value in later for value in other.operands):
            later.update(other.results)
        if _sizes_its_results(other, dynamic):
            dynamic.update(other.results)
            if not later.intersection(other.results):
                return other
    return None


def _sizes_its_results(op: Op, dynamic: Set[Value]) -> bool:
    """Whether a runtime may size the results of ``op`` while it runs, given what is ``dynamic``; in doubt, yes."""
    if any(value in dynamic for value in op.operands):
        return True
    if isinstance(op, Bidirectional):
        return False
    if not isinstance(op, TfliteOp):
        return op.lowering is not Lowering.FUSED and not all(value.type.is_static for value in op.results)
    return computes_a_shape(op)


def computes_a_shape(op: TfliteOp) -> bool:
    """Whether the shapes of the results depend on more than the operands' shapes and constants; in doubt, yes."""
    if op.builtin not in SETTLED:
        return True
    # A SLICE with a -1 size resolves it while running; its planned shape is only a guess.
    if op.builtin == "SLICE" and not all(value.type.is_static for value in op.results):
        return True
    operands = [op.operands[index] for index in SETTLED[op.builtin] if index < len(op.operands)]
    return any(value is not None and not value.is_constant for value in operands)
