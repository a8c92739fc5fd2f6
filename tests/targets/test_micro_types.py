"""The element types that the kernels of microcontrollers lack, against the kernels: one op alone on each type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from converter.flatbuffer import build_model
from converter.ir import DType, Graph, Program, Signature, TensorType, Value, constant, evaluate, new_op
from converter.ir.evaluate import evaluate_graph
from converter.targets import LIMITS, Target
from tests.ir.test_shapes import CASES, Case, Tensor
from tests.runtimes import skip_if_missing
from tflite_rnn.runtime import MICRO, TFLITE_RUNTIME, Runtime, RuntimeFailure, WorkerPool

CLASSIC, MICROCONTROLLER = Runtime(TFLITE_RUNTIME, delegate=False), Runtime(MICRO)
LACKS = LIMITS[Target.TFLM].missing_types
TYPES = (DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL)
COMPARES = frozenset({"EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"})
FIXED = frozenset(
    {"CAST", "DEQUANTIZE", "FILL", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "REDUCE_ANY", "SHAPE"}
)
"""Ops whose operands or results have types of their own."""
NUMERIC = frozenset({"NEG", "SQUARED_DIFFERENCE", "SUB"})
SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6}


def program_of(case: Case, dtype: DType) -> Program:
    """Return the op of a case over operands of one element type; its conditions stay flags."""
    inputs, operands = [], []
    for index, operand in enumerate(case.operands):
        if isinstance(operand, Tensor):
            kept = operand.dtype is DType.BOOL
            value = Value(f"x{index}", TensorType(DType.BOOL if kept else dtype, operand.shape(SIZES)))
            inputs.append(value)
        else:
            value = constant(f"n{index}", np.asarray(operand(SIZES), np.int32))
        operands.append(value)
    made = DType.BOOL if case.builtin in COMPARES else dtype
    results = tuple(Value(f"y{index}", TensorType(made, None)) for index in range(case.results))
    op = new_op(case.builtin, operands, results, case.options)
    arrays = evaluate_graph(Graph("op", tuple(inputs), results, (op,)), drawn(inputs))
    results = tuple(
        Value(result.name, TensorType(made, array.shape)) for result, array in zip(results, arrays, strict=True)
    )
    op = new_op(case.builtin, operands, results, case.options)
    names = tuple(result.name for result in results)
    signature = Signature("serving_default", tuple(value.name for value in inputs), names)
    return Program((Graph("main", tuple(inputs), results, (op,)),), (signature,))


def drawn(inputs: Sequence[Value]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 9, value.type.shape or ()).astype(value.type.dtype.numpy) for value in inputs]


def runs(pool: WorkerPool, runtime: Runtime, program: Program) -> bool:
    """Tell whether a runtime gives what the evaluator gives."""
    inputs = program.main.inputs
    given = {value.name: array for value, array in zip(inputs, drawn(inputs), strict=True)}
    try:
        with pool.open(runtime, build_model(program)) as running:
            found = running.run(given)
    except RuntimeFailure:
        return False
    expected = evaluate(program, given)
    return all(np.array_equal(found[name], array) for name, array in expected.items())


def cases() -> Iterator[Case]:
    """Yield a case per builtin that microcontrollers have, if it can be made of any type."""
    seen = set()
    for case in CASES:
        free = case.builtin not in FIXED
        whole = case.builtin != "STRIDED_SLICE" or len(case.operands[1](SIZES)) == 3  # type: ignore[operator]
        if free and whole and case.builtin in LIMITS[Target.TFLM].versions and case.builtin not in seen:
            seen.add(case.builtin)
            yield case


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_the_table_says_on_which_types_an_op_runs(case: Case, pool: WorkerPool) -> None:
    skip_if_missing(MICRO)
    for dtype in TYPES[: 3 if case.builtin in NUMERIC else 4]:
        program = program_of(case, dtype)
        if runs(pool, CLASSIC, program):
            lacks = dtype in LACKS.get(case.builtin, ())
            assert runs(pool, MICROCONTROLLER, program) is not lacks, dtype
