"""Every shape rule against what the evaluator makes of random operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pytest

from converter.ir import Array, DType, Graph, TensorType, TfliteOp, Value, constant
from converter.ir.dimensions import Dimension, SymbolicShape, multiply, unknown
from converter.ir.evaluate import evaluate_graph
from converter.ir.kernels import KERNELS
from converter.ir.shapes import Known, infer_shapes, known_of, result_shapes, sizing

Sizes: TypeAlias = Mapping[str, int]
"""The size of each letter of a shape."""


@dataclass(frozen=True)
class Tensor:
    """An operand: its axes by letters (a digit is that size), and whether it is of floats."""

    axes: str
    dtype: DType = DType.FLOAT32

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(int(axis) if axis.isdigit() else sizes[axis] for axis in self.axes)


Numbers: TypeAlias = Callable[[Sizes], list[int] | int]


@dataclass(frozen=True)
class Case:
    builtin: str
    operands: tuple[Tensor | Numbers, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    results: int = 1

    def __str__(self) -> str:
        axes = [operand.axes if isinstance(operand, Tensor) else "#" for operand in self.operands]
        options = [f"{key}={value}" for key, value in self.options.items()]
        return "-".join([self.builtin, *axes, *options])


def case(builtin: str, *operands: str | Tensor | Numbers, results: int = 1, **options: object) -> Case:
    tensors = tuple(Tensor(operand) if isinstance(operand, str) else operand for operand in operands)
    return Case(builtin, tensors, options, results)


def numbers(*values: int) -> Numbers:
    return lambda _: list(values)


def number(value: int) -> Numbers:
    return lambda _: value


def flags(axes: str) -> Tensor:
    return Tensor(axes, DType.BOOL)


UNARY = (
    *("ABS", "CUMSUM", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG"),
    *("LOGISTIC", "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SIGN", "SOFTMAX", "SQRT"),
    *("SQUARE", "TANH", "ZEROS_LIKE", "CAST"),
)
BINARY = (
    *("ADD", "DIV", "EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "MAXIMUM", "MINIMUM", "MUL"),
    *("NOT_EQUAL", "POW", "SQUARED_DIFFERENCE", "SUB", "FLOOR_MOD"),
)
REDUCTIONS = ("MEAN", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "SUM")
MASKS = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")


def strided(*operands: str | Numbers, **masks: int) -> Case:
    return case("STRIDED_SLICE", *operands, **{mask: masks.get(mask, 0) for mask in MASKS})


CASES = [
    *(case(builtin, "abc") for builtin in UNARY if builtin != "CUMSUM"),
    case("CUMSUM", "abc", number(1), exclusive=True, reverse=False),
    *(case(builtin, *shapes) for builtin in BINARY for shapes in (("abc", "abc"), ("abc", "c"), ("a1c", "b1"))),
    *(case(name, "abc", numbers(1), keepDims=keep) for name in REDUCTIONS for keep in (True, False)),
    case("SUM", "abcd", numbers(0, -1), keepDims=False),
    case("SUM", "abcd", number(-2), keepDims=True),
    case("LOGICAL_AND", flags("ab"), flags("b")),
    case("LOGICAL_OR", flags("ab"), flags("1b")),
    case("LOGICAL_NOT", flags("ab")),
    case("SELECT", flags("ab"), "ab", "ab"),
    case("SELECT", flags("a"), "ab", "ab"),
    case("SELECT_V2", flags("ab"), "ab", "ab"),
    case("SELECT_V2", flags("a1"), "ab", ""),
    case("BATCH_MATMUL", "abc", "acd", adjX=False, adjY=False),
    case("BATCH_MATMUL", "abc", "cd"),
    case("BATCH_MATMUL", "1bcd", "a1ed", adjX=False, adjY=True),
    case("BATCH_MATMUL", "bdc", "bde", adjX=True, adjY=False),
    case("FULLY_CONNECTED", "ab", "cb", "c", keepNumDims=False),
    case("FULLY_CONNECTED", "abc", "dc", keepNumDims=False),
    case("FULLY_CONNECTED", "abc", "dc", "d", keepNumDims=True),
    case("BROADCAST_TO", "b", lambda s: [s["a"], s["b"]]),
    case("CONCATENATION", "abc", "adc", "abc", axis=1),
    case("CONCATENATION", "abc", "abd", axis=-1),
    case("CONCATENATION", "abc", axis=0),
    case("EXPAND_DIMS", "ab", number(1)),
    case("EXPAND_DIMS", "ab", number(-1)),
    case("FILL", lambda s: [s["a"], s["b"]], ""),
    case("GATHER", "abc", number(1), axis=0, batchDims=0),
    case("GATHER", "abc", numbers(1, 0, 1), axis=1, batchDims=0),
    case("GATHER", "abc", numbers(1, 0, 1), axis=-1, batchDims=0),
    case("PACK", "ab", "ab", "ab", axis=0),
    case("PACK", "ab", "ab", axis=-1),
    case("RESHAPE", "abc", lambda s: [s["a"] * s["b"], s["c"]]),
    case("RESHAPE", "abc", lambda s: [-1, s["c"]]),
    case("RESHAPE", "abc", lambda s: [s["c"], s["b"], -1]),
    case("RESHAPE", "11", numbers()),
    case("REVERSE_SEQUENCE", "abc", lambda s: [1] * s["a"], seqDim=1, batchDim=0),
    case("REVERSE_V2", "abc", numbers(1)),
    case("SHAPE", "abc"),
    case("SHAPE", ""),
    case("SLICE", "abc", numbers(1, 0, 0), numbers(1, -1, 2)),
    case("SLICE", "abc", numbers(1, 0, 1), numbers(-1, -1, -1)),
    case("SPLIT", number(1), "a6", numSplits=3, results=3),
    case("SPLIT", number(-1), "ab", numSplits=1),
    case("SPLIT_V", "a7", numbers(2, -1, 1), number(1), numSplits=3, results=3),
    case("SPLIT_V", "7a", numbers(3, 4), number(-2), numSplits=2, results=2),
    case("SQUEEZE", "a1b1", squeezeDims=[1]),
    case("SQUEEZE", "a1b1", squeezeDims=[-1, 1]),
    case("SQUEEZE", "213"),
    strided("abc", numbers(0, 1, 0), numbers(0, 3, 0), numbers(1, 1, 1), beginMask=5, endMask=5),
    strided("abc", numbers(-1, 0), numbers(0, 2), numbers(1, 1), shrinkAxisMask=1),
    strided("9b", numbers(8), numbers(0), numbers(-3)),
    strided("9b", numbers(-2), numbers(0), numbers(-2), endMask=1),
    strided("9", numbers(-4), numbers(100), numbers(2)),
    strided("9", numbers(5), numbers(2), numbers(1)),
    case("TILE", "ab", numbers(2, 3)),
    case("TRANSPOSE", "abc", numbers(2, 0, 1)),
    case("UNPACK", "a3b", axis=1, num=3, results=3),
    case("UNPACK", "ab2", axis=-1, num=2, results=2),
]


@dataclass(frozen=True)
class Drawn:
    """An op with random operands, and the shapes that the evaluator's results have."""

    op: TfliteOp
    shapes: list[tuple[int, ...]]


