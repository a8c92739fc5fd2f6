"""The client and the worker process, with a stand-in interpreter that misbehaves on demand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from converter.errors import TfliteRnnError
from tflite_rnn.runtime import (
    AI_EDGE_LITERT,
    TFLITE_RUNTIME,
    Runtime,
    RuntimeFailure,
    Worker,
    WorkerCrashed,
    WorkerPool,
)

X = {"x": np.array([1.0, 2.0], np.float32)}


def _ended(pid: int) -> bool:
    """Whether a process is gone; one that only waits to be reaped by a lazy init counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def _ends_soon(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while not _ended(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return _ended(pid)


def _gone(pid: int) -> bool:
    """Whether a process has left no trace, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_starts_only_when_a_model_is_loaded_and_leaves_no_process(fake_packages: Path) -> None:
    with Worker(TFLITE_RUNTIME) as worker:
        assert worker.pid is None
        worker.load(b"add")
        pid = worker.pid
        assert pid is not None
        assert not _gone(pid)
    assert worker.pid is None
    assert _gone(pid)


def test_a_model_is_run_by_tensor_names_when_it_has_no_signature(fake_worker: Worker) -> None:
    with fake_worker.load(b"add") as model:
        assert model.signature.key is None
        assert [spec.shape for spec in model.signature.inputs] == [(None,)]
        np.testing.assert_array_equal(model.run(X)["y"], [2.0, 3.0])


def test_tensors_are_allocated_again_only_if_the_shapes_change(fake_worker: Worker) -> None:
    model = fake_worker.load(b"add")
    sizes = (2, 2, 3, 3, 2)
    assert [int(model.run({"x": np.zeros(size, np.float32)})["allocated"]) for size in sizes] == [1, 1, 2, 2, 3]


def test_state_survives_runs_and_reset_clears_it(fake_worker: Worker) -> None:
    model = fake_worker.load(b"add")
    model.reset()
    counts = [int(model.run(X)["count"]) for _ in range(2)]
    model.reset()
    assert [*counts, int(model.run(X)["count"])] == [1, 2, 1]


def test_one_process_serves_both_delegate_settings_and_many_models(fake_worker: Worker) -> None:
    models = [fake_worker.load(b"add", delegate=delegate) for delegate in (True, False, True)]
    assert [bool(model.run(X)["delegate"]) for model in models] == [True, False, True]
    assert [int(model.run(X)["count"]) for model in models] == [2, 2, 2]
    assert [model.runtime for model in models[:2]] == [Runtime(TFLITE_RUNTIME), Runtime(TFLITE_RUNTIME, False)]


def test_what_libraries_print_does_not_corrupt_the_messages(fake_worker: Worker) -> None:
    with fake_worker.load(b"print") as model:
        np.testing.assert_array_equal(model.run(X)["y"], [2.0, 3.0])
        np.testing.assert_array_equal(model.run(X)["y"], [2.0, 3.0])


def test_arrays_larger_than_a_pipe_pass_whole(fake_worker: Worker) -> None:
    x = np.arange(1_000_000, dtype=np.float32)
    np.testing.assert_array_equal(fake_worker.load(b"add").run({"x": x})["y"], x + 1)


def test_an_error_of_the_interpreter_is_passed_on_and_the_process_lives(fake_worker: Worker) -> None:
    model = fake_worker.load(b"fail")
    pid = fake_worker.pid
    with pytest.raises(RuntimeFailure, match=r"tflite-runtime: .*running.*x \[2\].*the kernel says no"):
        model.run(X)
    with pytest.raises(RuntimeFailure, match=r"no delegate: .*loading a model of 6 bytes.*no such model"):
        fake_worker.load(b"refuse", delegate=False)
    assert fake_worker.pid == pid
    assert issubclass(RuntimeFailure, TfliteRnnError)


def test_wrong_names_are_refused_in_words(fake_worker: Worker) -> None:
    model = fake_worker.load(b"add")
    with pytest.raises(RuntimeFailure, match=r"expected the inputs \['x'\], got \['z'\]"):
        model.run({"z": X["x"]})
    with pytest.raises(RuntimeFailure, match="unknown signature 'other'"):
        model.run(X, signature_key="other")
    with pytest.raises(RuntimeFailure, match="several of its outputs are called"):
        fake_worker.load(b"same names")


def test_a_crash_names_the_runtime_the_signal_and_what_it_was_doing(fake_worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match=r"(?s)tflite-runtime: .*running.*x \[2\].*SIGABRT.*the last words"):
        fake_worker.load(b"abort").run(X)
    assert fake_worker.pid is None
    assert issubclass(WorkerCrashed, TfliteRnnError)


def test_an_exit_of_the_process_is_a_crash(fake_worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match="exited with status 3"):
        fake_worker.load(b"exit").run(X)


def test_a_signal_from_outside_is_a_crash(fake_worker: Worker) -> None:
    model = fake_worker.load(b"add")
    assert fake_worker.pid is not None
    os.kill(fake_worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        model.run(X)


def test_after_a_crash_the_next_model_gets_a_new_process(fake_worker: Worker) -> None:
    other, crashing = fake_worker.load(b"add"), fake_worker.load(b"abort")
    with pytest.raises(WorkerCrashed):
        crashing.run(X)
    with pytest.raises(RuntimeFailure, match="its worker process has ended"):
        other.run(X)
    other.unload()
    assert int(fake_worker.load(b"add").run(X)["count"]) == 1


def test_an_unloaded_model_does_not_run(fake_worker: Worker) -> None:
    with fake_worker.load(b"add") as model:
        pass
    with pytest.raises(RuntimeFailure, match="unloaded"):
        model.run(X)


@pytest.mark.parametrize("stopped", [False, True], ids=["in a kernel", "whole process, large input"])
def test_a_hang_is_a_failure_and_the_process_is_killed(
    fake_worker: Worker, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    model = fake_worker.load(b"hang")
    pid = fake_worker.pid
    assert pid is not None
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(fake_worker, "_timeout", 0.3)  # only now: loading may take its time
    with pytest.raises(RuntimeFailure, match=r"no answer within 0\.3 s while running"):
        model.run({"x": np.zeros(100_000, np.float32)})
    assert _gone(pid)


def test_a_package_that_cannot_be_imported_is_a_failure(
    fake_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_INTERPRETER", "no import")
    with pytest.raises(RuntimeFailure, match=r"tflite-runtime: .*starting: ImportError: .*not fit this NumPy"):
        fake_worker.load(b"add")
    assert fake_worker.pid is None
    monkeypatch.delenv("FAKE_INTERPRETER")
    assert fake_worker.load(b"add").run(X)


def test_a_package_that_hangs_when_imported_is_a_failure(
    fake_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_INTERPRETER", "hang")
    with (
        Worker(TFLITE_RUNTIME, start_timeout=0.5) as worker,
        pytest.raises(RuntimeFailure, match=r"no answer within 0\.5 s while starting"),
    ):
        worker.load(b"add")


def test_an_unknown_interpreter_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="unknown interpreter 'lite'"):
        Worker("lite")


def test_an_interrupt_does_not_leave_a_late_reply_behind(fake_packages: Path) -> None:
    with Worker(TFLITE_RUNTIME) as worker:
        model = worker.load(b"interrupt")
        pid = worker.pid
        previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                model.run(X)
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert pid is not None
        assert _gone(pid)
        assert worker.load(b"add").run(X)


@pytest.mark.runtime
def test_a_pool_keeps_one_process_per_package_and_ends_them_all(fake_packages: Path) -> None:
    with WorkerPool() as workers:
        for delegate in (True, False):
            with workers.open(Runtime(TFLITE_RUNTIME, delegate), b"add") as model:
                assert bool(model.run(X)["delegate"]) is delegate
        fake_pid = workers.worker(TFLITE_RUNTIME).pid
        with pytest.raises(RuntimeFailure, match="ai-edge-litert"):
            workers.open(Runtime(AI_EDGE_LITERT), b"not a model")
        pids = [fake_pid, workers.worker(AI_EDGE_LITERT).pid]
        assert len(set(pids)) == 2
    assert all(pid is not None and _gone(pid) for pid in pids)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in an invoke"])
def test_workers_end_when_their_parent_is_killed(fake_packages: Path, busy: bool) -> None:
    script = (
        "import sys, numpy as np\n"
        "from tflite_rnn.runtime import Worker\n"
        "worker = Worker('tflite-runtime')\n"
        "model = worker.load(b'hang')\n"
        "print(worker.pid, flush=True)\n"
        "model.run({'x': np.zeros(1, np.float32)}) if sys.argv[1] == 'True' else sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(busy).capitalize()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        assert not _ended(pid)
        parent.kill()
    assert _ends_soon(pid)
