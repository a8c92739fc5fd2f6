"""Fused recurrences on real interpreters against the float64 evaluator.

Every program runs on every runtime with and without its delegate, three invokes in a row for each size, sizes
growing and shrinking: a state that leaks, a stale read, or an arena that does not grow would all show.
"""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.ir import Activation, Cell, Program, TfliteOp, Value, constant, evaluate
from tests.programs import lstm_cell, program, random_inputs, recurrence, rnn_cell, stack, tensor
from tests.runtimes import INSTALLED, QUICK
from tflite_rnn.runtime import ParityReport, WorkerPool, compare

SIZES = ((5, 2), (1, 1), (20, 7), (0, 3), (3, 9), (20, 7))

CELLS: dict[str, list[Cell]] = {
    "rnn tanh": [rnn_cell()],
    "rnn relu": [rnn_cell(activation=Activation.RELU)],
    "rnn relu6": [rnn_cell(activation=Activation.RELU6)],
    "rnn linear": [rnn_cell(units=2, activation=Activation.LINEAR)],
    "lstm": [lstm_cell()],
    "lstm of one unit": [lstm_cell(units=1, depth=1)],
    "lstm peephole": [lstm_cell(peephole=True)],
    "lstm projection": [lstm_cell(units=6, projection=2)],
    "lstm projection of its own width": [lstm_cell(units=4, projection=4)],
    "lstm cell_clip": [lstm_cell(cell_clip=0.3)],
    "lstm projection clip": [lstm_cell(projection=3, projection_clip=0.1)],
    "lstm relu": [lstm_cell(activation=Activation.RELU)],
    "lstm relu6": [lstm_cell(activation=Activation.RELU6)],
    "lstm cifg": [lstm_cell(cifg=True)],
    "lstm cifg peephole projection": [lstm_cell(cifg=True, peephole=True, projection=2)],
    "lstm with everything": [
        lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2, forget_bias=1.0)
    ],
    "lstm projection bias": [lstm_cell(projection=3, projection_bias=True, projection_clip=0.3)],
    "lstm gate norm": [lstm_cell(gate_norm=True)],
    "lstm gate norm cifg": [lstm_cell(gate_norm=True, cifg=True, peephole=True, projection=2, cell_clip=0.4)],
    "mixed stack": [
        lstm_cell(units=5, peephole=True, projection=3, cell_clip=0.5),
        rnn_cell(units=6, depth=3, activation=Activation.RELU6),
        lstm_cell(units=4, depth=6, cifg=True, activation=Activation.RELU),
        rnn_cell(units=2, depth=4),
    ],
}


def check(source: Program, pool: WorkerPool, *, quick: bool = False, **sizes: int) -> ParityReport:
    rng = np.random.default_rng(7)
    chosen = [(sizes.get("time", time), sizes.get("batch", batch)) for time, batch in SIZES]
    cases = [random_inputs(rng, source, time=time, batch=batch) for time, batch in dict.fromkeys(chosen)]
    report = compare(
        compile_program(source).model,
        lambda inputs: evaluate(source, inputs),
        cases,
        pool=pool,
        runtimes=QUICK if quick else INSTALLED,
    )
    assert report.ok, str(report)
    return report


@pytest.mark.parametrize("given_state", [False, True], ids=["zero", "given"])
@pytest.mark.parametrize("time_major", [True, False], ids=["time", "batch"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_exact(name: str, time_major: bool, given_state: bool, pool: WorkerPool) -> None:
    report = check(stack(CELLS[name], time_major=time_major, given_state=given_state), pool)
    assert {row.runtime for row in report.rows} == set(INSTALLED)


@pytest.mark.parametrize("name", ["lstm with everything", "mixed stack"])
def test_fixed_shapes_are_exact(name: str, pool: WorkerPool) -> None:
    check(stack(CELLS[name], time=6, batch=3), pool, time=6, batch=3)
    check(stack(CELLS[name], batch=3), pool, batch=3)
    check(stack(CELLS[name], time=6), pool, time=6)


def constant_state(size: int, rows: int, seed: int) -> Value:
    data = np.random.default_rng(seed).standard_normal((rows, size)).astype(np.float32)
    return constant(f"learned_{seed}", data)


@pytest.mark.parametrize("batch", [None, 3])
def test_a_learned_constant_state_is_the_start_of_every_invoke(batch: int | None, pool: WorkerPool) -> None:
    x = tensor("x", None, batch, 3)
    rows = 1 if batch is None else batch
    op = recurrence(lstm_cell(), x, initial_state=(constant_state(4, rows, 1), constant_state(4, rows, 2)))
    sizes = {} if batch is None else {"batch": batch}
    check(program([x], [op], [op.output, *op.final_state]), pool, **sizes)


def test_one_state_may_be_given_and_the_other_zero(pool: WorkerPool) -> None:
    x, c = tensor("x", None, None, 3), tensor("c", None, 4)
    op = recurrence(lstm_cell(), x, initial_state=(c, None))
    check(program([x, c], [op], [op.output, *op.final_state]), pool)


def test_a_final_state_is_fresh_for_the_ops_that_read_it(pool: WorkerPool) -> None:
    """Encoder to decoder, with ops before, between and after that a delegate takes away."""
    x, z = tensor("x", None, None, 3), tensor("z", None, None, 2)
    scaled, doubled, result = (
        tensor("scaled", None, None, 3),
        tensor("doubled", None, 4),
        tensor("result", None, 4),
    )
    two = constant("two", np.array(2.0, np.float32))
    half = constant("half", np.array(0.5, np.float32))
    encoder = recurrence(lstm_cell(), scaled, name="encoder")
    decoder = recurrence(
        lstm_cell(depth=2, seed=1), z, name="decoder", initial_state=(doubled, encoder.final_state[1])
    )
    ops = [
        TfliteOp("MUL", (x, half), (scaled,), "MulOptions"),
        encoder,
        TfliteOp("MUL", (encoder.final_state[0], two), (doubled,), "MulOptions"),
        decoder,
        TfliteOp("MUL", (decoder.final_state[0], half), (result,), "MulOptions"),
    ]
    check(program([x, z], ops, [decoder.output, result, encoder.final_state[0]]), pool)


def test_input_that_is_not_a_number_does_not_reach_the_next_invoke(pool: WorkerPool) -> None:
    source = stack([lstm_cell()])
    good = random_inputs(np.random.default_rng(0), source, time=4, batch=2)
    bad = {"x": np.full_like(good["x"], np.nan)}
    model = compile_program(source).model
    for runtime in QUICK:
        with pool.open(runtime, model) as running:
            before = running.run(good)
            assert np.isnan(running.run(bad)["layer_0_outputs"]).all()
            after = running.run(good)
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
