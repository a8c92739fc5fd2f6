"""A converted model is loaded and run once before it is handed out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tflite_rnn as rnn
from converter.convert import Converted, compile_program
from converter.flatbuffer import build_model
from converter.ir import DType, Graph, Program, Signature, TfliteOp, constant
from converter.options import ConvertOptions, StatePolicy
from converter.report import Report, TrialRecord
from converter.targets import Target
from tests.programs import gru_cell, lstm_cell, stack, tensor
from tflite_rnn.cli import main
from tflite_rnn.runtime import TFLITE_RUNTIME, WorkerPool
from tflite_rnn.verification import RUNTIMES, verified

FIXED = {Target.LITERT_COMPILED, Target.LITERT_WEB, Target.TFLM}
"""Targets of models whose sizes are known."""

pytestmark = pytest.mark.verifies

LITERT = ["ai-edge-litert", "ai-edge-litert, no delegate"]


def converted(target: Target = Target.LITERT, state: StatePolicy = StatePolicy.STATELESS) -> Converted:
    batch = 1 if target in FIXED or state is StatePolicy.STREAMING else None
    source = stack([lstm_cell(), gru_cell(depth=4)], time=3 if target in FIXED else None, batch=batch)
    return compile_program(source, ConvertOptions(state=state, target=target))


def handmade(op: TfliteOp) -> Converted:
    """A model of one op, around the compiler."""
    names = tuple(value.name for value in op.results)
    inputs = [value for value in op.operands if value is not None and value.data is None]
    program = Program(
        (Graph("main", tuple(inputs), op.results, (op,)),),
        (Signature("serving_default", tuple(value.name for value in inputs), names),),
    )
    return Converted(build_model(program), program, Report((), (), {}, 0))


# --- what runs -------------------------------------------------------------------------------------------------


@pytest.mark.runtime
@pytest.mark.parametrize("target", Target, ids=lambda target: target.value)
@pytest.mark.parametrize("state", StatePolicy, ids=lambda state: state.value)
def test_a_model_runs_on_the_runtimes_of_its_target(target: Target, state: StatePolicy, pool: WorkerPool) -> None:
    for runtime in RUNTIMES[target]:
        with pool.open(runtime, converted(target).model):
            pass  # skipped where the runtime is not installed
    trials = verified(converted(target, state), target, pool=pool).report.trials
    assert [trial.runtime for trial in trials] == [runtime.label for runtime in RUNTIMES[target]]
    for trial in trials:
        assert trial.not_run is None
        assert trial.crash is None
        assert trial.ran[0] == "serving_default"
        assert trial.ran[1:] == (("reset", "serving_default") if state is StatePolicy.STREAMING else ())
        assert sum(trial.inputs["x"]) == (
            7 if target in {Target.TFLM, Target.LITERT_COMPILED, Target.LITERT_WEB} else 5
        )


def test_each_target_has_runtimes_of_its_own() -> None:
    assert set(RUNTIMES) == set(Target)


@pytest.mark.runtime
@pytest.mark.parametrize(("row", "size"), [(3, 3), (16, 4), (96, 24)])
def test_open_sizes_are_as_small_as_the_model_takes(row: int, size: int, pool: WorkerPool) -> None:
    """A reshape to rows of some length: its input has to hold a multiple of them."""
    x, y = tensor("x", None, 4), tensor("y", None, row)
    model = handmade(TfliteOp("RESHAPE", (x, constant("shape", np.array([-1, row], np.int32))), (y,)))
    for trial in verified(model, Target.LITERT, pool=pool).report.trials:
        assert trial.inputs == {"x": (size, 4)}, str(trial)


@pytest.mark.runtime
def test_a_model_that_takes_none_of_the_sizes_is_not_run_and_the_report_says_why(pool: WorkerPool) -> None:
    x, y = tensor("x", None, 4), tensor("y", 1, 52)
    model = handmade(TfliteOp("RESHAPE", (x, constant("shape", np.array([1, 52], np.int32))), (y,)))
    for trial in verified(model, Target.LITERT, pool=pool).report.trials:
        assert trial.ran == ()
        assert str(trial).startswith(f"not run on {trial.runtime}: no open sizes were found that it takes: ")


@pytest.mark.runtime
def test_what_divides_by_its_input_is_tried_with_ones(pool: WorkerPool) -> None:
    x, y = tensor("x", 2, dtype=DType.INT32), tensor("y", 2, dtype=DType.INT32)
    model = handmade(TfliteOp("DIV", (constant("seven", np.array([7, 7], np.int32)), x), (y,)))
    assert all(trial.ran for trial in verified(model, Target.LITERT, pool=pool).report.trials)


# --- what does not ---------------------------------------------------------------------------------------------


@pytest.mark.runtime
def test_a_model_that_does_not_load_is_an_error(pool: WorkerPool) -> None:
    x, y = tensor("x", 2, dtype=DType.BOOL), tensor("y", 2, dtype=DType.BOOL)
    with pytest.raises(rnn.VerificationError, match=r"does not run on ai-edge-litert .*--no-verify"):
        verified(handmade(TfliteOp("TANH", (x,), (y,))), Target.LITERT, pool=pool)


@pytest.fixture
def fake(fake_packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is installed."""
    monkeypatch.setattr("tflite_rnn.verification.is_installed", lambda _: True)


