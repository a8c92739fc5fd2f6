"""Loops on real interpreters against the float64 evaluator: every cell that the evaluator knows."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.ir import Activation, Array, Cell, Lowering, MaskedOutput, Program, evaluate
from converter.lowering.blocks import BLOCK, LARGE
from converter.options import ConvertOptions
from tests.programs import (
    gru_cell,
    layer_norm_lstm_cell,
    lstm_cell,
    masked,
    program,
    random_inputs,
    recurrence,
    rnn_cell,
    stack,
    tensor,
)
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

LOOP = ConvertOptions(lowering=Lowering.WHILE)
# Less than a block, one, several, and a rest, and several large ones; growing and shrinking.
SIZES = ((5, 2), (1, 1), (BLOCK, 7), (2 * BLOCK + 1, 2), (3, 9), (2 * BLOCK, 1), (2 * LARGE + 1, 3))

CELLS: dict[str, list[Cell]] = {
    "rnn": [rnn_cell()],
    "lstm": [lstm_cell()],
    "lstm of one unit": [lstm_cell(units=1, depth=1)],
    "lstm with everything": [
        lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2, forget_bias=1.0)
    ],
    "lstm cifg peephole": [lstm_cell(cifg=True, peephole=True)],
    "wide projection": [lstm_cell(units=3, projection=7)],
    "cell_clip of zero": [lstm_cell(cell_clip=0.0)],
    "projection clip of zero": [lstm_cell(projection=2, projection_clip=0.0)],
    "gru": [gru_cell()],
    "gru reset after": [gru_cell(reset_after=True)],
    "gru of other functions": [
        gru_cell(activation=Activation.SOFTSIGN, recurrent_activation=Activation.HARD_SIGMOID, reset_after=True)
    ],
    "layer norm": [layer_norm_lstm_cell()],
    "layer norm with everything": [
        layer_norm_lstm_cell(lstm_cell(cifg=True, peephole=True, projection=2, forget_bias=1.0, cell_clip=0.9))
    ],
    "mixed stack": [lstm_cell(units=5, projection=2), rnn_cell(depth=2), lstm_cell(depth=4, cifg=True)],
}


def check(source: Program, cases: list[dict[str, Array]], pool: WorkerPool) -> None:
    converted = compile_program(source, LOOP)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in converted.report.op_counts
    report = compare(converted.model, lambda inputs: evaluate(source, inputs), cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def cases_of(source: Program, *, time: int | None = None, batch: int | None = None) -> list[dict[str, Array]]:
    rng = np.random.default_rng(3)
    sizes = dict.fromkeys((time or t, batch or b) for t, b in SIZES)
    return [random_inputs(rng, source, time=t, batch=b) for t, b in sizes]


@pytest.mark.parametrize("given_state", [False, True], ids=["zero", "given"])
@pytest.mark.parametrize("time_major", [True, False], ids=["time", "batch"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_exact(name: str, time_major: bool, given_state: bool, pool: WorkerPool) -> None:
    source = stack(CELLS[name], time_major=time_major, given_state=given_state)
    check(source, cases_of(source), pool)


@pytest.mark.parametrize("activation", Activation)
def test_every_activation_is_exact(activation: Activation, pool: WorkerPool) -> None:
    # The unbounded ones are kept from growing over the steps, so that errors stay of order one.
    bound = 1.0
    source = stack(
        [lstm_cell(activation=activation, recurrent_activation=Activation.HARD_SIGMOID, cell_clip=bound)]
    )
    check(source, cases_of(source), pool)


@pytest.mark.parametrize("time", [3, BLOCK, 2 * BLOCK, 2 * BLOCK + 3, 2 * LARGE + 7])
@pytest.mark.parametrize("time_major", [True, False], ids=["time", "batch"])
def test_fixed_shapes_are_exact(time: int, time_major: bool, pool: WorkerPool) -> None:
    source = stack([lstm_cell()], time=time, batch=2, time_major=time_major)
    check(source, cases_of(source, time=time, batch=2), pool)


@pytest.mark.parametrize("masked_output", MaskedOutput)
@pytest.mark.parametrize("time_major", [True, False], ids=["time", "batch"])
@pytest.mark.parametrize("given_state", [False, True], ids=["zero", "given"])
def test_masks_are_exact_wherever_they_are(
    given_state: bool, time_major: bool, masked_output: MaskedOutput, pool: WorkerPool
) -> None:
    cells: list[Cell] = [lstm_cell(projection=3, units=5), gru_cell()]
    source = masked(cells, masked_output=masked_output, time_major=time_major, given_state=given_state)
    rng = np.random.default_rng(6)
    cases = []
    for time, batch in SIZES:
        inputs = random_inputs(
            rng, stack(cells, time_major=time_major, given_state=given_state), time=time, batch=batch
        )
        mask = rng.random(inputs["x"].shape[:2]) < 0.6
        mask[:, -1] = False
        cases.append({**inputs, "mask": mask})
    check(source, cases, pool)


@pytest.mark.parametrize("loop_first", [True, False])
def test_a_recurrence_beside_a_loop_is_exact(loop_first: bool, pool: WorkerPool) -> None:
    """What runs after a dynamic tensor is prepared late: state tensors would keep the size of a batch of one."""
    x = tensor("x", None, None, 3)
    fine, loop = recurrence(lstm_cell(), x, name="fine"), recurrence(gru_cell(), x, name="loop")
    ops = [loop, fine] if loop_first else [fine, loop]
    source = program([x], ops, [fine.output, loop.output, *fine.final_state])
    report = compare(
        compile_program(source).model,
        lambda inputs: evaluate(source, inputs),
        cases_of(source),
        pool=pool,
        runtimes=QUICK,
    )
    assert report.ok, str(report)


def test_only_the_final_state_costs_one_loop(pool: WorkerPool) -> None:
    x = tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x)
    source = program([x], [op], [*op.final_state])
    assert compile_program(source, LOOP).report.op_counts["WHILE"] == 1
    check(source, [*cases_of(source), {"x": np.zeros((0, 2, 3), np.float32)}], pool)
