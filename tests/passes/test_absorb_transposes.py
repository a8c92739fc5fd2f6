"""absorb-transposes: recurrences run over sequences as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converter.emission.emitter import Emitter
from converter.ir import (
    Graph,
    Names,
    Op,
    Program,
    Recurrence,
    Signature,
    TfliteOp,
    Value,
    constant,
    evaluate,
    verify,
)
from converter.passes.absorb_transposes import absorb_transposes
from tests.passes.settled import assert_settled
from tests.programs import gru_cell, lstm_cell, recurrence, tensor


def _program(ops: Sequence[Op], x: Value, outputs: Sequence[Value]) -> Program:
    names = tuple(f"out{index}" for index in range(len(outputs)))
    return Program(
        (Graph("main", (x,), tuple(outputs), tuple(ops)),), (Signature("serving_default", ("x",), names),)
    )


def _absorbed(program: Program) -> Program:
    after = verify(absorb_transposes(verify(program, after="test")), after="absorb-transposes")
    assert_settled(absorb_transposes, after)
    given = {"x": np.random.default_rng(0).standard_normal((2, 5, 3))}
    expected, seen = evaluate(program, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_allclose(seen[name], array)
    return after


def _kinds(program: Program) -> list[str]:
    return [op.kind if isinstance(op, TfliteOp) else type(op).__name__ for op in program.main.ops]


def test_a_stack_between_transposes_becomes_batch_major() -> None:
    e, x = Emitter("m", Names({"x"})), tensor("x", None, None, 3)
    first = recurrence(lstm_cell(), e.transpose(x, "in"), name="first")
    second = recurrence(gru_cell(depth=4), first.output, name="second")
    e.ops += [first, second]
    y = e.transpose(second.output, "y")
    after = _absorbed(_program(e.ops, x, [y, *first.final_state]))
    assert _kinds(after) == ["Recurrence", "Recurrence"]
    assert not any(op.time_major for op in after.recurrences())


def test_other_readers_of_the_output_see_what_they_saw() -> None:
    e, x = Emitter("m", Names({"x"})), tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), e.transpose(x, "in"))
    e.ops.append(op)
    y, again = e.transpose(op.output, "y"), e.transpose(op.output, "again")
    flat = e.unary("TANH", again, "tanh")
    after = _absorbed(_program(e.ops, x, [y, flat, op.output]))
    assert _kinds(after).count("TRANSPOSE") == 1


def test_what_follows_a_recurrence_moves_before_the_transpose() -> None:
    e, x = Emitter("m", Names({"x"})), tensor("x", None, None, 3)
    turned = e.transpose(x, "in")
    op = recurrence(lstm_cell(units=3), turned)
    e.ops.append(op)
    residual = e.add(op.output, turned, "residual")
    dense = e.fully_connected(residual, np.ones((2, 3)), np.ones(2), "dense")
    y = e.transpose(dense, "y")
    after = _absorbed(_program(e.ops, x, [y]))
    assert _kinds(after) == ["Recurrence", "ADD", "FULLY_CONNECTED"]


def test_a_mask_that_is_time_major_keeps_its_recurrence_time_major() -> None:
    e, x = Emitter("m", Names({"x", "mask"})), tensor("x", 2, 5, 3)
    mask = constant("mask", np.array([[True, False], [True, True], [False, True], [True, True], [False, False]]))
    op = replace(recurrence(gru_cell(), e.transpose(x, "in")), mask=mask)
    after = _absorbed(_program([*e.ops, op], x, [op.output]))
    assert all(op.time_major for op in after.recurrences())


def test_time_major_sequences_stay() -> None:
    x = tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x)
    program = _program([op], x, [op.output])
    (kept,) = absorb_transposes(program).main.ops
    assert isinstance(kept, Recurrence)
    assert kept.time_major
