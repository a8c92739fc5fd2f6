"""The op table: the facts about each builtin of the TFLite schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, auto
from sys import maxsize
from types import MappingProxyType


class Trait(Flag):
    """Properties of ops."""

    NONE = 0
    ELEMENTWISE = auto()
    """Element by element; the result has the broadcast shape of the operands."""
    STEPPED = auto()
    """Elementwise and piecewise constant, so not part of a smooth activation function."""
    RESHAPES = auto()
    """The result holds the elements of operand 0, in their order."""
    REPEATS = auto()
    """The result holds the elements of operand 0, each perhaps several times."""
    MOVES = auto()
    """The results hold elements of the operands, in another order or place."""
    REDUCES = auto()
    """Operand 1 lists the axes over which operand 0 is reduced."""
    RANDOM = auto()
    """The result differs from run to run."""
    CONTROL = auto()
    """Runs other graphs of the model."""
    EFFECTS = auto()
    """Reads or changes something besides its operands and results: variables, tables, unknown code."""


@dataclass(frozen=True, slots=True)
class Builtin:
    """One op of the schema.

    ``operands`` and ``results`` are their least and greatest numbers; ``absent`` are the positions of the
    operands that may be left out (-1 in the file). ``options`` names the table of its options, None if the schema
    has none for it.

    ``sized_by`` are the operands whose content, besides the shapes of all, decides the shapes of the results: if
    those are constants, memory is planned before the run. None if the op sizes its results while it runs, or if
    that is not known. ``single`` are the operands that hold one number.
    """

    operands: tuple[int, int]
    results: tuple[int, int]
    options: str | None
    traits: Trait
    sized_by: tuple[int, ...] | None
    absent: frozenset[int]
    single: tuple[int, ...]


def _op(
    operands: int | tuple[int, int],
    options: str | None = None,
    traits: Trait = Trait.NONE,
    *,
    results: int | tuple[int, int] = 1,
    sized_by: tuple[int, ...] | None = (),
    absent: tuple[int, ...] = (),
    single: tuple[int, ...] = (),
) -> Builtin:
    return Builtin(_range(operands), _range(results), options, traits, sized_by, frozenset(absent), single)


def _range(count: int | tuple[int, int]) -> tuple[int, int]:
    return count if isinstance(count, tuple) else (count, count)


_ANY = (0, maxsize)
_SOME = (1, maxsize)
_E = Trait.ELEMENTWISE

UNKNOWN = _op(_ANY, results=_ANY, sized_by=None)
"""An unknown op, for example of StableHLO, which is copied unchanged."""

BUILTINS: Mapping[str, Builtin] = MappingProxyType(
    {
        "ABS": _op(1, "AbsOptions", _E),
        "ADD": _op(2, "AddOptions", _E),
        "ADD_N": _op(_SOME, "AddNOptions"),
        "ARG_MAX": _op(2, "ArgMaxOptions", sized_by=(1,), single=(1,)),
        "ARG_MIN": _op(2, "ArgMinOptions", sized_by=(1,), single=(1,)),
        "ASSIGN_VARIABLE": _op(2, "AssignVariableOptions", Trait.EFFECTS, results=0),
        "ATAN2": _op(2, "ATan2Options"),
        "AVERAGE_POOL_2D": _op(1, "Pool2DOptions"),
        "BATCH_MATMUL": _op(2, "BatchMatMulOptions"),
        "BATCH_TO_SPACE_ND": _op(3, "BatchToSpaceNDOptions", sized_by=(1, 2)),
        "BIDIRECTIONAL_SEQUENCE_LSTM": _op(
            48,
            "BidirectionalSequenceLSTMOptions",
            results=(1, 2),
            absent=(1, 5, *range(9, 13), 16, 17, 18, 22, *range(26, 30), 33, 34, *range(39, 48)),
        ),
        "BIDIRECTIONAL_SEQUENCE_RNN": _op(
            12, "BidirectionalSequenceRNNOptions", results=(1, 2), absent=(9, 10, 11)
        ),
        "BITCAST": _op(1, "BitcastOptions"),
        "BITWISE_XOR": _op(2, "BitwiseXorOptions"),
        "BROADCAST_ARGS": _op(2, sized_by=None),
        "BROADCAST_TO": _op(2, "BroadcastToOptions", Trait.REPEATS, sized_by=(1,)),
        "BUCKETIZE": _op(1, "BucketizeOptions"),
        "CALL": _op(_ANY, "CallOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "CALL_ONCE": _op(0, "CallOnceOptions", Trait.CONTROL, results=0),
        "CAST": _op(1, "CastOptions", _E | Trait.STEPPED),
        "CEIL": _op(1, None, _E | Trait.STEPPED),
        "COMPLEX_ABS": _op(1),
        "CONCATENATION": _op(_SOME, "ConcatenationOptions", Trait.MOVES),
        "CONV_2D": _op((2, 3), "Conv2DOptions", absent=(2,)),
        "CONV_3D": _op((2, 3), "Conv3DOptions", absent=(2,)),
        "CONV_3D_TRANSPOSE": _op((3, 4), "Conv3DOptions", sized_by=(0,), absent=(3,)),
        "COS": _op(1, "CosOptions", _E),
        "CUMSUM": _op(2, "CumsumOptions", sized_by=(1,), single=(1,)),
        "CUSTOM": _op(_ANY, None, Trait.EFFECTS, results=_ANY, sized_by=None),
        "DELEGATE": _op(_ANY, None, Trait.EFFECTS, results=_ANY, sized_by=None),
        "DENSIFY": _op(1, "DensifyOptions", sized_by=None),
        "DEPTHWISE_CONV_2D": _op((2, 3), "DepthwiseConv2DOptions", absent=(2,)),
        "DEPTH_TO_SPACE": _op(1, "DepthToSpaceOptions"),
        "DEQUANTIZE": _op(1, "DequantizeOptions"),
        "DILATE": _op(3, "DilateOptions", sized_by=None),
        "DIV": _op(2, "DivOptions", _E),
        "DYNAMIC_UPDATE_SLICE": _op(3, "DynamicUpdateSliceOptions"),
        "ELU": _op(1, None, _E),
        "EMBEDDING_LOOKUP": _op(2),
        "EMBEDDING_LOOKUP_SPARSE": _op(5, "EmbeddingLookupSparseOptions", sized_by=None),
        "EQUAL": _op(2, "EqualOptions", _E),
        "EXP": _op(1, "ExpOptions", _E),
        "EXPAND_DIMS": _op(2, "ExpandDimsOptions", Trait.RESHAPES, sized_by=(1,), single=(1,)),
        "FAKE_QUANT": _op(1, "FakeQuantOptions"),
        "FILL": _op(2, "FillOptions", sized_by=(0,), single=(1,)),
        "FLOOR": _op(1, None, _E | Trait.STEPPED),
        "FLOOR_DIV": _op(2, "FloorDivOptions", _E | Trait.STEPPED),
        "FLOOR_MOD": _op(2, "FloorModOptions", _E | Trait.STEPPED),
        "FULLY_CONNECTED": _op((2, 3), "FullyConnectedOptions", results=(1, 2), absent=(2,)),
        "GATHER": _op(2, "GatherOptions"),
        "GATHER_ND": _op(2, "GatherNdOptions"),
        "GELU": _op(1, "GeluOptions", _E),
        "GREATER": _op(2, "GreaterOptions", _E),
        "GREATER_EQUAL": _op(2, "GreaterEqualOptions", _E),
        "HARD_SWISH": _op(1, "HardSwishOptions", _E),
        "HASHTABLE": _op(0, "HashtableOptions", Trait.EFFECTS, sized_by=None),
        "HASHTABLE_FIND": _op(3, "HashtableFindOptions", Trait.EFFECTS, sized_by=None),
        "HASHTABLE_IMPORT": _op(3, "HashtableImportOptions", Trait.EFFECTS, results=0, sized_by=None),
        "HASHTABLE_LOOKUP": _op(3, results=2, sized_by=None),
        "HASHTABLE_SIZE": _op(1, "HashtableSizeOptions", Trait.EFFECTS, sized_by=None),
        "IF": _op(_SOME, "IfOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "IMAG": _op(1),
        "L2_NORMALIZATION": _op(1, "L2NormOptions"),
        "L2_POOL_2D": _op(1, "Pool2DOptions"),
        "LEAKY_RELU": _op(1, "LeakyReluOptions", _E),
        "LESS": _op(2, "LessOptions", _E),
        "LESS_EQUAL": _op(2, "LessEqualOptions", _E),
        "LOCAL_RESPONSE_NORMALIZATION": _op(1, "LocalResponseNormalizationOptions"),
        "LOG": _op(1, None, _E),
        "LOGICAL_AND": _op(2, "LogicalAndOptions", _E),
        "LOGICAL_NOT": _op(1, "LogicalNotOptions", _E),
        "LOGICAL_OR": _op(2, "LogicalOrOptions", _E),
        "LOGISTIC": _op(1, None, _E),
        "LOG_SOFTMAX": _op(1, "LogSoftmaxOptions"),
        "LSH_PROJECTION": _op((2, 3), "LSHProjectionOptions", sized_by=None, absent=(2,)),
        "LSTM": _op((5, 24), "LSTMOptions", results=(1, 4), absent=tuple(range(1, 24))),
        "MATRIX_DIAG": _op(1, "MatrixDiagOptions"),
        "MATRIX_SET_DIAG": _op(2, "MatrixSetDiagOptions"),
        "MAXIMUM": _op(2, "MaximumMinimumOptions", _E),
        "MAX_POOL_2D": _op(1, "Pool2DOptions"),
        "MEAN": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "MINIMUM": _op(2, "MaximumMinimumOptions", _E),
        "MIRROR_PAD": _op(2, "MirrorPadOptions", sized_by=(1,)),
        "MUL": _op(2, "MulOptions", _E),
        "MULTINOMIAL": _op(2, "RandomOptions", Trait.RANDOM, sized_by=None),
        "NEG": _op(1, "NegOptions", _E),
        "NON_MAX_SUPPRESSION_V4": _op(5, "NonMaxSuppressionV4Options", results=2, sized_by=None),
        "NON_MAX_SUPPRESSION_V5": _op(6, "NonMaxSuppressionV5Options", results=3, sized_by=None),
        "NOT_EQUAL": _op(2, "NotEqualOptions", _E),
        "ONE_HOT": _op(4, "OneHotOptions", sized_by=(1,), single=(1, 2, 3)),
        "PACK": _op(_SOME, "PackOptions", Trait.MOVES),
        "PAD": _op((2, 3), "PadOptions", sized_by=(1,)),
        "PADV2": _op((2, 3), "PadV2Options", sized_by=(1,)),
        "POW": _op(2, "PowOptions", _E),
        "PRELU": _op(2),
        "QUANTIZE": _op(1, "QuantizeOptions"),
        "RANDOM_STANDARD_NORMAL": _op(1, "RandomOptions", Trait.RANDOM, sized_by=None),
        "RANDOM_UNIFORM": _op(1, "RandomOptions", Trait.RANDOM, sized_by=None),
        "RANGE": _op(3, "RangeOptions", sized_by=(0, 1, 2), single=(0, 1, 2)),
        "RANK": _op(1, "RankOptions"),
        "READ_VARIABLE": _op(1, "ReadVariableOptions", Trait.EFFECTS, sized_by=None),
        "REAL": _op(1),
        "REDUCE_ALL": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "REDUCE_ANY": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "REDUCE_MAX": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "REDUCE_MIN": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "REDUCE_PROD": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "REDUCE_WINDOW": _op(5, "ReduceWindowOptions", sized_by=None),
        "RELU": _op(1, None, _E),
        "RELU6": _op(1, None, _E),
        "RELU_0_TO_1": _op(1, None, _E),
        "RELU_N1_TO_1": _op(1, None, _E),
        "RESHAPE": _op((1, 2), "ReshapeOptions", Trait.RESHAPES, sized_by=(1,)),
        "RESIZE_BILINEAR": _op(2, "ResizeBilinearOptions", sized_by=(1,)),
        "RESIZE_NEAREST_NEIGHBOR": _op(2, "ResizeNearestNeighborOptions", sized_by=(1,)),
        "REVERSE_SEQUENCE": _op(2, "ReverseSequenceOptions", Trait.MOVES),
        "REVERSE_V2": _op(2, "ReverseV2Options", Trait.MOVES),
        "RFFT2D": _op(2, "Rfft2dOptions", sized_by=(1,)),
        "RIGHT_SHIFT": _op(2, "RightShiftOptions"),
        "RNN": _op(5, "RNNOptions"),
        "ROUND": _op(1, None, _E | Trait.STEPPED),
        "RSQRT": _op(1, None, _E),
        "SCATTER_ND": _op(3, "ScatterNdOptions", sized_by=(2,)),
        "SEGMENT_SUM": _op(2, "SegmentSumOptions", sized_by=None),
        "SELECT": _op(3, "SelectOptions"),  # a condition of rank 1 chooses whole rows: not a broadcast
        "SELECT_V2": _op(3, "SelectV2Options", _E),
        "SHAPE": _op(1, "ShapeOptions"),
        "SIGN": _op(1, "SignOptions", _E),
        "SIN": _op(1, None, _E),
        "SKIP_GRAM": _op(1, "SkipGramOptions", sized_by=None),
        "SLICE": _op(3, "SliceOptions", Trait.MOVES, sized_by=(1, 2)),
        "SOFTMAX": _op(1, "SoftmaxOptions"),
        "SPACE_TO_BATCH_ND": _op(3, "SpaceToBatchNDOptions", sized_by=(1, 2)),
        "SPACE_TO_DEPTH": _op(1, "SpaceToDepthOptions"),
        "SPARSE_TO_DENSE": _op(4, "SparseToDenseOptions", sized_by=(1,)),
        "SPLIT": _op(2, "SplitOptions", Trait.MOVES, results=_SOME, sized_by=(0,), single=(0,)),
        "SPLIT_V": _op(3, "SplitVOptions", Trait.MOVES, results=_SOME, sized_by=(1, 2), single=(2,)),
        "SQRT": _op(1, None, _E),
        "SQUARE": _op(1, "SquareOptions", _E),
        "SQUARED_DIFFERENCE": _op(2, "SquaredDifferenceOptions", _E),
        "SQUEEZE": _op(1, "SqueezeOptions", Trait.RESHAPES),
        "STABLEHLO_CASE": _op(_SOME, "StablehloCaseOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "STABLEHLO_COMPOSITE": _op(_ANY, "StableHLOCompositeOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "STABLEHLO_CUSTOM_CALL": _op(
            _ANY, "StablehloCustomCallOptions", Trait.EFFECTS, results=_ANY, sized_by=None
        ),
        "STABLEHLO_RNG_BIT_GENERATOR": _op(
            1, "StablehloRngBitGeneratorOptions", Trait.RANDOM, results=2, sized_by=None
        ),
        "STABLEHLO_WHILE": _op(_ANY, "StablehloWhileOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "STRIDED_SLICE": _op(4, "StridedSliceOptions", Trait.MOVES, sized_by=(1, 2, 3)),
        "SUB": _op(2, "SubOptions", _E),
        "SUM": _op(2, "ReducerOptions", Trait.REDUCES, sized_by=(1,)),
        "SVDF": _op(5, "SVDFOptions", absent=(3,)),
        "TANH": _op(1, None, _E),
        "TILE": _op(2, "TileOptions", Trait.REPEATS, sized_by=(1,)),
        "TOPK_V2": _op(2, "TopKV2Options", results=2, sized_by=(1,), single=(1,)),
        "TRANSPOSE": _op(2, "TransposeOptions", Trait.MOVES, sized_by=(1,)),
        "TRANSPOSE_CONV": _op((3, 4), "TransposeConvOptions", sized_by=(0,), absent=(3,)),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": _op(
            (20, 24),
            "UnidirectionalSequenceLSTMOptions",
            absent=(1, 5, *range(9, 13), 16, 17, *range(20, 24)),
        ),
        "UNIDIRECTIONAL_SEQUENCE_RNN": _op(5, "SequenceRNNOptions"),
        "UNIQUE": _op(1, "UniqueOptions", results=2, sized_by=None),
        "UNPACK": _op(1, "UnpackOptions", Trait.MOVES, results=_SOME),
        "UNSORTED_SEGMENT_MAX": _op(3, "UnsortedSegmentMaxOptions", sized_by=None),
        "UNSORTED_SEGMENT_MIN": _op(3, "UnsortedSegmentMinOptions", sized_by=None),
        "UNSORTED_SEGMENT_PROD": _op(3, "UnsortedSegmentProdOptions", sized_by=None),
        "UNSORTED_SEGMENT_SUM": _op(3, "UnsortedSegmentSumOptions", sized_by=None),
        "VAR_HANDLE": _op(0, "VarHandleOptions", Trait.EFFECTS),
        "WHERE": _op(1, "WhereOptions", sized_by=None),
        "WHILE": _op(_ANY, "WhileOptions", Trait.CONTROL, results=_ANY, sized_by=None),
        "ZEROS_LIKE": _op(1, "ZerosLikeOptions", _E),
    }
)

LIST_OPS: Mapping[str, Builtin] = MappingProxyType(
    {
        "TensorArrayGatherV3": _op(3, sized_by=None),
        "TensorArrayReadV3": _op(3, sized_by=None, single=(1,)),
        "TensorArrayScatterV3": _op(4, sized_by=None),
        "TensorArraySizeV3": _op(2, sized_by=None),
        "TensorArrayV3": _op(1, results=2, sized_by=None, single=(0,)),
        "TensorArrayWriteV3": _op(4, sized_by=None, single=(1,)),
        "TensorListFromTensor": _op(2, sized_by=None),
        "TensorListGather": _op(3, sized_by=None),
        "TensorListGetItem": _op(3, sized_by=None, single=(1,)),
        "TensorListLength": _op(1, sized_by=None),
        "TensorListReserve": _op(2, sized_by=None, single=(1,)),
        "TensorListSetItem": _op(3, sized_by=None, single=(1,)),
        "TensorListStack": _op(2, sized_by=None),
    }
)
"""CUSTOM ops by their codes: TensorFlow's lists and arrays of tensors.

They have no effects: lists are values, and an array's ops are ordered by the flow that each passes on.
"""

VARIABLE_OPS = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
"""The builtins that name, read and assign resource variables."""
