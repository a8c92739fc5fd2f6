"""Shapes that follow from those of the inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.convert import compile_program
from converter.ir import DType, Graph, Program, Signature, TensorType, TfliteOp, Value, constant, evaluate
from converter.passes.refine_shapes import refine_shapes, shapes_refined
from tests.programs import gru_cell, random_inputs, recurrence, stack, tensor


def opened(value: Value) -> Value:
    """The value as TFLiteConverter leaves what comes out of a loop: nothing known but the last dimension."""
    shape = value.type.shape or ()
    return replace(value, type=TensorType(value.type.dtype, (*[None] * (len(shape) - 1), shape[-1])))


def behind_a_loop(*, time: int | None = 5) -> Program:
    """A recurrence with results of open sizes, a dense layer, and a reshape by a computed shape."""
    x = tensor("x", time, 2, 3)
    made = recurrence(gru_cell(), x)
    op = replace(made, output=opened(made.output), final_state=tuple(map(opened, made.final_state)))
    dense, shape = tensor("dense", None, None, 6), tensor("shape", 3, dtype=DType.INT32)
    tripled, flat = tensor("tripled", 3, dtype=DType.INT32), tensor("flat", None, None, None)
    kernel = constant("kernel", np.ones((6, 4), np.float32))
    ops = (
        op,
        TfliteOp("FULLY_CONNECTED", (op.output, kernel), (dense,), "FullyConnectedOptions", {"keepNumDims": True}),
        TfliteOp("SHAPE", (dense,), (shape,), "ShapeOptions"),
        TfliteOp("MUL", (shape, constant("one", np.ones(3, np.int32))), (tripled,), "MulOptions"),
        TfliteOp("RESHAPE", (dense, tripled), (flat,), "ReshapeOptions"),
    )
    outputs = (flat, *op.final_state)
    return Program((Graph("main", (x,), outputs, ops),), (Signature("serving_default", ("x",), ("y", "h")),))


def test_what_follows_a_recurrence_has_its_sizes() -> None:
    refined = refine_shapes(behind_a_loop())
    assert [value.type.shape for value in refined.main.outputs] == [(5, 2, 6), (2, 4)]
    assert shapes_refined(refined)


def test_a_shape_that_is_computed_of_known_sizes_is_a_constant() -> None:
    reshape = refine_shapes(behind_a_loop()).main.ops[-1]
    assert reshape.operands[1].data.tolist() == [5, 2, 6]


def test_the_meaning_is_the_same() -> None:
    source = behind_a_loop()
    inputs = random_inputs(np.random.default_rng(0), source, time=5, batch=2)
    before, after = evaluate(source, inputs), evaluate(refine_shapes(source), inputs)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_open_inputs_leave_everything_open() -> None:
    source = behind_a_loop(time=None)
    assert refine_shapes(source) is source


def test_a_loop_behind_which_shapes_are_known_has_no_computed_one() -> None:
    counts = compile_program(behind_a_loop()).report.op_counts
    assert "SHAPE" not in counts
    assert compile_program(stack([gru_cell()], time=5, batch=2)).report.op_counts["WHILE"] == 1


def test_sizes_are_known_behind_ops_that_the_evaluator_does_not_know() -> None:
    x, image = tensor("x", 5, 2, 3), tensor("image", None, None, None, 1)
    op = recurrence(gru_cell(), x)
    axis, kernel = constant("axis", np.asarray(3, np.int32)), constant("kernel", np.ones((6, 2, 1, 1), np.float32))
    convolved = tensor("convolved", None, None, None, 6)
    options = {"padding": 1, "strideH": 1, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    ops = (
        op,
        TfliteOp("EXPAND_DIMS", (op.output, axis), (image,), "ExpandDimsOptions"),
        TfliteOp("CONV_2D", (image, kernel, None), (convolved,), "Conv2DOptions", options),
    )
    source = Program((Graph("main", (x,), (convolved,), ops),), (Signature("main", ("x",), ("y",)),))
    (output,) = refine_shapes(source).main.outputs
    assert output.type.shape == (5, 1, 2, 6)


def test_a_shape_that_the_file_contradicts_is_left_as_it_is() -> None:
    x, y = tensor("x", 5, 2, 3), tensor("y", None, 7, 3)
    source = Program((Graph("main", (x,), (y,), (TfliteOp("TANH", (x,), (y,)),)),), ())
    assert refine_shapes(source).main.outputs == (y,)
