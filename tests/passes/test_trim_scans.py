"""trim-scans: a scan without what nobody reads means the same."""

from __future__ import annotations

import numpy as np

from converter.ir import DType, Graph, Program, Scan, Signature, TfliteOp, Value, evaluate
from converter.passes.pipeline import TRIM_SCANS, run_passes
from converter.passes.trim_scans import scans_trimmed
from tests.programs import tensor

X, Y, SCALE = tensor("x", 4, 3, 2), tensor("y", 4, 3, 2), tensor("scale", 2)
STARTS = tuple(tensor(f"start_{name}", 3, 2) for name in "ab")


def _two_sums(*outputs: str, linked: bool = False) -> Program:
    """a += x and b += y * scale, both collected; with ``linked``, a += b."""
    slices = tensor("x_t", 3, 2), tensor("y_t", 3, 2)
    states = tensor("a", 3, 2), tensor("b", 3, 2)
    factor, scaled = tensor("factor", 2), tensor("scaled", 3, 2)
    news = tensor("new_a", 3, 2), tensor("new_b", 3, 2)
    body = Graph(
        "step",
        (tensor("t", dtype=DType.INT32), *states, *slices, factor),
        (*news, *news),
        (
            TfliteOp("ADD", (states[0], states[1] if linked else slices[0]), (news[0],)),
            TfliteOp("MUL", (slices[1], factor), (scaled,)),
            TfliteOp("ADD", (states[1], scaled), (news[1],)),
        ),
    )
    results = {name: tensor(name, 4, 3, 2) for name in ("all_a", "all_b")}
    finals = {name: tensor(name, 3, 2) for name in ("last_a", "last_b")}
    scan = Scan("sums", body, (X, Y), STARTS, (SCALE,), tuple(results.values()), tuple(finals.values()))
    inputs = (X, Y, *STARTS, SCALE)
    graph = Graph("main", inputs, tuple((results | finals)[name] for name in outputs), (scan,))
    return Program((graph,), (Signature("serving_default", _names(inputs), outputs),))


def _names(values: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(value.name for value in values)


def _trimmed(before: Program) -> Scan:
    """The scan after the pass, which kept the meaning of the program."""
    after = run_passes(before, (TRIM_SCANS,))
    rng = np.random.default_rng(0)
    given = {value.name: rng.standard_normal(value.type.shape or ()) for value in before.main.inputs}
    expected, got = evaluate(before, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)
    (scan,) = after.scans()
    return scan


def test_a_state_that_nobody_reads_goes_with_its_sequence_and_its_invariant() -> None:
    scan = _trimmed(_two_sums("last_a"))
    assert (_names(scan.sequences), scan.invariants) == (("x",), ())
    assert (_names(scan.final_state), scan.outputs) == (("last_a",), ())
    assert [op.name for op in scan.body.ops if isinstance(op, TfliteOp)] == ["new_a"]


def test_the_first_sequence_stays_where_it_gives_the_number_of_steps() -> None:
    scan = _trimmed(_two_sums("last_b"))
    assert (_names(scan.sequences), _names(scan.final_state)) == (("x", "y"), ("last_b",))


def test_a_state_of_which_another_is_computed_stays() -> None:
    scan = _trimmed(_two_sums("last_a", linked=True))
    assert (_names(scan.final_state), scan.outputs) == (("last_a", "last_b"), ())


def test_an_output_of_a_state_keeps_the_state() -> None:
    scan = _trimmed(_two_sums("all_a"))
    assert (_names(scan.final_state), _names(scan.outputs)) == (("last_a",), ("all_a",))


def test_a_scan_whose_results_are_all_read_stays_as_it_is() -> None:
    before = _two_sums("all_a", "all_b", "last_a", "last_b")
    scan, (whole,) = _trimmed(before), before.scans()
    assert (scan.results, scan.body.inputs, scan.body.ops) == (whole.results, whole.body.inputs, whole.body.ops)


def test_the_promise_fails_where_something_is_left_over() -> None:
    assert not scans_trimmed(_two_sums("last_a"))
    assert not scans_trimmed(_two_sums("all_a", "last_b"))
    assert scans_trimmed(_two_sums("all_a", "all_b"))


def test_scans_before_a_scan_lose_what_it_no_longer_reads() -> None:
    """The first scan makes y, which only the unread sum of the second one reads."""
    second = _two_sums("last_a")
    row, doubled = tensor("row", 3, 2), tensor("doubled", 3, 2)
    double = TfliteOp("ADD", (row, row), (doubled,))
    body = Graph("step", (tensor("t", dtype=DType.INT32), row), (doubled,), (double,))
    first = Scan("doubles", body, (X,), (), (), (Y,), ())
    main = Graph("main", (X, *STARTS, SCALE), second.main.outputs, (first, *second.main.ops))
    before = Program((main,), (Signature("serving_default", _names(main.inputs), ("last_a",)),))
    assert _trimmed(before).name == "sums"
