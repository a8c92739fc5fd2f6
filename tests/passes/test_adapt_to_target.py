"""adapt-to-target: what a target does not take is written in an equal form, where there is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from converter.ir import (
    DType,
    Graph,
    Op,
    Program,
    Signature,
    TensorType,
    TfliteOp,
    Value,
    constant,
    evaluate,
    new_op,
    verify,
)
from converter.passes.adapt_to_target import adapt_to_target, adapted
from converter.targets import Target, target_rejections
from tests.programs import tensor


def _program(inputs: Sequence[Value], ops: Sequence[Op], outputs: Sequence[Value]) -> Program:
    names = tuple(f"out{index}" for index in range(len(outputs)))
    graph = Graph("main", tuple(inputs), tuple(outputs), tuple(ops))
    return Program((graph,), (Signature("serving_default", tuple(value.name for value in inputs), names),))


def _adapted(program: Program, target: Target) -> Program:
    after = verify(adapt_to_target(verify(program, after="test"), target), after="adapt-to-target")
    assert adapted(after, target)
    rng = np.random.default_rng(0)
    given = {}
    for value in program.main.inputs:
        drawn = rng.standard_normal(value.type.shape or ())
        given[value.name] = drawn > 0 if value.type.dtype is DType.BOOL else drawn
    expected, seen = evaluate(program, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_array_equal(seen[name], array)
    return after


def _concatenation(count: int) -> Program:
    parts = [tensor(f"x{index}", 2, 3) for index in range(count)]
    y = tensor("y", 2, 3 * count)
    return _program(parts, [new_op("CONCATENATION", parts, [y], {"axis": 1})], [y])


@pytest.mark.parametrize(("count", "ops"), [(11, 2), (21, 3), (101, 12)])
def test_a_long_concatenation_becomes_a_tree(count: int, ops: int) -> None:
    after = _adapted(_concatenation(count), Target.TFLM)
    assert after.op_counts() == {"CONCATENATION": ops}
    assert all(len(op.operands) <= 10 for op in after.ops())


@pytest.mark.parametrize(
    ("count", "target"), [(10, Target.TFLM), (11, Target.LITERT)], ids=["short enough", "no limit"]
)
def test_a_concatenation_that_the_target_takes_stays(count: int, target: Target) -> None:
    program = _concatenation(count)
    assert list(_adapted(program, target).ops()) == list(program.ops())


def _tile(*counts: int) -> Program:
    x, y = tensor("x", 2, 1, 3), tensor("y", 2 * counts[0], counts[1], 3 * counts[2])
    return _program([x], [new_op("TILE", [x, constant("counts", np.array(counts, np.int32))], [y])], [y])


@pytest.mark.parametrize(("counts", "ops"), [((1, 2, 1), 1), ((2, 3, 2), 3), ((1, 12, 1), 3), ((1, 1, 1), 1)])
def test_a_tile_becomes_concatenations(counts: tuple[int, int, int], ops: int) -> None:
    assert _adapted(_tile(*counts), Target.TFLM).op_counts()["CONCATENATION"] == ops


def test_a_tile_that_the_target_has_or_that_is_computed_stays() -> None:
    program = _tile(1, 2, 1)
    assert list(_adapted(program, Target.LITERT).ops()) == list(program.ops())
    x, counts, y = tensor("x", 2, 3), Value("counts", TensorType(DType.INT32, (2,))), tensor("y", None, None)
    computed = _program([x, counts], [new_op("TILE", [x, counts], [y])], [y])
    assert list(adapt_to_target(computed, Target.TFLM).ops()) == list(computed.ops())
    assert any("has no TILE" in one.detail for one in target_rejections(computed, Target.TFLM))


def _select(*shapes: tuple[int, ...]) -> Program:
    condition, x, y = (
        tensor(name, *shape, dtype=dtype)
        for name, shape, dtype in zip("cxy", shapes, (DType.BOOL, DType.FLOAT32, DType.FLOAT32), strict=True)
    )
    z = tensor("z", *shapes[1])
    return _program([condition, x, y], [new_op("SELECT", [condition, x, y], [z])], [z])


def test_a_select_of_one_shape_becomes_the_one_that_microcontrollers_have() -> None:
    program = _select((2, 3), (2, 3), (2, 3))
    assert _adapted(program, Target.TFLM).op_counts() == {"SELECT_V2": 1}
    assert _adapted(program, Target.LITERT).op_counts() == {"SELECT": 1}


def test_a_select_that_spreads_its_condition_over_rows_stays_and_is_refused() -> None:
    program = _select((2,), (2, 2), (2, 2))
    after = adapt_to_target(program, Target.TFLM)
    assert list(after.ops()) == list(program.ops())
    assert [reason.rule for reason in target_rejections(after, Target.TFLM)] == ["target-op"]


def _passing_through() -> Program:
    x, y = tensor("x", 2, 3), tensor("y", 2, 3)
    return _program([x], [new_op("TANH", [x], [y])], [x, y, y])


def test_outputs_that_are_inputs_or_other_outputs_are_copied() -> None:
    after = _adapted(_passing_through(), Target.LITERT_COMPILED)
    assert len({*after.main.outputs, *after.main.inputs}) == 4
    assert not list(target_rejections(after, Target.LITERT_COMPILED))


def test_outputs_stay_as_they_are_where_the_target_takes_them() -> None:
    program = _passing_through()
    assert _adapted(program, Target.LITERT).main.outputs == program.main.outputs
    assert all(isinstance(op, TfliteOp) for op in program.ops())


@pytest.mark.parametrize("dtype", [DType.INT32, DType.BOOL], ids=lambda dtype: dtype.value)
def test_a_choice_between_integers_or_flags_becomes_arithmetic(dtype: DType) -> None:
    condition = Value("condition", TensorType(DType.BOOL, (3, 1)))
    x, y, z = (Value(name, TensorType(dtype, (3, 4))) for name in "xyz")
    program = _program([condition, x, y], [new_op("SELECT_V2", [condition, x, y], [z])], [z])
    assert "SELECT_V2" not in _adapted(program, Target.TFLM).op_counts()
    assert _adapted(program, Target.LITERT).op_counts() == {"SELECT_V2": 1}


def test_the_choice_is_exact_at_the_ends_of_int32() -> None:
    condition = Value("condition", TensorType(DType.BOOL, (2,)))
    x, y, z = (Value(name, TensorType(DType.INT32, (2,))) for name in "xyz")
    program = _program([condition, x, y], [new_op("SELECT_V2", [condition, x, y], [z])], [z])
    ends = np.array([-(1 << 31), (1 << 31) - 1], np.int32)
    given = {"condition": np.array([True, False]), "x": ends, "y": ends[::-1]}
    seen = evaluate(adapt_to_target(program, Target.TFLM), given)
    np.testing.assert_array_equal(seen["out0"], [ends[0], ends[0]])


@pytest.mark.parametrize("shrink", [0, 1])
def test_a_slice_of_the_first_axes_names_all(shrink: int) -> None:
    x, y = tensor("x", 4, 3, 5), tensor("y", *([3, 5] if shrink else [1, 3, 5]))
    spec = [constant(name, np.array([number], np.int32)) for name, number in (("b", 1), ("e", 2), ("s", 1))]
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask"), 0)
    op = new_op("STRIDED_SLICE", [x, *spec], [y], {**masks, "shrinkAxisMask": shrink})
    (after,) = _adapted(_program([x], [op], [y]), Target.TFLM).ops()
    assert isinstance(after, TfliteOp)
    assert after.operand(1).type.shape == (3,)


def test_whether_any_flag_is_set_is_the_largest_number() -> None:
    x, y = Value("x", TensorType(DType.BOOL, (3, 4))), Value("y", TensorType(DType.BOOL, (3,)))
    op = new_op("REDUCE_ANY", [x, constant("axes", np.array([1], np.int32))], [y], {"keepDims": False})
    assert "REDUCE_ANY" not in _adapted(_program([x], [op], [y]), Target.TFLM).op_counts()