def _drawn(case: Case, seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    sizes = {letter: int(size) for letter, size in zip("abcde", rng.permutation([2, 3, 4, 5, 6]), strict=True)}
    values: list[Value] = []
    arrays: dict[Value, Array] = {}
    for index, operand in enumerate(case.operands):
        if isinstance(operand, Tensor):
            shape = operand.shape(sizes)
            value = Value(f"x_{index}", TensorType(operand.dtype, shape))
            noise = rng.uniform(0.1, 1.0, shape)
            arrays[value] = np.asarray(noise > 0.5 if operand.dtype is DType.BOOL else noise)
        else:
            value = constant(f"number_{index}", np.asarray(operand(sizes), np.int32))
        values.append(value)
    results = tuple(Value(f"y_{index}", TensorType(DType.FLOAT32, None)) for index in range(case.results))
    op = TfliteOp(case.builtin, tuple(values), results, None, case.options)
    with np.errstate(all="ignore"):
        made = evaluate_graph(Graph("op", tuple(arrays), results, (op,)), list(arrays.values()))
    return Drawn(op, [array.shape for array in made])


cases = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_builtin_that_can_be_evaluated_has_a_rule() -> None:
    assert KERNELS.keys() == {case.builtin for case in CASES}


@cases
@pytest.mark.parametrize("seed", range(3))
def test_the_rule_gives_the_shapes_that_the_evaluator_makes(case: Case, seed: int) -> None:
    drawn = _drawn(case, seed)
    assert list(result_shapes(drawn.op)) == drawn.shapes


@cases
def test_with_unknown_sizes_the_rule_gives_no_wrong_one(case: Case) -> None:
    rng = np.random.default_rng(0)
    for seed in range(8):
        drawn = _drawn(case, seed)
        operands = [_hidden(known, rng) for known in _known(drawn.op)]
        for shape, actual in zip(infer_shapes(drawn.op, operands), drawn.shapes, strict=True):
            assert shape is None or len(shape) == len(actual)
            assert all(size in {None, number} for size, number in zip(shape or (), actual, strict=False))


def _known(op: TfliteOp) -> list[Known]:
    return [known_of(value, sizes=index in sizing(op)) for index, value in enumerate(op.operands)]


def _hidden(known: Known, rng: np.random.Generator) -> Known:
    def hide(sizes: SymbolicShape | None) -> SymbolicShape | None:
        return None if sizes is None else tuple(None if rng.random() < 0.4 else size for size in sizes)

    numbers = None if rng.random() < 0.3 else hide(known.numbers)
    return Known(None if rng.random() < 0.1 else hide(known.shape), numbers)


@cases
def test_with_symbols_the_rule_gives_what_the_symbols_stand_for(case: Case) -> None:
    for seed in range(4):
        drawn = _drawn(case, seed)
        letters = dict(zip(drawn.op.operands, case.operands, strict=True))
        named = {axis: Value(axis, TensorType(DType.FLOAT32, ())) for axis in "abcde"}
        meaning: dict[Dimension, int] = {}
        operands = []
        for value, known in zip(drawn.op.operands, _known(drawn.op), strict=True):
            source = letters[value]
            if not isinstance(source, Tensor) or known.shape is None:
                operands.append(known)
                continue
            shape = tuple(
                size if axis.isdigit() else unknown(named[axis])
                for axis, size in zip(source.axes, known.shape, strict=True)
            )
            meaning |= {
                symbol: size
                for symbol, size in zip(shape, known.shape, strict=True)
                if not isinstance(symbol, int) and isinstance(size, int)
            }
            operands.append(Known(shape, known.numbers))
        for symbolic, actual in zip(infer_shapes(drawn.op, operands), drawn.shapes, strict=True):
            assert symbolic is None or [_meant(size, meaning) for size in symbolic] == [
                None if size is None else number for size, number in zip(symbolic, actual, strict=True)
            ]


def _meant(size: Dimension | None, meaning: Mapping[Dimension, int]) -> int | None:
    if size is None or isinstance(size, int):
        return size
    powers = [meaning[unknown(extent.value, extent.axis)] ** power for extent, power in size.extents]
    return size.factor * int(np.prod(powers))


# --- what symbols are good for -----------------------------------------------------------------------------------

X = Value("x", TensorType(DType.FLOAT32, (None, None, 8)))
BATCH, TIME = unknown(X, 0), unknown(X, 1)


def _inferred(builtin: str, *operands: Known, **options: object) -> SymbolicShape | None:
    values = tuple(Value(f"operand_{index}", TensorType(DType.FLOAT32, None)) for index in range(len(operands)))
    result = Value("y", TensorType(DType.FLOAT32, None))
    (shape,) = infer_shapes(TfliteOp(builtin, values, (result,), None, options), operands)
    return shape


def test_a_matrix_of_all_rows_has_the_product_of_their_numbers() -> None:
    rows = multiply([BATCH, TIME])
    assert _inferred("RESHAPE", Known((BATCH, TIME, 8)), Known((2,), (-1, 8))) == (rows, 8)
    assert _inferred("FULLY_CONNECTED", Known((BATCH, TIME, 8)), Known((3, 8))) == (rows, 3)
    assert _inferred("RESHAPE", Known((rows, 3)), Known((3,), (BATCH, TIME, -1))) == (BATCH, TIME, 3)
    assert _inferred("RESHAPE", Known((rows, 3)), Known((3,), (BATCH, -1, 3))) == (BATCH, TIME, 3)


def test_two_unknown_sizes_are_broadcast_to_one_that_is_not_known() -> None:
    assert _inferred("ADD", Known((BATCH, 8)), Known((BATCH, 1))) == (BATCH, 8)
    assert _inferred("ADD", Known((BATCH, 8)), Known((TIME, 8))) == (None, 8)
    assert _inferred("ADD", Known((BATCH, 8)), Known((4, 8))) == (4, 8)


def test_operands_that_do_not_fit_together_have_no_result() -> None:
    assert _inferred("ADD", Known((3, 8)), Known((4, 8))) is None
    assert _inferred("CONCATENATION", Known((3, 8)), Known((3, 8, 1)), axis=0) is None
    assert _inferred("TRANSPOSE", Known((3, 8)), Known((3,), (2, 1, 0))) is None
    assert _inferred("FULLY_CONNECTED", Known((3, 8)), Known((8,))) is None


def test_an_op_without_a_rule_has_results_of_unknown_rank() -> None:
    assert _inferred("WHERE", Known((3, 8))) is None


def test_parts_that_end_at_an_unknown_place_have_an_unknown_size() -> None:
    masks = dict.fromkeys(MASKS, 0)
    kept = {**masks, "beginMask": 2, "endMask": 2}
    bounds = Known((2,), (0, 0)), Known((2,), (TIME, 0)), Known((2,), (1, 1))
    assert _inferred("STRIDED_SLICE", Known((BATCH, 8)), *bounds, **kept) == (None, 8)


def test_new_axes_and_ellipses_of_a_slice() -> None:
    """x[None, ..., 1:4] and x[..., None, 0]."""
    masks = dict.fromkeys(MASKS, 0)
    spec = Known((3,), (0, 0, 1)), Known((3,), (0, 0, 4)), Known((3,), (1, 1, 1))
    options = {**masks, "newAxisMask": 1, "ellipsisMask": 2}
    assert _inferred("STRIDED_SLICE", Known((BATCH, TIME, 8)), *spec, **options) == (1, BATCH, TIME, 3)
    options = {**masks, "ellipsisMask": 1, "newAxisMask": 2, "shrinkAxisMask": 4}
    assert _inferred("STRIDED_SLICE", Known((BATCH, TIME, 8)), *spec, **options) == (BATCH, TIME, 1)


def test_windows_of_stride_one_that_are_padded_keep_an_unknown_size() -> None:
    options = {"strideW": 1, "strideH": 2, "padding": 0}
    shapes = Known((BATCH, 7, TIME, 8)), Known((5, 3, 3, 8))
    assert _inferred("CONV_2D", *shapes, **options) == (BATCH, 4, TIME, 5)
    assert _inferred("CONV_2D", *shapes, **options | {"padding": 1}) == (BATCH, 3, None, 5)
