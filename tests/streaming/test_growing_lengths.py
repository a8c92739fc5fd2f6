"""Lengths that grow from invoke to invoke: what the delegate of ai-edge-litert makes wrong, and what it does not.

With a loop behind delegated ops and states, some loads of the same bytes give wrong numbers. The report says so,
and the ways out that it names are exact.
"""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import compile_program
from converter.ir import Array, Program
from converter.options import ConvertOptions
from tests.programs import gru_cell, lstm_cell, stack
from tests.streaming.networks import draw
from tests.streaming.test_random_networks import compiled
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime, WorkerPool

PLAIN, DELEGATED = Runtime(AI_EDGE_LITERT, delegate=False), Runtime(AI_EDGE_LITERT)
LOADS = 50
GROWTH = (1, 2, 3, 5, 8, 13, 2, 21)
SEEDS = (206, 216, 245, 397)
"""Networks of which 5 to 46 of 100 loads were wrong at lengths that grow."""


@pytest.mark.parametrize(
    ("program", "state", "target", "warned"),
    [
        (stack([gru_cell()], batch=1), "streaming", "litert", True),
        (stack([gru_cell()], batch=1), "explicit", "litert", True),
        (stack([gru_cell()], batch=1), "stateless", "litert", False),
        (stack([gru_cell()], batch=1), "streaming", "tflite-runtime", False),
        (stack([gru_cell()], batch=1, time=4), "streaming", "litert", False),
        (stack([lstm_cell()], batch=1), "streaming", "litert", False),
    ],
)
def test_the_report_warns_of_lengths_that_grow(program: Program, state: str, target: str, warned: bool) -> None:
    report = compile_program(program, ConvertOptions.parse(state=state, target=target)).report
    assert any("keep to chunks of one length" in note for note in report.notes) is warned


def outputs(pool: WorkerPool, runtime: Runtime, model: bytes, chunks: list[Array]) -> list[Array]:
    with pool.open(runtime, model) as running:
        (name,) = [spec.name for spec in running.signature.inputs]
        return [array for chunk in chunks for array in running.run({name: chunk}).values()]


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", SEEDS)
def test_chunks_of_one_length_are_exact_in_every_load(seed: int, pool: WorkerPool) -> None:
    network = draw(seed, batch=1 + 2 * (seed % 2))
    made = compiled(network, "streaming")
    assert made is not None
    assert made.report.chunks is not None
    rng = np.random.default_rng(seed)
    shape = (network.batch, 3 * made.report.chunks.multiple, 3)
    chunks = [rng.standard_normal(shape).astype(np.float32) for _ in GROWTH]
    expected = outputs(pool, PLAIN, made.model, chunks)
    for _ in range(LOADS):
        for x, y in zip(outputs(pool, DELEGATED, made.model, chunks), expected, strict=True):
            np.testing.assert_allclose(x, y, atol=2e-3)  # random recurrences amplify what the delegate rounds


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_files_without_states_are_exact_at_lengths_that_grow(seed: int, pool: WorkerPool) -> None:
    network = draw(seed, batch=1 + 2 * (seed % 2))
    model = compile_program(network.program()).model
    rng = np.random.default_rng(seed)
    lengths = [n for n in range(24, 200) if all(fits(n) for fits in network.lengths)]
    shapes = [(network.batch, lengths[steps], 3) for steps in GROWTH]
    sequences = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    expected = outputs(pool, PLAIN, model, sequences)
    for _ in range(LOADS):
        for x, y in zip(outputs(pool, DELEGATED, model, sequences), expected, strict=True):
            np.testing.assert_allclose(x, y, atol=2e-3)
