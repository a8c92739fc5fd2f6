"""Loops of whose outputs only the last is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.ir import DType, Program, Recurrence, TfliteOp, Value, constant, evaluate
from tests.programs import gru_cell, lstm_cell, program, random_inputs, recurrence, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare


def sliced(op: Recurrence, *index: int) -> tuple[TfliteOp, Value]:
    """``output[index]`` as TFLiteConverter writes it: full slices before, one number last."""
    shrunk = len(index) - 1
    options = {"beginMask": (1 << shrunk) - 1, "endMask": (1 << shrunk) - 1, "shrinkAxisMask": 1 << shrunk}
    shape = list(op.output.type.shape or ())
    del shape[shrunk]
    last = tensor("last", *shape)
    numbers = [np.array(numbers, np.int32) for numbers in (index, [0] * len(index), [1] * len(index))]
    operands = (op.output, *(constant(f"last/{i}", array) for i, array in enumerate(numbers)))
    return TfliteOp("STRIDED_SLICE", operands, (last,), "StridedSliceOptions", options), last


def last_of(cell: object, *index: int, lengths: bool = False, also: bool = False) -> Program:
    time_major = len(index) == 1
    x = tensor("x", None, None, 3)
    ends = tensor("lengths", None, dtype=DType.INT32) if lengths else None
    op = recurrence(cell, x, time_major=time_major, sequence_length=ends)
    reader, last = sliced(op, *index)
    source = program([x] if ends is None else [x, ends], [op], [last, *([op.output] if also else [])])
    return replace(source, graphs=(replace(source.main, ops=(op, reader)),))


def collects(converted: Converted) -> bool:
    return "DYNAMIC_UPDATE_SLICE" in converted.report.op_counts


@pytest.mark.parametrize("index", [(-1,), (0, -1)], ids=["time-major", "batch-major"])
def test_the_last_output_alone_is_the_final_state(index: tuple[int, ...], pool: WorkerPool) -> None:
    source = last_of(gru_cell(), *index)
    result = compile_program(source)
    assert not collects(result)
    cases = [
        random_inputs(np.random.default_rng(0), source, time=time, batch=batch)
        for time, batch in ((4, 2), (1, 1), (45, 3))
    ]
    report = compare(result.model, lambda given: evaluate(source, given), cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(last_of(gru_cell(), -2), id="another step"),
        pytest.param(last_of(gru_cell(), 0), id="the first step"),
        pytest.param(last_of(gru_cell(), -1, lengths=True), id="with lengths the last output may be zero"),
        pytest.param(last_of(gru_cell(), -1, also=True), id="all outputs are read, too"),
    ],
)
def test_outputs_are_collected_for_anything_else(source: Program) -> None:
    assert collects(compile_program(source))


def test_a_fused_op_is_sliced() -> None:
    slices = compile_program(last_of(lstm_cell(), -1)).report.op_counts["STRIDED_SLICE"]
    assert slices == 2  # a row of the batch for the zero state, and the last output
