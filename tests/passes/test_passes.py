"""Every pass keeps the meaning of a program, does what it promises, and leaves alone what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.errors import InvalidProgramError
from converter.ir import (
    DType,
    LstmCell,
    Op,
    Program,
    Recurrence,
    TensorType,
    TfliteOp,
    Value,
    constant,
    evaluate,
    format_program,
)
from converter.passes.pipeline import (
    CANONICALIZE,
    DEAD_CODE,
    FOLD_FORGET_BIAS,
    RESOLVE_STATE,
    Pass,
    run_passes,
)
from tests.programs import lstm_cell, program, random_inputs, recurrence, rnn_cell, stack, tensor


def transformed(step: Pass, before: Program) -> Program:
    """Run one pass, check that the program means the same and that the pass's promise holds."""
    after = run_passes(before, (step,))
    inputs = random_inputs(np.random.default_rng(0), before, time=5, batch=2)
    expected, got = evaluate(before, inputs), evaluate(after, inputs)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-7)
    return after


def with_state(*makers: Op, state: tuple[Value | None, ...]) -> Program:
    x = next(value for op in makers for value in op.operands if value is not None) if makers else None
    x = x or tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x, initial_state=state)
    return program([x], [*makers, op], [op.output, *op.final_state])


def the_state(source: Program) -> tuple[Value | None, ...]:
    return next(source.recurrences()).initial_state


# --- fold-forget-bias ------------------------------------------------------------------------------------------


def test_fold_forget_bias_moves_the_scalar_into_the_bias() -> None:
    before = stack([lstm_cell(forget_bias=1.0), lstm_cell(depth=4, forget_bias=-0.5)])
    after = transformed(FOLD_FORGET_BIAS, before)
    for old, new in zip(before.recurrences(), after.recurrences(), strict=True):
        assert isinstance(old.cell, LstmCell)
        assert isinstance(new.cell, LstmCell)
        np.testing.assert_allclose(new.cell.forget_gate.bias - old.cell.forget_gate.bias, old.cell.forget_bias)


def test_fold_forget_bias_leaves_cells_without_one_alone() -> None:
    before = stack([lstm_cell(), rnn_cell(depth=4)])
    after = transformed(FOLD_FORGET_BIAS, before)
    assert [op.cell for op in after.recurrences()] == [op.cell for op in before.recurrences()]


# --- resolve-state ---------------------------------------------------------------------------------------------


def test_resolve_state_recognises_constant_zeros() -> None:
    zero = constant("zero", np.zeros((2, 4), np.float32))
    assert the_state(transformed(RESOLVE_STATE, with_state(state=(zero, zero)))) == (None, None)


def test_resolve_state_recognises_zeros_of_the_batch_of_x() -> None:
    x = tensor("x", None, None, 3)
    shape = TfliteOp("SHAPE", (x,), (tensor("shape", 3, dtype=DType.INT32),))
    one, two = (constant(name, np.array([value], np.int32)) for name, value in (("one", 1), ("two", 2)))
    batch = TfliteOp(
        "STRIDED_SLICE",
        (shape.results[0], one, two, one),
        (tensor("batch", dtype=DType.INT32),),
        "StridedSliceOptions",
        {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 1},
    )
    units = constant("units", np.array(4, np.int32))
    dims = TfliteOp(
        "PACK", (batch.results[0], units), (tensor("dims", 2, dtype=DType.INT32),), "PackOptions", {"axis": 0}
    )
    zero = constant("zero", np.array(0, np.float32))
    fill = TfliteOp("FILL", (dims.results[0], zero), (tensor("filled", None, 4),))
    before = with_state(shape, batch, dims, fill, state=(fill.results[0], fill.results[0]))
    after = transformed(RESOLVE_STATE, before)
    assert the_state(after) == (None, None)
    assert [op.name for op in run_passes(after, (DEAD_CODE,)).ops()] == ["rnn"]


def test_resolve_state_keeps_a_state_that_is_not_zero() -> None:
    learned = constant("learned", np.full((2, 4), 0.5, np.float32))
    before = with_state(state=(learned, None))
    assert the_state(transformed(RESOLVE_STATE, before)) == (learned, None)


