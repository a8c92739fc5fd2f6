"""Scans: a step run over sequences, before its cell is known."""

import numpy as np
import pytest

from converter.errors import InvalidProgramError
from converter.ir import DType, Graph, Program, Scan, Signature, TfliteOp, Value, evaluate, format_program, verify
from tests.programs import tensor


def _counter(*, steps: Value | None = None) -> Program:
    """state += x * scale; the step's output is the new state."""
    x, start, scale = tensor("x", None, None, 2), tensor("start", None, 2), tensor("scale", 2)
    step = tensor("t", dtype=DType.INT32)
    state, row, factor = tensor("state", None, 2), tensor("row", None, 2), tensor("factor", 2)
    scaled, total = tensor("scaled", None, 2), tensor("total", None, 2)
    body = Graph(
        "step",
        (step, state, row, factor),
        (total, total),
        (TfliteOp("MUL", (row, factor), (scaled,)), TfliteOp("ADD", (state, scaled), (total,))),
    )
    sums, final = tensor("sums", None, None, 2), tensor("final", None, 2)
    op = Scan("counter", body, (x,), (start,), (scale,), (sums,), (final,), steps=steps)
    inputs = (x, start, scale) if steps is None else (x, start, scale, steps)
    signature = Signature("serving_default", tuple(value.name for value in inputs), ("sums", "final"))
    return Program((Graph("main", inputs, (sums, final), (op,)),), (signature,))


def _inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((4, 3, 2)),
        "start": rng.standard_normal((3, 2)),
        "scale": rng.standard_normal(2),
    }


def test_a_scan_carries_its_state_and_stacks_its_outputs() -> None:
    given = _inputs()
    results = evaluate(verify(_counter(), after="test"), given)
    sums = given["start"] + np.cumsum(given["x"] * given["scale"], axis=0)
    np.testing.assert_allclose(results["sums"], sums)
    np.testing.assert_allclose(results["final"], sums[-1])


def test_steps_that_are_not_run_leave_zeros_and_the_state() -> None:
    given = _inputs()
    program = _counter(steps=tensor("steps", dtype=DType.INT32))
    results = evaluate(program, {**given, "steps": np.asarray(2, np.int32)})
    assert not results["sums"][2:].any()
    np.testing.assert_array_equal(results["final"], results["sums"][1])


def test_the_inputs_and_outputs_of_a_body_are_known_by_name() -> None:
    (scan,) = _counter().scans()
    step = scan.step
    assert [value.name for value in (step.t, *step.states, *step.slices, *step.invariants)] == [
        "t", "state", "row", "factor",
    ]  # fmt: skip
    assert [value.name for value in (*step.new_states, *step.elements)] == ["total", "total"]
    again = step.body(scan.body.name, scan.body.ops)
    assert (again.inputs, again.outputs, again.ops) == (scan.body.inputs, scan.body.outputs, scan.body.ops)


def test_a_body_with_another_number_of_inputs_is_refused() -> None:
    source = _counter()
    (op,) = source.scans()
    assert isinstance(op, Scan)
    broken = source.map_ops(lambda op: Scan("counter", op.body, (), (), (), op.outputs, op.final_state))
    with pytest.raises(InvalidProgramError, match="its body has 4 inputs, its operands make 1"):
        verify(broken, after="test")


def test_a_scan_prints_its_operands_and_its_step() -> None:
    text = format_program(_counter())
    assert "scan(sequences=(%x), initial_state=(%start), invariants=(%scale))" in text
    assert "MUL(%row, %factor)" in text
