"""Prove a model: run it on every runtime and compare each invoke with a float reference."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from tflite_rnn.runtime.client import WorkerPool
from tflite_rnn.runtime.difference import Difference, bits_equal, difference
from tflite_rnn.runtime.errors import CheckError, RuntimeFailure, WorkerCrashed
from tflite_rnn.runtime.report import ParityReport, ParityRow
from tflite_rnn.runtime.runtimes import RUNTIMES, Runtime, installed_runtimes
from tflite_rnn.runtime.signature import Array, describe_shapes

Reference: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Progress: TypeAlias = Callable[[Runtime, int, int], None]


class RunningModel(Protocol):
    """A model loaded on a runtime. `run` raises RuntimeFailure or WorkerCrashed, which name the runtime."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Invoke once and return the outputs by name, leaving the model's state as the invoke leaves it."""

    def rewind(self) -> None:
        """Put state that the model keeps on purpose back to its start."""


class ModelRunner(Protocol):
    """Something that runs models on runtimes: a `WorkerPool`, or a stand-in for one."""

    def open(self, runtime: Runtime, model: bytes) -> AbstractContextManager[RunningModel]:
        """Load a model on a runtime; RuntimeFailure or WorkerCrashed if that does not work."""

    def renew(self, runtime: Runtime) -> None:
        """Give the next model of this runtime a new process."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The inputs of one case and what the reference makes of them."""

    inputs: dict[str, Array]
    expected: dict[str, Array]

    def __str__(self) -> str:
        return describe_shapes(self.inputs)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every runtime is put through."""

    model: bytes
    cases: tuple[_Case, ...]
    invokes: int
    atol: float
    rtol: float
    progress: Progress | None
    loads: int


@dataclass(frozen=True, slots=True)
class _Finding:
    """One output in one case, over all its invokes."""

    output: str
    case: _Case
    worst: Difference
    repeatable: bool | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Event:
    """A runtime failed or crashed in a case, or before the first one."""

    error: RuntimeFailure | WorkerCrashed
    where: str


def compare(
    model: bytes,
    reference: Reference,
    cases: Sequence[Mapping[str, Array]],
    *,
    runtimes: Sequence[Runtime] | None = None,
    invokes: int = 3,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    pool: ModelRunner | None = None,
    progress: Progress | None = None,
    loads: int = 1,
) -> ParityReport:
    """Run a model on runtimes and compare every output of every invoke with a reference.

    Each runtime loads the model once and runs the cases in order, each ``invokes`` times in a row without a reset:
    a model that forgets to start from its initial state gives another answer the second time. Only a model that
    keeps its state on purpose, with a signature to reset it, is reset before each invoke. An output is ok if
    every invoke is within tolerance and repeats the first one bit for bit. A runtime that fails or crashes is a
    row of the report, never an exception, and its remaining cases are skipped.

    Args:
        model: the ``.tflite`` file.
        reference: from named inputs to named outputs, called once per case. Its dtypes are those of the model's
            outputs, or float64 in place of any float.
        cases: named inputs; `tflite_rnn.runtime.example_cases` makes some.
        runtimes: where to run; default all that are installed. One that is not installed is a failing row.
        invokes: invokes in a row for each case; with 1, nothing is said about repeating.
        atol: absolute tolerance: |d| <= atol + rtol * |reference|.
        rtol: relative tolerance.
        pool: workers to use; default new ones, which end with the comparison.
        progress: called after every case with the runtime, the number of cases done on it, and their total.
        loads: how often a runtime with a delegate loads the model and runs the cases; after the
            first load, each case is invoked once. Where memory lies differs from load to load, and faults with it.

    Raises:
        CheckError: if there is no runtime, no case, no invoke, or the reference gives no output: nothing would be
            compared, and a report on nothing must not say ok.
    """
    chosen = tuple(installed_runtimes()) if runtimes is None else tuple(runtimes)
    _check_arguments(chosen, cases, invokes)
    _check_tolerances(atol=atol, rtol=rtol)
    judged = tuple(_judged(reference, inputs) for inputs in cases)
    plan = _Plan(model, judged, invokes, atol, rtol, progress, loads)
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(WorkerPool()) if pool is None else pool
        rows = [row for runtime in chosen for row in _rows_of(runner, runtime, plan)]
    return ParityReport(tuple(rows), invokes, atol, rtol)


def _rows_of(runner: ModelRunner, runtime: Runtime, plan: _Plan) -> list[ParityRow]:
    rows = list(_rows(runtime, list(_check(runner, runtime, plan))))
    if not all(row.ok for row in rows):
        # A kernel that answers wrongly may have written where it should not; the next model must not suffer.
        runner.renew(runtime)
    return rows


def _check_arguments(runtimes: tuple[Runtime, ...], cases: Sequence[Mapping[str, Array]], invokes: int) -> None:
    if not runtimes:
        names = ", ".join(dict.fromkeys(runtime.interpreter for runtime in RUNTIMES))
        raise CheckError(f"no runtime to compare on; install at least one of {names}")
    if not cases:
        raise CheckError("no case to compare; give at least one set of inputs")
    if invokes < 1:
        raise CheckError(f"expected at least one invoke, and two to see leaking state, got {invokes}")


def _check_tolerances(**tolerances: float) -> None:
    for name, tolerance in tolerances.items():
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise CheckError(f"{name}: expected a finite number that is not negative, got {tolerance}")


def _judged(reference: Reference, inputs: Mapping[str, Array]) -> _Case:
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    # The reference gets copies: one that works in place must not change what the runtimes see.
    outputs = reference({name: array.copy() for name, array in arrays.items()})
    case = _Case(arrays, {name: np.asarray(array) for name, array in outputs.items()})
    if not case.expected:
        raise CheckError(f"the reference returned no output for {case}, so there is nothing to compare")
    return case


def _check(runner: ModelRunner, runtime: Runtime, plan: _Plan) -> Iterator[_Finding | _Event]:
    """Run all cases on one runtime; ends with an event if the runtime fails or crashes."""
    where = "any"
    try:
        for load in range(plan.loads if runtime.delegate else 1):
            with runner.open(runtime, plan.model) as running:
                for done, case in enumerate(plan.cases, start=1):
                    where = str(case)
                    answers = [_answer(running, case) for _ in range(1 if load else plan.invokes)]
                    yield from _findings(case, answers, plan)
                    if plan.progress is not None and not load:
                        plan.progress(runtime, done, len(plan.cases))
    except (RuntimeFailure, WorkerCrashed) as error:
        yield _Event(error, where)


def _answer(running: RunningModel, case: _Case) -> Mapping[str, Array]:
    running.rewind()
    return running.run(case.inputs)


def _findings(case: _Case, answers: Sequence[Mapping[str, Array]], plan: _Plan) -> Iterator[_Finding]:
    names = [*case.expected, *(name for name in answers[0] if name not in case.expected)]
    for name in names:
        problem = _name_problem(name, case.expected, answers[0])
        if problem is not None:
            yield _Finding(name, case, Difference(np.inf, np.inf, 0), None, problem)
        else:
            yield _finding(name, case, [answer[name] for answer in answers], plan)


def _name_problem(name: str, expected: Mapping[str, Array], actual: Mapping[str, Array]) -> str | None:
    if name not in actual:
        return f"missing: the model's outputs are {sorted(actual)}"
    if name not in expected:
        return f"unexpected: the reference's outputs are {sorted(expected)}"
    return None


def _finding(name: str, case: _Case, answers: Sequence[Array], plan: _Plan) -> _Finding:
    differences = [difference(answer, case.expected[name], atol=plan.atol, rtol=plan.rtol) for answer in answers]
    repeats = [bits_equal(answers[0], answer) for answer in answers[1:]]
    repeatable = all(repeats) if repeats else None
    worst = max(differences, key=_severity)
    failed = [number for number, found in enumerate(differences, start=1) if found.problem is not None]
    # One invoke in words is enough: those after it usually fail in the same way.
    problems = [f"invoke {number}: {differences[number - 1].problem}" for number in failed[:1]]
    if repeatable is False:
        number = repeats.index(False) + 2
        problems.append(f"invoke {number} does not repeat invoke 1 bit for bit (does state leak between invokes?)")
    return _Finding(name, case, worst, repeatable, "; ".join(problems) or None)


def _severity(found: Difference) -> tuple[bool, float]:
    return (found.problem is not None, found.max_abs_error)


def _rows(runtime: Runtime, results: Sequence[_Finding | _Event]) -> Iterator[ParityRow]:
    findings = [result for result in results if isinstance(result, _Finding)]
    for name in dict.fromkeys(finding.output for finding in findings):
        yield _row(runtime, name, [finding for finding in findings if finding.output == name])
    for result in results:
        if isinstance(result, _Event):
            yield ParityRow(runtime, None, 0, None, None, None, result.where, str(result.error))


def _row(runtime: Runtime, name: str, findings: Sequence[_Finding]) -> ParityRow:
    """Sum up one output over its cases; the worst case is a failing one if there is any."""
    worst = max(findings, key=lambda finding: (finding.problem is not None, *_severity(finding.worst)))
    known = [finding.repeatable for finding in findings if finding.repeatable is not None]
    return ParityRow(
        runtime=runtime,
        output=name,
        cases=len({id(finding.case) for finding in findings}),
        max_abs_error=max(finding.worst.max_abs_error for finding in findings),
        max_rel_error=max(finding.worst.max_rel_error for finding in findings),
        repeatable=all(known) if known else None,
        worst_case=str(worst.case),
        problem=_problem(worst, findings),
    )


def _problem(worst: _Finding, findings: Sequence[_Finding]) -> str | None:
    if worst.problem is not None:
        return f"with {worst.case}: {worst.problem}"
    if not any(finding.worst.elements for finding in findings):
        return "nothing was compared: the output has no elements in any case"
    return None
