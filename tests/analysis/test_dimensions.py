"""Sizes that are equal in every run, and where unknown ones come from."""

from __future__ import annotations

import numpy as np
import pytest

from converter.analysis.dimensions import Dimensions
from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Scan, TensorType, TfliteOp, Value, constant, new_op
from converter.ir.dimensions import multiply, unknown
from converter.ir.shapes import Known
from tests.programs import gru_cell, recurrence, tensor

X = tensor("x", None, None, 8)
BATCH, TIME = unknown(X, 0), unknown(X, 1)


def vector(*numbers: int) -> Value:
    return constant("vector", np.asarray(numbers, np.int32))


def integers(name: str, *shape: int) -> Value:
    return Value(name, TensorType(DType.INT32, shape))


@pytest.fixture
def e() -> Emitter:
    return Emitter("m", Names(["x"]))


def test_a_size_that_the_type_says_is_a_number_and_an_unknown_one_stands_for_itself(e: Emitter) -> None:
    sizes = Dimensions.of(e.ops)
    assert sizes.shape(X) == (BATCH, TIME, 8)
    assert sizes.dimension(Value("y", TensorType(DType.FLOAT32, None)), 1) != TIME
    assert sizes.shape(Value("y", TensorType(DType.FLOAT32, None))) is None


def test_sizes_are_followed_through_ops(e: Emitter) -> None:
    turned = e.transpose(X, "turned")
    dense = e.fully_connected(turned, np.ones((3, 8), np.float32), None, "dense")
    total = e.add(dense, e.number(1.0))
    sizes = Dimensions.of(e.ops)
    assert sizes.shape(total) == (TIME, BATCH, 3)


def test_a_value_of_unknown_rank_has_the_shape_of_its_rule(e: Emitter) -> None:
    y = e.op("TANH", [X], Value("y", TensorType(DType.FLOAT32, None)))
    assert Dimensions.of(e.ops).shape(y) == (BATCH, TIME, 8)


def test_two_unknown_operands_make_a_size_of_its_own(e: Emitter) -> None:
    y = tensor("y", None, None, 8)
    total = e.add(X, y)
    assert Dimensions.of(e.ops).shape(total) == (unknown(total, 0), unknown(total, 1), 8)


def test_a_reshape_to_a_computed_shape_multiplies_sizes(e: Emitter) -> None:
    rows = e.multiply(e.dimension(X, 0), e.dimension(X, 1))
    flat = e.op("RESHAPE", [X, e.pack([rows, e.integer(8)], "rows_8")], tensor("flat", None, 8))
    shape = e.pack([e.dimension(X, 0), e.integer(-1), e.integer(8)], "shape")
    back = e.op("RESHAPE", [flat, shape], tensor("back", None, None, 8))
    sizes = Dimensions.of(e.ops)
    assert sizes.shape(flat) == (multiply([BATCH, TIME]), 8)
    assert sizes.shape(back) == sizes.shape(X)


def test_zeros_of_a_computed_batch_have_it(e: Emitter) -> None:
    state = e.zeros([e.dimension(X, 0), e.integer(4)], (None, 4), "state")
    assert Dimensions.of(e.ops).shape(state) == (BATCH, 4)


@pytest.mark.parametrize(
    ("builtin", "operands", "options", "expected"),
    [
        ("CAST", [], {}, (BATCH, TIME, 8)),
        ("GATHER", [vector(2, 0)], {"axis": 0}, (8, BATCH)),
        ("MUL", [vector(2)], {}, (multiply([BATCH, 2]), multiply([TIME, 2]), 16)),
        ("REDUCE_PROD", [vector(0)], {"keepDims": False}, (multiply([BATCH, TIME, 8]),)),
        ("CONCATENATION", [vector(5)], {"axis": 0}, (BATCH, TIME, 8, 5)),
        ("STRIDED_SLICE", [vector(1), vector(0), vector(1)], {"endMask": 1}, (TIME, 8)),
        ("STRIDED_SLICE", [vector(0), vector(-1), vector(1)], {"beginMask": 1}, (BATCH, TIME)),
        ("STRIDED_SLICE", [vector(-2), vector(0), vector(1)], {"shrinkAxisMask": 1}, (TIME,)),
        ("STRIDED_SLICE", [integers("begin", 1), vector(2), vector(1)], {}, None),
        ("ADD", [vector(1)], {}, None),
    ],
)
def test_elements_of_what_is_computed_of_a_shape(
    e: Emitter, builtin: str, operands: list[Value], options: dict[str, object], expected: object
) -> None:
    shape = e.op("SHAPE", [X], integers("shape", 3))
    result = Value("result", TensorType(DType.INT32, None))
    e.ops.append(new_op(builtin, [shape, *operands], [result], options))
    assert Dimensions.of(e.ops).elements(result) == expected


def test_the_parts_of_a_shape(e: Emitter) -> None:
    shape = e.op("SHAPE", [X], integers("shape", 3))
    parts = [integers(f"part_{index}") for index in range(3)]
    e.ops.append(new_op("UNPACK", [shape], parts, {"num": 3, "axis": 0}))
    sizes = Dimensions.of(e.ops)
    assert [sizes.number(part) for part in parts] == [BATCH, TIME, 8]


