"""Files with fused recurrent ops under every state policy, on real interpreters against the float64 evaluator."""

from __future__ import annotations

import numpy as np
import pytest

from converter.ir import Activation, Array, Cell, LstmCell, RnnCell, evaluate
from tests.faults.compiling import compiled
from tests.faults.fused_files import DEPTH, FusedFile, Storage, Svdf, one_step, sequence_lstm, sequence_rnn
from tests.faults.test_fused_files import EVERYTHING, LITERT, leaks
from tests.programs import lstm_cell, rnn_cell, stack
from tests.runtimes import INSTALLED
from tflite_rnn.runtime import MICRO, Runtime, Stream, WorkerPool

pytestmark = pytest.mark.runtime

CELLS: dict[str, LstmCell | RnnCell] = {
    "lstm": lstm_cell(),
    "lstm with everything": lstm_cell(**EVERYTHING),
    "cifg": lstm_cell(cifg=True, peephole=True),
    "relu": lstm_cell(activation=Activation.RELU),
    "rnn": rnn_cell(),
    "rnn linear": rnn_cell(units=2, activation=Activation.LINEAR),
}
LAYOUTS = {"time-major": True, "batch-major": False}
STORAGES = {kind: Storage(kind) for kind in ("float32", "float16", "int8")}
POLICIES = ("stateless", "explicit", "streaming")
LOWERINGS = ("auto", "while", "unrolled")


def file_of(cell: LstmCell | RnnCell, storage: Storage, *, time_major: bool) -> FusedFile:
    if isinstance(cell, RnnCell):
        return sequence_rnn(cell, time_major=time_major, storage=storage)
    return sequence_lstm(cell, time_major=time_major, storage=storage)


def cell_of(file: FusedFile) -> Cell:
    (op,) = file.meaning.recurrences()
    return op.cell


def outputs_of(cell: Cell, x: Array) -> Array:
    """What a sequence x [T, B, n] gives."""
    return evaluate(stack([cell], batch=x.shape[1]), {"x": x})["layer_0_outputs"]


def cases() -> list[object]:
    found = []
    for name in CELLS:
        for number, (policy, storage, layout, lowering) in enumerate(
            (policy, storage, layout, lowering)
            for policy in POLICIES
            for storage in STORAGES
            for layout in LAYOUTS
            for lowering in LOWERINGS
        ):
            is_sample = (number + len(name)) % 27 == 0
            marks = () if is_sample else pytest.mark.exhaustive
            found.append(pytest.param(name, policy, storage, layout, lowering, marks=marks))
    return found


@pytest.mark.parametrize(("name", "policy", "storage", "layout", "lowering"), cases())
def test_chunks_are_what_the_policy_says(
    name: str, policy: str, storage: str, layout: str, lowering: str, pool: WorkerPool
) -> None:
    time_major = LAYOUTS[layout]
    file = file_of(CELLS[name], STORAGES[storage], time_major=time_major)
    model = compiled(file.data, state=policy, lowering=lowering).model
    assert leaks(model) == []
    chunks = np.random.default_rng(0).standard_normal((3, 7, 2, DEPTH)).astype(np.float32)
    cell = cell_of(file)
    if policy == "stateless":
        expected = np.stack([outputs_of(cell, chunk) for chunk in chunks])
    else:
        expected = outputs_of(cell, np.concatenate(chunks)).reshape(3, 7, 2, -1)
    for runtime in INSTALLED:
        with pool.open(runtime, model) as running:
            stream = running.run if policy == "stateless" else Stream(running, batch=2).feed
            for chunk, wanted in zip(chunks, expected, strict=True):
                given = chunk if time_major else chunk.swapaxes(0, 1)
                y = stream({"x": given})["y"]
                np.testing.assert_allclose(y if time_major else y.swapaxes(0, 1), wanted, atol=1e-5)


@pytest.mark.parametrize("runtime", [*INSTALLED, Runtime(MICRO)], ids=str)
@pytest.mark.parametrize("kind", ["LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"])
def test_files_that_see_one_step_stream_on_every_runtime(kind: str, runtime: Runtime, pool: WorkerPool) -> None:
    x = np.random.default_rng(1).standard_normal((6, 1, DEPTH)).astype(np.float32)
    if kind == "SVDF":
        data, shape, expected = Svdf().data(), (1, DEPTH), Svdf().outputs(x)
    else:
        file = one_step(kind)
        data, expected = file.data, outputs_of(cell_of(file), x)
        shape = (1, 1, DEPTH) if "SEQUENCE" in kind else (1, DEPTH)
    target = "tflm" if runtime == Runtime(MICRO) else "litert"
    model = compiled(data, state="streaming", target=target).model
    with pool.open(runtime, model) as running:
        stream = Stream(running)
        for _ in range(2):
            parts = [stream.feed({"x": step.reshape(shape)})["y"].reshape(1, -1) for step in x]
            np.testing.assert_allclose(np.stack(parts), expected, atol=1e-5)
            stream.reset()


@pytest.mark.parametrize("name", ["lstm with everything", "rnn"])
def test_the_first_invoke_of_the_file_is_every_invoke_of_ours(name: str, pool: WorkerPool) -> None:
    file = file_of(CELLS[name], STORAGES["float32"], time_major=True)
    x = {"x": np.random.default_rng(2).standard_normal((7, 2, DEPTH)).astype(np.float32)}
    with pool.open(LITERT, file.data) as running:
        first, second = running.run(x)["y"], running.run(x)["y"]
    assert np.abs(first - second).max() > 1e-3
    with pool.open(LITERT, compiled(file.data).model) as running:
        for _ in range(3):
            np.testing.assert_allclose(running.run(x)["y"], first, atol=1e-6)
