"""The comparison, with models that are Python functions: no worker process is started here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tflite_rnn.runtime import (
    RUNTIMES,
    CheckError,
    ParityReport,
    ParityRow,
    Runtime,
    RuntimeFailure,
    WorkerCrashed,
    compare,
    parity,
)
from tflite_rnn.runtime.difference import difference

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]
Model = Callable[[Mapping[str, Array]], Outputs]

ONE, OTHER = RUNTIMES[:2]
CASES = [{"x": np.full((1, size), 0.5, np.float32)} for size in (1, 4)]


def _double(inputs: Mapping[str, Array]) -> Outputs:
    return {"y": inputs["x"] * 2}


@dataclass
class _Running:
    run: Model

    def rewind(self) -> None:
        """Keeps nothing."""


@dataclass
class _Runner:
    """Runs Python functions; `opened` records what was asked for."""

    models: Mapping[Runtime, Model]
    opened: list[tuple[Runtime, bytes]] = field(default_factory=list)
    renewed: list[Runtime] = field(default_factory=list)

    def renew(self, runtime: Runtime) -> None:
        self.renewed.append(runtime)

    @contextmanager
    def open(self, runtime: Runtime, model: bytes) -> Iterator[_Running]:
        self.opened.append((runtime, model))
        if runtime not in self.models:
            raise RuntimeFailure(f"{runtime}: it refuses the model")
        yield _Running(self.models[runtime])


class _Leaking:
    """A model that adds what earlier invokes left."""

    def __init__(self, leak: float) -> None:
        self.leak = leak
        self.state = 0.0

    def __call__(self, inputs: Mapping[str, Array]) -> Outputs:
        answer = {"y": inputs["x"] * 2 + np.float32(self.state)}
        self.state += self.leak
        return answer


def _compare(
    model: Model, reference: Model = _double, *, cases: Sequence[Mapping[str, Array]] = CASES, invokes: int = 3
) -> ParityReport:
    return compare(b"model", reference, cases, runtimes=[ONE], invokes=invokes, pool=_Runner({ONE: model}))


def _problem(report: ParityReport) -> str:
    (row,) = report.failures
    assert not report.ok
    return row.problem or ""


def test_equal_outputs_are_ok_on_every_runtime() -> None:
    runner = _Runner({ONE: _double, OTHER: _double})
    report = compare(b"model", _double, CASES, runtimes=[ONE, OTHER], pool=runner)
    assert report.ok
    assert runner.opened == [(ONE, b"model"), (OTHER, b"model")]
    assert [(row.runtime, row.output, row.cases, row.repeatable) for row in report.rows] == [
        (ONE, "y", 2, True),
        (OTHER, "y", 2, True),
    ]


def test_the_reference_is_computed_once_per_case() -> None:
    seen = []

    def reference(inputs: Mapping[str, Array]) -> Outputs:
        seen.append(inputs["x"].shape)
        return _double(inputs)

    compare(b"", reference, CASES, runtimes=[ONE, OTHER], pool=_Runner({ONE: _double, OTHER: _double}))
    assert seen == [(1, 1), (1, 4)]


def test_a_reference_that_works_in_place_does_not_change_the_cases() -> None:
    def reference(inputs: Mapping[str, Array]) -> Outputs:
        inputs["x"][...] *= 2
        return {"y": inputs["x"]}

    assert _compare(_double, reference).ok
    np.testing.assert_array_equal(CASES[0]["x"], [[0.5]])


def test_every_case_is_invoked_as_often_as_asked_in_order() -> None:
    seen = []

    def model(inputs: Mapping[str, Array]) -> Outputs:
        seen.append(inputs["x"].shape)
        return _double(inputs)

    assert _compare(model, invokes=2).ok
    assert seen == [(1, 1), (1, 1), (1, 4), (1, 4)]


def test_leaking_state_is_wrong_from_the_second_invoke_and_not_repeatable() -> None:
    report = _compare(_Leaking(0.25), cases=CASES[:1])
    (row,) = report.rows
    assert row.repeatable is False
    assert row.max_abs_error == pytest.approx(0.5)
    assert row.max_rel_error == pytest.approx(0.5)
    problem = _problem(report)
    assert "invoke 1:" not in problem
    assert "invoke 2: 1 of 1 elements differ" in problem
    assert "invoke 2 does not repeat invoke 1" in problem


def test_a_leak_within_tolerance_is_still_a_failure() -> None:
    report = _compare(_Leaking(1e-6), cases=CASES[:1])
    assert "does not repeat" in _problem(report)
    assert report.rows[0].repeatable is False


@pytest.mark.parametrize("wrong", [2, 3, 5, 6])
def test_one_invoke_that_does_not_repeat_is_enough_in_any_case(wrong: int) -> None:
    invokes = []

    def model(inputs: Mapping[str, Array]) -> Outputs:
        invokes.append(inputs)
        return {"y": inputs["x"] * 2 + np.float32(1e-6 * (len(invokes) == wrong))}

    report = _compare(model)
    assert report.rows[0].repeatable is False
    assert f"invoke {(wrong - 1) % 3 + 1} does not repeat" in _problem(report)
    assert report.rows[0].worst_case == f"x {[1, 1 if wrong <= 3 else 4]}"


def test_one_invoke_says_nothing_about_repeating() -> None:
    report = _compare(_Leaking(0.25), cases=CASES[:1], invokes=1)
    assert report.ok
    assert report.rows[0].repeatable is None


def test_the_worst_case_is_named_by_its_shapes() -> None:
    def model(inputs: Mapping[str, Array]) -> Outputs:
        return {"y": inputs["x"] * 2 + np.float32(inputs["x"].shape[1] > 1)}

    report = _compare(model)
    assert report.rows[0].worst_case == "x [1, 4]"
    assert report.rows[0].max_abs_error == pytest.approx(1.0)
    assert _problem(report).startswith(
        "with x [1, 4]: invoke 1: 4 of 4 elements differ, most at [0, 0]: 2, the reference has 1"
    )


def test_each_output_has_its_own_row() -> None:
    def reference(inputs: Mapping[str, Array]) -> Outputs:
        return {"y": inputs["x"], "z": inputs["x"]}

    report = _compare(lambda inputs: {"y": inputs["x"], "z": inputs["x"] + 1}, reference)
    assert [(row.output, row.ok) for row in report.rows] == [("y", True), ("z", False)]


def test_missing_and_unexpected_outputs_are_failures() -> None:
    report = _compare(lambda inputs: {"z": inputs["x"]})
    assert {row.output: row.problem for row in report.failures} == {
        "y": "with x [1, 1]: missing: the model's outputs are ['z']",
        "z": "with x [1, 1]: unexpected: the reference's outputs are ['y']",
    }


def test_a_runtime_that_refuses_the_model_is_a_row_and_the_others_go_on() -> None:
    report = compare(b"", _double, CASES, runtimes=[ONE, OTHER], pool=_Runner({OTHER: _double}))
    assert [(row.runtime, row.output, row.ok) for row in report.rows] == [(ONE, None, False), (OTHER, "y", True)]
    assert "refuses the model" in _problem(report)


@pytest.mark.parametrize("error", [WorkerCrashed("killed by SIGSEGV"), RuntimeFailure("the kernel says no")])
def test_an_event_in_a_later_case_is_a_row_beside_what_was_measured(error: Exception) -> None:
    def model(inputs: Mapping[str, Array]) -> Outputs:
        if inputs["x"].shape == (1, 4):
            raise error
        return _double(inputs)

    report = _compare(model)
    assert [(row.output, row.cases, row.ok) for row in report.rows] == [("y", 1, True), (None, 0, False)]
    assert report.rows[1].worst_case == "x [1, 4]"
    assert _problem(report) == str(error)


def test_a_runtime_that_answered_wrongly_gets_a_new_process() -> None:
    runner = _Runner({ONE: _double, OTHER: lambda inputs: {"y": 3 * inputs["x"]}})
    compare(b"", _double, CASES, runtimes=[ONE, OTHER], pool=runner)
    assert runner.renewed == [OTHER]


def test_an_error_of_the_reference_is_raised() -> None:
    def reference(inputs: Mapping[str, Array]) -> Outputs:
        raise KeyError("a bug in the reference")

    with pytest.raises(KeyError, match="a bug"):
        _compare(_double, reference)


def test_nothing_to_compare_is_an_error_and_never_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckError, match="no runtime"):
        compare(b"", _double, CASES, runtimes=[])
    with pytest.raises(CheckError, match="no case"):
        _compare(_double, cases=[])
    with pytest.raises(CheckError, match="no output"):
        _compare(_double, lambda _: {})
    with pytest.raises(CheckError, match="got 0"):
        _compare(_double, invokes=0)
    monkeypatch.setattr(parity, "installed_runtimes", dict)
    with pytest.raises(CheckError, match=r"install at least one of tflite-runtime, ai-edge-litert, tf\.lite"):
        compare(b"", _double, CASES)
    assert not ParityReport((), 3, 1e-5, 1e-5).ok


def test_outputs_without_any_element_are_not_ok() -> None:
    assert "nothing was compared" in _problem(_compare(_double, cases=[{"x": np.zeros((0, 3), np.float32)}]))
    assert _compare(_double, cases=[{"x": np.zeros((0, 3), np.float32)}, CASES[0]]).ok


def test_progress_counts_the_cases_of_every_runtime() -> None:
    steps: list[tuple[Runtime, int, int]] = []
    compare(
        b"",
        _double,
        CASES,
        runtimes=[ONE, OTHER],
        pool=_Runner({ONE: _double, OTHER: _double}),
        progress=lambda runtime, done, total: steps.append((runtime, done, total)),
    )
    assert steps == [(ONE, 1, 2), (ONE, 2, 2), (OTHER, 1, 2), (OTHER, 2, 2)]


def test_the_report_is_an_aligned_table_that_ends_in_a_verdict() -> None:
    runner = _Runner({ONE: _Leaking(0.25)})
    lines = str(compare(b"", _double, CASES, runtimes=[ONE, OTHER], pool=runner)).splitlines()
    heading, leaking, refused = lines[:3]
    assert heading.split("  ")[0] == "runtime"
    for row, cell in ((leaking, "NO"), (refused, "-")):
        assert row[heading.index("repeatable") :].split()[0] == cell
        assert row[heading.index("result") :].split()[0] == "FAIL"
    assert lines[3].startswith("tflite-runtime, y: with x")
    assert lines[4].startswith("tflite-runtime, no delegate: it refuses")
    assert lines[-1] == "FAIL: 2 of 2 rows not ok (2 runtimes, 3 invokes a case, atol 1e-05, rtol 1e-05)"
    assert str(_compare(_double)).splitlines()[-1].startswith("PASS: 1 of 1 rows ok")


def test_the_report_is_valid_json_even_with_infinite_errors() -> None:
    report = _compare(lambda inputs: {"y": inputs["x"] * np.float32(np.nan)})
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["ok"] is False
    assert document["rows"][0]["runtime"] == "tflite-runtime"
    assert document["rows"][0]["max_abs_error"] is None
    assert "nan, the reference has 1" in document["rows"][0]["problem"]


def _difference(actual: Any, expected: Any, *, atol: float = 0.1, rtol: float = 0.1) -> tuple[float, float, bool]:
    found = difference(np.asarray(actual), np.asarray(expected), atol=atol, rtol=rtol)
    return found.max_abs_error, found.max_rel_error, found.problem is None


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("actual", "expected", "outcome"),
    [
        ([1.0, 2.0], [1.0, 2.0], (0.0, 0.0, True)),
        ([1.0, 2.3], [1.0, 2.0], (0.3, 0.15, True)),
        ([1.0, 2.4], [1.0, 2.0], (0.4, 0.2, False)),
        ([0.05], [0.0], (0.05, 0.0, True)),
        ([NAN, INF, -INF, 1.0], [NAN, INF, -INF, 1.0], (0.0, 0.0, True)),
        ([NAN, 1.0], [1.0, 1.0], (INF, INF, False)),
        ([1.0], [NAN], (INF, 0.0, False)),
        ([INF], [-INF], (INF, 0.0, False)),
        ([1e30], [INF], (INF, 0.0, False)),
        ([INF], [1.0], (INF, INF, False)),
        (1.2, 1.0, (0.2, 0.2, True)),
        (1.3, 1.0, (0.3, 0.3, False)),
        ([3, 4], [3, 4], (0.0, 0.0, True)),
        ([3, 4], [3, 5], (1.0, 0.2, False)),
        (3, 4, (1.0, 0.25, False)),
        ([True], [False], (1.0, 0.0, False)),
        ([2**62 + 1], [2**62], (0.0, 0.0, False)),
        ([1.0], [1], (INF, INF, False)),
        ([[1.0]], [1.0], (INF, INF, False)),
    ],
)
def test_differences(actual: Any, expected: Any, outcome: tuple[float, float, bool]) -> None:
    assert _difference(actual, expected) == pytest.approx(outcome)


@pytest.mark.parametrize(
    ("actual", "expected", "allowed"),
    [
        (np.float32, np.float64, True),
        (np.float16, np.float64, True),
        (np.float64, np.float32, False),
        (np.float16, np.float32, False),
        (np.int32, np.int64, False),
        (np.int32, np.float64, False),
    ],
)
def test_only_a_float64_reference_may_have_another_dtype(actual: Any, expected: Any, allowed: bool) -> None:
    found = difference(np.zeros(2, actual), np.zeros(2, expected), atol=0.0, rtol=0.0)
    assert (found.problem is None) is allowed
    assert allowed or "dtype" in (found.problem or "")


def test_a_shape_mismatch_says_both_shapes() -> None:
    found = difference(np.zeros((2, 3)), np.zeros((3, 2)), atol=1.0, rtol=1.0)
    assert found.problem == "shape [2, 3], the reference has [3, 2]"


def test_strings_are_compared_exactly() -> None:
    assert _difference(np.array([b"a"], object), np.array([b"a"], object)) == (0.0, 0.0, True)
    assert _difference(np.array([b"a"], object), np.array([b"b"], object))[2] is False


def test_a_row_with_a_problem_is_not_ok() -> None:
    assert ParityRow(ONE, "y", 1, 0.0, 0.0, True, "").ok
    assert not ParityRow(ONE, "y", 1, 0.0, 0.0, True, "", "something").ok


class Forgetful:
    """A runner whose model is right in its first load only."""

    def __init__(self) -> None:
        self.loads = 0

    @contextmanager
    def open(self, runtime: Runtime, model: bytes) -> Iterator[Forgetful]:
        self.loads += 1
        yield self

    def rewind(self) -> None:
        """Nothing is kept."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": inputs["x"] * (1 if self.loads == 1 else 2)}

    def renew(self, runtime: Runtime) -> None:
        """There is no process."""


@pytest.mark.parametrize(("delegate", "ok"), [(True, False), (False, True)])
def test_a_runtime_with_a_delegate_loads_a_model_as_often_as_asked(delegate: bool, ok: bool) -> None:
    runner, x = Forgetful(), np.ones(3, np.float32)
    report = compare(
        b"",
        lambda inputs: {"y": inputs["x"]},
        [{"x": x}, {"x": -x}],
        runtimes=[Runtime("ai-edge-litert", delegate=delegate)],
        pool=runner,
        loads=3,
    )
    assert report.ok is ok
    assert report.rows[0].cases == 2
    assert runner.loads == (3 if delegate else 1)
