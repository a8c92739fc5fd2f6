"""The judge of foreign files: each rule of a target, on a program that breaks it."""

from __future__ import annotations

import pytest

from converter.convert import compile_program
from converter.flatbuffer import read_model
from converter.ir import DType, Graph, Program, Signature, TfliteOp, Value
from converter.targets import Target, target_rejections
from tests.programs import gru_cell, lstm_cell, rnn_cell, stack, tensor


def of_ops(*ops: TfliteOp, dtype: DType = DType.FLOAT32, shape: tuple[int | None, ...] = (1, 2)) -> Program:
    x = Value(
        "x", ops[0].operands[0].type if ops and ops[0].operands[0] else tensor("x", *shape, dtype=dtype).type
    )
    operand = ops[0].operands[0] if ops else x
    assert operand is not None
    y = ops[-1].results[0] if ops else tensor("y", *shape, dtype=dtype)
    graph = Graph("main", (operand,), (y,), ops)
    return Program((graph,), (Signature("serving_default", ("x",), ("y",)),))


def op(builtin: str, *, version: int = 1, operands: int = 1, shape: tuple[int | None, ...] = (1, 2)) -> TfliteOp:
    x = tensor("x", *shape)
    return TfliteOp(builtin, (x,) * operands, (tensor("y", *shape),), version=version)


def rules(program: Program, target: Target) -> list[str]:
    return [rejection.rule for rejection in target_rejections(program, target)]


def test_an_op_that_the_target_lacks() -> None:
    assert rules(of_ops(op("TILE")), Target.TFLM) == ["target-op"]
    assert rules(of_ops(op("TILE")), Target.LITERT) == []


def test_an_op_newer_than_the_target() -> None:
    program = of_ops(op("FULLY_CONNECTED", version=12))
    (rejection,) = target_rejections(program, Target.TFLITE_RUNTIME)
    assert rejection.rule == "target-op-version"
    assert "version 12, but tflite-runtime 2.14 supports it up to version 10" in rejection.detail
    assert rules(program, Target.LITERT) == []


def test_a_custom_op() -> None:
    custom = TfliteOp("CUSTOM", (tensor("x", 1),), (tensor("y", 1),), custom_code="FlexTensorListReserve")
    assert rules(of_ops(custom), Target.LITERT) == ["target-op"]


def test_too_many_operands_of_a_concatenation() -> None:
    assert rules(of_ops(op("CONCATENATION", operands=11)), Target.TFLM) == ["target-concatenation"]
    assert rules(of_ops(op("CONCATENATION", operands=10)), Target.TFLM) == []


@pytest.mark.parametrize("target", [Target.LITERT_COMPILED, Target.LITERT_WEB, Target.TFLM])
def test_open_dimensions(target: Target) -> None:
    assert rules(of_ops(op("TANH", shape=(None, 2))), target) == ["target-static-shapes"]


def test_state_tensors() -> None:
    fused = read_model(compile_program(stack([lstm_cell()], time=3, batch=1)).model)
    assert rules(fused, Target.LITERT_COMPILED) == ["target-variable-tensors"]
    assert rules(fused, Target.TFLM) == []


def test_features_that_the_fused_lstm_of_microcontrollers_lacks() -> None:
    cell = lstm_cell(cifg=True, peephole=True, projection=3)
    program = read_model(compile_program(stack([cell], time=3, batch=1)).model)
    details = [rejection.detail for rejection in target_rejections(program, Target.TFLM)]
    assert [detail.rpartition("does not support ")[2] for detail in details] == [
        "coupled gates",
        "peepholes",
        "projection",
    ]


def test_the_fused_rnn_is_unknown_to_microcontrollers() -> None:
    program = read_model(compile_program(stack([rnn_cell()], time=3, batch=1)).model)
    assert rules(program, Target.TFLM) == ["target-op"]


def test_types_at_the_boundary_of_a_page() -> None:
    x = tensor("x", 1, dtype=DType.INT8)
    program = of_ops(TfliteOp("TANH", (x,), (tensor("y", 1, dtype=DType.INT8),)))
    assert rules(program, Target.LITERT_WEB) == ["target-boundary-type"] * 2
    assert rules(program, Target.LITERT_COMPILED) == []


def test_a_loop_whose_result_is_an_output_is_copied_for_the_target_and_refused_in_a_foreign_file() -> None:
    source = stack([gru_cell()], time=20, batch=1)
    foreign = read_model(compile_program(source).model)
    assert "target-direct-output" in rules(foreign, Target.LITERT_COMPILED)
