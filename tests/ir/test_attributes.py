"""What options and constant operands say, decoded; and ops made with them."""

from __future__ import annotations

import numpy as np
import pytest

from converter.flatbuffer.schema import ACTIVATION_NUMBERS
from converter.ir import (
    FullyConnected,
    StridedSlice,
    TfliteOp,
    Value,
    as_tflite,
    attributes,
    constant,
    fused_activation,
    integers,
    made_by,
    new_op,
)
from converter.targets.ops import VERSIONS
from tests.programs import recurrence, rnn_cell, tensor

X, Y = tensor("x", 2, 3), tensor("y", 2, 3)
WEIGHTS = constant("weights", np.zeros((3, 3), np.float32))
BIAS = constant("bias", np.zeros(3, np.float32))


def ints(*numbers: int) -> Value:
    return constant("numbers", np.array(numbers, np.int32))


# making ops ------------------------------------------------------------------------------------------------


def test_a_new_op_has_the_options_table_of_its_builtin() -> None:
    op = new_op("ADD", [X, X], [Y], attributes.activation("RELU"))
    assert (op.options_type, op.options, op.version) == ("AddOptions", {"fusedActivationFunction": 1}, 1)
    assert new_op("TANH", [X], [Y]).options_type is None


def test_activations_are_numbered_as_in_the_schema() -> None:
    assert {name: number for number, name in enumerate(attributes.ACTIVATIONS)} == ACTIVATION_NUMBERS


@pytest.mark.parametrize(
    ("operands", "keeps", "version"),
    [
        ((X, WEIGHTS, BIAS), False, 1),
        ((X, WEIGHTS, BIAS), True, 5),
        ((X, WEIGHTS, None), True, 6),
        ((X, WEIGHTS), False, 6),
    ],
)
def test_a_dense_layer_has_the_version_that_it_needs(
    operands: tuple[Value | None, ...], keeps: bool, version: int
) -> None:
    op = new_op("FULLY_CONNECTED", operands, [Y], {"keepNumDims": keeps})
    assert op.version == version <= min(VERSIONS["FULLY_CONNECTED"])


def test_keeping_axes_raises_the_version_and_never_lowers_it() -> None:
    op = new_op("FULLY_CONNECTED", [X, WEIGHTS, BIAS], [Y])
    assert FullyConnected.of(attributes.keeping_axes(op)).keeps_axes
    assert attributes.keeping_axes(op).version == 5
    newer = TfliteOp("FULLY_CONNECTED", (X, WEIGHTS, BIAS), (Y,), version=9)
    assert attributes.keeping_axes(newer).version == 9


def test_an_activation_is_taken_off() -> None:
    op = new_op("ADD", [X, X], [Y], {**attributes.activation("TANH"), "potScaleInt16": True})
    assert fused_activation(op) == "TANH"
    assert attributes.without_activation(op).options == {"fusedActivationFunction": 0, "potScaleInt16": True}


# reading ops -----------------------------------------------------------------------------------------------


def test_options_that_are_left_out_have_the_schema_s_defaults() -> None:
    op = TfliteOp("GATHER", (X, ints(0)), (Y,))
    assert (attributes.axis(op), attributes.has_batch_axes(op), fused_activation(op)) == (0, False, "NONE")
    assert attributes.squeezed_axes(TfliteOp("SQUEEZE", (X,), (Y,), options={"squeezeDims": None})) == ()


def test_vectors_are_tuples_of_numbers() -> None:
    dims = np.array([0, 2], np.int32)
    assert attributes.squeezed_axes(TfliteOp("SQUEEZE", (X,), (Y,), options={"squeezeDims": dims})) == (0, 2)
    assert attributes.permutation(new_op("TRANSPOSE", [X, ints(1, 0)], [Y])) == (1, 0)
    assert attributes.axes(new_op("SUM", [X, ints(-1)], [Y])) == (-1,)
    assert integers(X) is None
    assert integers(None) is None