@pytest.mark.parametrize("word", ["refuse", "abort", "exit"])
def test_a_model_that_is_refused_or_crashes_is_an_error(word: str, fake_packages: Path, fake: None) -> None:
    with pytest.raises(rnn.VerificationError, match="the converted model does not run on tflite-runtime"):
        verified(replace(converted(), model=word.encode()), Target.TFLITE_RUNTIME)


def test_a_model_that_takes_too_long_is_not_run(fake_packages: Path, fake: None) -> None:
    with WorkerPool(timeout=0.5) as pool:
        result = verified(replace(converted(), model=b"hang"), Target.TFLITE_RUNTIME, pool=pool)
    for trial in result.report.trials:
        assert "no answer within 0.5 s" in str(trial.not_run)


def test_a_runtime_that_cannot_be_imported_is_not_run(
    fake_packages: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_INTERPRETER", "no import")
    result = verified(replace(converted(), model=b"add"), Target.TFLITE_RUNTIME)
    for trial in result.report.trials:
        assert "does not fit this NumPy" in str(trial.not_run)


def test_a_runtime_that_is_not_installed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tflite_rnn.verification.is_installed", lambda _: False)
    (trial,) = verified(converted(Target.TFLM), Target.TFLM).report.trials
    assert str(trial) == "not run on tflm: it is not installed"


# --- from Python and from the command line ---------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return compile_program(stack([lstm_cell()])).save(tmp_path / "source.tflite")


@pytest.mark.runtime
def test_convert_tries_what_it_made_unless_told_not_to(source: Path) -> None:
    tried = rnn.convert(source)
    assert [trial.runtime for trial in tried.report.trials] == LITERT
    assert "ran on ai-edge-litert: serving_default with x [1, 1, 3]" in str(tried.report)
    untried = rnn.convert(source, verify=False)
    assert untried.report.trials == ()
    assert "not run: the file was not to be tried" in str(untried.report)
    assert untried.model == tried.model


def test_verify_is_true_or_false(source: Path) -> None:
    with pytest.raises(rnn.OptionError, match="verify: expected True or False"):
        rnn.convert(source, verify="no")  # type: ignore[arg-type]


def run(source: Path, folder: Path, *options: str) -> tuple[int, str, list[dict[str, object]]]:
    report = folder / "report.json"
    words = ["convert", str(source), "-o", str(folder / "made.tflite"), "--report", str(report), *options]
    result = CliRunner().invoke(main, words)
    trials: Sequence[dict[str, object]] = json.loads(report.read_text())["trials"] if report.exists() else []
    return result.exit_code, result.output, list(trials)


@pytest.mark.runtime
def test_the_command_says_what_ran(source: Path, tmp_path: Path) -> None:
    status, output, trials = run(source, tmp_path)
    assert status == 0, output
    assert "ran on ai-edge-litert, no delegate: serving_default with x [1, 1, 3]" in output
    assert trials[0] == {
        "runtime": "ai-edge-litert",
        "ran": ["serving_default"],
        "inputs": {"x": [1, 1, 3]},
        "not_run": None,
        "crash": None,
    }


def test_no_verify_runs_nothing(source: Path, tmp_path: Path) -> None:
    status, output, trials = run(source, tmp_path, "--no-verify")
    assert (status, trials) == (0, [])
    assert "not run: the file was not to be tried" in output


def test_a_file_that_does_not_run_is_status_70_and_is_not_written(
    source: Path, tmp_path: Path, fake_packages: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tflite_rnn.conversion.compile_source", lambda *_: replace(converted(), model=b"abort"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, output, _ = run(source, tmp_path, "--target", "tflite-runtime")
    assert status == 70
    assert "internal error: VerificationError: the converted model does not run on tflite-runtime" in output
    assert "wrote" not in output
    assert not (tmp_path / "made.tflite").exists()
    assert TFLITE_RUNTIME in next(tmp_path.glob("tflite-rnn-error-*")).read_text()


def test_a_trial_says_what_crashed_before() -> None:
    trial = TrialRecord(
        "tflm", ("main",), {"x": (2, 3)}, crash="tflm: crashed while running a model with x [1, 3]"
    )
    assert (
        str(trial) == "ran on tflm: main with x [2, 3]; before, tflm: crashed while running a model with x [1, 3]"
    )