def test_resolve_state_computes_a_state_that_depends_on_constants_alone() -> None:
    x = tensor("x", None, None, 3)
    dims = constant("dims", np.array([2, 4], np.int32))
    fill = TfliteOp("FILL", (dims, constant("one", np.array(1, np.float32))), (tensor("filled", 2, 4),))
    op = recurrence(lstm_cell(), x, initial_state=(fill.results[0], None))
    before = program([x], [fill, op], [op.output])
    filled, zero = the_state(transformed(RESOLVE_STATE, before))
    assert filled is not None
    assert filled.data is not None
    np.testing.assert_array_equal(filled.data, np.ones((2, 4), np.float32))
    assert zero is None


def test_resolve_state_finds_a_row_that_is_added_to_zeros() -> None:
    x = tensor("x", None, None, 3)
    zeros, state, row = (
        tensor("zeros", None, 1),
        tensor("state", None, 4),
        constant("row", np.ones((1, 4), np.float32)),
    )
    rows = tensor("rows", None, 1)
    ops = [TfliteOp("ZEROS_LIKE", (rows,), (zeros,)), TfliteOp("ADD", (zeros, row), (state,), "AddOptions")]
    op = recurrence(lstm_cell(), x, initial_state=(state, None))
    (found, _) = the_state(transformed(RESOLVE_STATE, program([x, rows], [*ops, op], [op.output])))
    assert found is not None
    assert found.data is not None
    np.testing.assert_array_equal(found.data, np.ones((1, 4), np.float32))


def test_resolve_state_keeps_a_row_that_is_added_to_zeros_and_activated() -> None:
    x = tensor("x", None, None, 3)
    zeros, state = tensor("zeros", None, 1), tensor("state", None, 4)
    rows, row = tensor("rows", None, 1), constant("row", -np.ones((1, 4), np.float32))
    options = {"fusedActivationFunction": 1}
    ops = [
        TfliteOp("ZEROS_LIKE", (rows,), (zeros,)),
        TfliteOp("ADD", (zeros, row), (state,), "AddOptions", options),
    ]
    op = recurrence(lstm_cell(), x, initial_state=(state, None))
    before = program([x, rows], [*ops, op], [op.output])
    assert the_state(transformed(RESOLVE_STATE, before)) == (state, None)


def test_resolve_state_keeps_states_that_callers_give() -> None:
    before = stack([lstm_cell()], given_state=True)
    assert the_state(transformed(RESOLVE_STATE, before)) == the_state(before)


# --- dead-code -------------------------------------------------------------------------------------------------


def test_dead_code_drops_what_nobody_reads() -> None:
    x = tensor("x", None, None, 3)
    read, unread = recurrence(lstm_cell(), x, name="read"), recurrence(rnn_cell(), x, name="unread")
    after = transformed(DEAD_CODE, program([x], [read, unread], [read.output]))
    assert [op.name for op in after.ops()] == ["read"]


def test_dead_code_keeps_a_recurrence_of_which_only_the_state_is_read() -> None:
    x = tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x)
    before = program([x], [op], [op.final_state[0]])
    assert format_program(transformed(DEAD_CODE, before)) == format_program(before)


def test_dead_code_keeps_ops_with_effects() -> None:
    x = tensor("x", None, None, 3)
    op = recurrence(lstm_cell(), x)
    handle = Value("handle", TensorType(DType.RESOURCE, ()))
    effects = [TfliteOp("VAR_HANDLE", (), (handle,)), TfliteOp("ASSIGN_VARIABLE", (handle, x), ())]
    before = program([x], [*effects, op], [op.output])
    assert len(list(run_passes(before, (DEAD_CODE,)).ops())) == 3


# --- the pipeline ----------------------------------------------------------------------------------------------


def test_every_pass_of_the_pipeline_has_a_kebab_case_name() -> None:
    assert all(step.name == step.name.lower().replace("_", "-") for step in CANONICALIZE)


def test_a_pass_that_breaks_its_promise_is_caught() -> None:
    lazy = Pass("lazy", lambda source: source, lambda _: False)
    with pytest.raises(InvalidProgramError, match="after lazy, the program does not have the property"):
        run_passes(stack([rnn_cell()]), (lazy,))


def test_a_pass_that_breaks_the_program_is_caught() -> None:
    def tear(source: Program) -> Program:
        return source.map_ops(lambda op: replace(op, initial_state=()) if isinstance(op, Recurrence) else op)

    with pytest.raises(InvalidProgramError, match="after tear"):
        run_passes(stack([rnn_cell()]), (Pass("tear", tear, lambda _: True),))