def test_a_dense_layer_is_decoded() -> None:
    op = new_op("FULLY_CONNECTED", [X, WEIGHTS, None], [Y], attributes.activation("RELU6"))
    dense = FullyConnected.match(op)
    assert dense is not None
    assert (dense.x, dense.weights, dense.bias, dense.activation) == (X, WEIGHTS, None, "RELU6")
    assert (dense.keeps_axes, dense.shuffled) == (False, False)
    assert FullyConnected.match(new_op("ADD", [X, X], [Y])) is None


def sliced(**options: int) -> StridedSlice:
    operands = (X, ints(0, 1), ints(2, 2), ints(1, 1))
    return StridedSlice.of(TfliteOp("STRIDED_SLICE", operands, (Y,), options=options))


def test_a_slice_is_decoded_axis_by_axis() -> None:
    found = sliced(beginMask=0b01, endMask=0b11, shrinkAxisMask=0b10)
    assert [found.has_open_begin(axis) for axis in range(2)] == [True, False]
    assert [found.has_open_end(axis) for axis in range(2)] == [True, True]
    assert [found.is_whole(axis) for axis in range(2)] == [True, False]
    assert [found.drops(axis) for axis in range(2)] == [False, True]
    assert (found.dropped_axis, found.has_unit_strides, found.is_plain) == (1, True, True)


@pytest.mark.parametrize("mask", ["ellipsisMask", "newAxisMask", "offset"])
def test_a_slice_with_anything_else_is_not_plain(mask: str) -> None:
    assert not sliced(**{mask: 1}).is_plain


def test_two_dropped_axes_are_not_one() -> None:
    assert sliced(shrinkAxisMask=0b11).dropped_axis is None
    assert sliced().dropped_axis is None


def test_graphs_are_found_and_renumbered() -> None:
    loop = new_op("WHILE", [X], [Y], {"condSubgraphIndex": 4, "bodySubgraphIndex": 7})
    assert attributes.graphs(loop) == attributes.loop_graphs(loop) == (4, 7)
    assert attributes.loop_graphs(attributes.with_graphs(loop, {4: 1, 7: 2})) == (1, 2)
    add = new_op("ADD", [X, X], [Y])
    assert attributes.with_graphs(add, {}) is add


def test_the_branches_of_a_case_are_graphs() -> None:
    case = new_op("STABLEHLO_CASE", [X], [Y], {"branchSubgraphIndices": np.array([3, 5], np.int32)})
    assert attributes.graphs(case) == (3, 5)
    assert attributes.graphs(attributes.with_graphs(case, {3: 1, 5: 2})) == (1, 2)


# matching --------------------------------------------------------------------------------------------------


def test_ops_are_found_by_builtin_or_custom_code() -> None:
    add, custom = new_op("ADD", [X, X], [Y]), TfliteOp("CUSTOM", (X,), (Y,), custom_code="mine")
    assert as_tflite(add, "SUB", "ADD") is add
    assert as_tflite(add, "SUB") is None
    assert as_tflite(add) is add
    assert as_tflite(custom, "mine") is custom
    assert as_tflite(recurrence(rnn_cell(), tensor("x", 3, 2, 3))) is None
    assert as_tflite(None, "ADD") is None


def test_the_op_that_makes_a_value_is_found() -> None:
    add = new_op("ADD", [X, X], [Y])
    assert made_by(Y, {Y: add}, "ADD") is add
    assert made_by(X, {Y: add}) is None
    assert made_by(None, {Y: add}) is None


def test_an_operand_that_is_left_out_is_an_error() -> None:
    dense = new_op("FULLY_CONNECTED", [X, WEIGHTS, None], [Y])
    assert dense.operand(1) is WEIGHTS
    for place in (2, 3):
        with pytest.raises(ValueError, match=f"y: FULLY_CONNECTED has no operand {place}"):
            dense.operand(place)
