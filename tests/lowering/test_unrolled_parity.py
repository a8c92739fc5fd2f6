"""Steps written out one after another, on real interpreters against the float64 evaluator."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.flatbuffer import read_model
from converter.ir import DType, Lowering, Program, TfliteOp, evaluate
from converter.lowering.unrolled import MOST_OPERANDS
from converter.options import ConvertOptions
from tests.lowering.test_loop_parity import CELLS
from tests.programs import lstm_cell, program, random_inputs, recurrence, stack, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

UNROLLED = ConvertOptions(lowering=Lowering.UNROLLED)


def check(source: Program, cases: list[dict[str, np.ndarray]], pool: WorkerPool) -> None:
    converted = compile_program(source, UNROLLED)
    assert "WHILE" not in converted.report.op_counts
    assert {record.lowering for record in converted.report.lowerings} == {"unrolled"}

    report = compare(converted.model, lambda inputs: evaluate(source, inputs), cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_exact(name: str, pool: WorkerPool) -> None:
    rng = np.random.default_rng(0)
    for time, time_major, given in ((MOST_OPERANDS + 1, True, False), (3, False, True)):
        source = stack(CELLS[name], time=time, batch=None, time_major=time_major, given_state=given)
        check(source, [random_inputs(rng, source, time=time, batch=batch) for batch in (2, 7, 1)], pool)


@pytest.mark.parametrize("time_major", [True, False])
def test_rows_end_at_their_lengths(time_major: bool, pool: WorkerPool) -> None:
    x = tensor("x", *((12, 4) if time_major else (4, 12)), 3)
    lengths = tensor("lengths", 4, dtype=DType.INT32)
    op = recurrence(lstm_cell(), x, time_major=time_major, sequence_length=lengths)
    source = program([x, lengths], [op], [op.output, *op.final_state])
    rng = np.random.default_rng(0)
    given = rng.standard_normal(x.type.shape or ()).astype(np.float32)
    cases = [{"x": given, "lengths": np.array(ends, np.int32)} for ends in ([0, 5, 12, 13], [3, 1, 0, 2])]
    check(source, cases, pool)


def test_weights_are_in_the_file_once_and_no_op_joins_too_many() -> None:
    main, *others = read_model(compile_program(stack([lstm_cell()], time=120, batch=2), UNROLLED).model).graphs
    assert not others
    dense = [op for op in main.ops if isinstance(op, TfliteOp) and op.builtin == "FULLY_CONNECTED"]
    assert len(dense) == 121
    assert len({op.operands[1] for op in dense}) == 2
    joined = [op for op in main.ops if isinstance(op, TfliteOp) and op.builtin == "CONCATENATION"]
    assert max(len(op.operands) for op in joined) == MOST_OPERANDS