def test_a_scalar_of_which_nothing_is_known_stands_for_itself(e: Emitter) -> None:
    n = integers("n")
    cast = e.cast(n, DType.INT64, "cast")
    doubled = e.add(cast, cast)
    sizes = Dimensions.of(e.ops)
    assert sizes.number(n) == sizes.number(cast) == unknown(n)
    assert sizes.number(doubled) == unknown(doubled)
    assert sizes.elements(integers("several", 2)) is None


def test_what_a_minimum_does_not_exceed(e: Emitter) -> None:
    n, time = integers("n"), e.dimension(X, 1)
    least = e.minimum(n, e.minimum(e.integer(7), time))
    sizes = Dimensions.of(e.ops)
    for bound in (TIME, unknown(n), 7, 9):
        assert sizes.is_at_most(least, bound)
    for bound in (BATCH, 6):
        assert not sizes.is_at_most(least, bound)
    assert not sizes.is_at_most(e.maximum(n, time), TIME)


def test_results_of_a_recurrence_have_the_sizes_of_its_input(e: Emitter) -> None:
    op = recurrence(gru_cell(depth=8), X, time_major=False)
    sizes = Dimensions.of([op])
    assert sizes.shape(op.output) == (BATCH, TIME, 4)
    assert sizes.shape(op.final_state[0]) == (BATCH, 4)


def test_outputs_of_a_scan_are_as_long_as_its_sequences() -> None:
    row, doubled = tensor("row", None, 8), tensor("doubled", None, 8)
    step = (TfliteOp("ADD", (row, row), (doubled,)),)
    body = Graph("step", (integers("t"), row), (doubled,), step)
    output = tensor("output", None, None, 8)
    of_sequence = Scan("scan", body, (X,), (), (), (output,), ())
    assert Dimensions.of([of_sequence]).dimension(output, 0) == BATCH
    n = integers("n")
    of_length = Scan("scan", body, (X,), (), (), (output,), (), length=n)
    assert Dimensions.of([of_length]).dimension(output, 0) == unknown(n)


def test_lists_of_tensors_have_lengths(e: Emitter) -> None:
    variant = TensorType(DType.VARIANT, ())
    made, reserved, handle = (Value(name, variant) for name in ("made", "reserved", "handle"))
    count, flow = e.dimension(X, 1), tensor("flow")
    lengths = [integers(f"length_{index}") for index in range(3)]
    ops = [
        TfliteOp("CUSTOM", (X, vector(8)), (made,), custom_code="TensorListFromTensor"),
        TfliteOp("CUSTOM", (made,), (lengths[0],), custom_code="TensorListLength"),
        TfliteOp("CUSTOM", (vector(8), count), (reserved,), custom_code="TensorListReserve"),
        TfliteOp("CUSTOM", (reserved,), (lengths[1],), custom_code="TensorListLength"),
        TfliteOp("CUSTOM", (count,), (handle, flow), custom_code="TensorArrayV3"),
        TfliteOp("CUSTOM", (handle, flow), (lengths[2],), custom_code="TensorArraySizeV3"),
    ]
    sizes = Dimensions.of([*e.ops, *ops])
    assert [sizes.number(length) for length in lengths] == [BATCH, TIME, TIME]


def test_sizes_that_are_given_take_the_place_of_symbols() -> None:
    row, y = tensor("row", None, 8), tensor("y", None, 8)
    sizes = Dimensions.of([TfliteOp("TANH", (row,), (y,))], {row: Known((TIME, 8))})
    assert sizes.shape(y) == (TIME, 8)


def test_sums_of_sizes_and_numbers_are_taken_apart(e: Emitter) -> None:
    time = e.dimension(X, 1)
    less = e.subtract(time, e.integer(1))
    twice = e.multiply(less, e.integer(2))
    size = e.add(e.integer(5), twice)
    squared = e.multiply(size, time)
    sizes = Dimensions.of(e.ops)
    assert sizes.sum_of(sizes.number(size)) == (multiply([2, TIME]), 3)
    assert sizes.sum_of(sizes.number(twice)) == (multiply([2, TIME]), -2)
    assert sizes.sum_of(7) == (0, 7)
    assert sizes.sum_of(TIME) == (TIME, 0)
    assert sizes.sum_of(sizes.number(squared)) == (sizes.number(squared), 0)


def test_a_sum_of_two_sizes_is_not_taken_apart(e: Emitter) -> None:
    total = e.add(e.dimension(X, 0), e.dimension(X, 1))
    sizes = Dimensions.of(e.ops)
    assert sizes.sum_of(sizes.number(total)) == (sizes.number(total), 0)


def test_a_part_of_a_shape_is_known(e: Emitter) -> None:
    shape = e.op("SHAPE", [X], integers("shape", 3), {})
    inner = e.op("SLICE", [shape, vector(1), vector(2)], integers("inner", 2))
    rest = e.op("SLICE", [shape, vector(2), vector(-1)], integers("rest", 1))
    sizes = Dimensions.of(e.ops)
    assert sizes.elements(inner) == (TIME, 8)
    assert sizes.elements(rest) == (8,)
