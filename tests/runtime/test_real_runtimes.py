"""The harness on the real interpreters: what is right passes, and every way of being wrong is seen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.runtime.tiny_models import add_model, custom_op_model, lstm_that_crashes, rnn_model, rnn_reference
from tests.runtimes import INSTALLED, QUICK, has_wheels, why_missing
from tflite_rnn.runtime import (
    INTERPRETERS,
    RUNTIMES,
    TF_LITE,
    Runtime,
    WorkerPool,
    compare,
    example_cases,
    is_installed,
)

Array = npt.NDArray[Any]

# TensorFlow takes seconds to start anew, so what kills a process is tried on the small packages.
SMALL = [runtime for runtime in RUNTIMES if runtime.interpreter != TF_LITE]


@pytest.mark.runtime
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_an_interpreter_is_there_or_missing_for_a_reason(interpreter: str) -> None:
    if not is_installed(interpreter):
        if os.environ.get("CI"):
            assert not has_wheels(interpreter)
        pytest.skip(why_missing(interpreter))


def _double(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"y": inputs["x"] + inputs["x"]}


def _rnn(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"y": rnn_reference(inputs["x"], np.zeros((1, 2)))[0]}


def test_a_right_model_with_dynamic_batch_and_time_is_ok_on_every_installed_runtime(pool: WorkerPool) -> None:
    assert INSTALLED
    with pool.open(INSTALLED[0], add_model()) as model:
        cases = example_cases(model.signature, np.random.default_rng(0))
    report = compare(add_model(), _double, cases, pool=pool)
    assert report.ok, str(report)
    assert [row.runtime for row in report.rows] == list(INSTALLED)
    assert all((row.cases, row.max_abs_error, row.repeatable) == (4, 0.0, True) for row in report.rows)


def test_a_wrong_model_is_wrong_on_every_runtime(pool: WorkerPool) -> None:
    case = {"x": np.ones((1, 2, 3), np.float32)}
    report = compare(add_model(), lambda inputs: {"y": inputs["x"] * 3}, [case], runtimes=QUICK, pool=pool)
    assert len(report.failures) == len(report.rows) == len(QUICK)
    assert {row.max_abs_error for row in report.rows} == {1.0}
    assert {row.repeatable for row in report.rows} == {True}


@pytest.mark.parametrize("runtime", SMALL, ids=str)
def test_a_model_describes_its_signature(pool: WorkerPool, runtime: Runtime) -> None:
    with pool.open(runtime, add_model(key="decode")) as model:
        (signature,) = model.signatures
    assert signature.key == "decode"
    assert [(spec.name, spec.dtype, spec.shape) for spec in (*signature.inputs, *signature.outputs)] == [
        ("x", np.dtype("float32"), (None, None, 3)),
        ("y", np.dtype("float32"), (None, None, 3)),
    ]


@pytest.mark.parametrize("runtime", SMALL, ids=str)
def test_a_model_without_a_signature_goes_by_tensor_names(pool: WorkerPool, runtime: Runtime) -> None:
    with pool.open(runtime, add_model(signature=False)) as model:
        assert [spec.name for spec in model.signature.inputs] == ["x_0"]
        for shape in ((1, 1, 3), (4, 2, 3), (4, 2, 3), (1, 1, 3)):
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            np.testing.assert_array_equal(model.run({"x_0": x})["y_0"], x + x)


def test_a_bare_fused_op_leaks_its_state_and_the_second_invoke_is_wrong(pool: WorkerPool) -> None:
    case = {"x": np.random.default_rng(0).standard_normal((6, 1, 3)).astype(np.float32)}
    once = compare(rnn_model(), _rnn, [case], runtimes=QUICK, invokes=1, pool=pool)
    assert once.ok, str(once)
    report = compare(rnn_model(), _rnn, [case], runtimes=QUICK, pool=pool)
    assert len(report.failures) == len(QUICK)
    for row in report.failures:
        assert row.repeatable is False
        assert row.problem is not None
        assert "invoke 1:" not in row.problem
        assert "invoke 2:" in row.problem


def test_a_model_is_timed_in_its_worker(pool: WorkerPool) -> None:
    with pool.open(QUICK[0], add_model()) as model:
        seconds = model.time(example_cases(model.signature, np.random.default_rng(0))[0], runs=3)
    assert len(seconds) == 3
    assert all(duration > 0 for duration in seconds)


@pytest.mark.parametrize("runtime", SMALL, ids=str)
def test_state_continues_over_runs_of_one_shape_and_reset_clears_it(pool: WorkerPool, runtime: Runtime) -> None:
    x = np.random.default_rng(0).standard_normal((6, 1, 3)).astype(np.float32)
    first, state = rnn_reference(x, np.zeros((1, 2)))
    second, _ = rnn_reference(x, state)
    with pool.open(runtime, rnn_model()) as model:
        model.reset()
        np.testing.assert_allclose(model.run({"x": x})["y"], first, atol=1e-6)
        np.testing.assert_allclose(model.run({"x": x})["y"], second, atol=1e-6)
        model.reset()
        np.testing.assert_allclose(model.run({"x": x})["y"], first, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [custom_op_model(), b"", b"not a flatbuffer at all, but long enough to look like one"],
    ids=["custom op", "empty", "no flatbuffer"],
)
def test_a_file_the_runtime_refuses_is_a_failing_row(pool: WorkerPool, model: bytes) -> None:
    report = compare(model, _double, [{"x": np.ones((1, 3), np.float32)}], runtimes=QUICK, pool=pool)
    assert [(row.runtime, row.output) for row in report.failures] == [(runtime, None) for runtime in QUICK]
    assert all("failed while" in (row.problem or "") for row in report.failures), str(report)


def test_a_truncated_file_is_a_failing_row_even_where_the_loader_crashes(pool: WorkerPool) -> None:
    # tflite-runtime 2.14 does not verify the flatbuffer and follows its offsets beyond the end.
    report = compare(add_model()[:100], _double, [{"x": np.ones((1, 3), np.float32)}], runtimes=QUICK, pool=pool)
    assert [(row.runtime, row.output) for row in report.failures] == [(runtime, None) for runtime in QUICK]
    assert all("while loading a model of 100 bytes" in (row.problem or "") for row in report.failures), str(report)


def test_the_unknown_op_is_named(pool: WorkerPool) -> None:
    case = {"x": np.ones((1, 3), np.float32)}
    report = compare(custom_op_model(), _double, [case], runtimes=QUICK, pool=pool)
    assert all("NoSuchOp" in (row.problem or "") for row in report.failures), str(report)


def test_a_model_that_kills_its_process_is_a_failing_row_and_the_pool_goes_on(pool: WorkerPool) -> None:
    case = {"x": np.ones((4, 1, 3), np.float32)}
    report = compare(lstm_that_crashes(), _double, [case], runtimes=QUICK, pool=pool)
    assert [(row.runtime, row.output) for row in report.failures] == [(runtime, None) for runtime in QUICK]
    assert all("crashed while" in (row.problem or "") for row in report.failures), str(report)
    assert all("SIGSEGV" in (row.problem or "") for row in report.failures), str(report)
    again = compare(add_model(), _double, [{"x": np.ones((2, 2, 3), np.float32)}], runtimes=QUICK, pool=pool)
    assert again.ok, str(again)
