"""What TensorFlow 1's own dynamic_rnn writes, frozen: its cells are recognised, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.convert import compile_source
from converter.opening import open_in_tensorflow
from converter.sources import FrozenGraph
from tests.recognition.frozen_recurrences import BATCH, TIME, Variant, random_case, variants, write_frozen
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

VARIANTS = variants()
SAMPLE = (
    "lstm everything",
    "lstm lengths",
    "lstm flat state",
    "gru lengths fixed",
    "rnn softplus",
    "stack mixed lengths state",
    "residual stack lengths",
    "both directions lengths",
)
SIZES = ((5, 2), (1, 1), (9, 4), (5, 2))


def _check(variant: Variant, directory: Path, pool: WorkerPool) -> None:
    path = directory / "graph.pb"
    inputs, outputs = write_frozen(variant, path)
    graph = FrozenGraph(path, inputs=inputs, outputs=outputs)
    converted = compile_source(graph)
    lowerings = converted.report.lowerings
    assert sorted(record.cell for record in lowerings) == sorted(variant.cells)
    assert sum(record.lowering in ("fused", "bidirectional") for record in lowerings) == variant.fused
    source = open_in_tensorflow(graph)
    main = converted.program.main
    shapes = {
        name: value.type.shape or ()
        for name, value in zip(converted.program.signature.inputs, main.inputs, strict=True)
    }
    rng = np.random.default_rng(0)
    sizes = dict.fromkeys((variant.time or time, variant.batch or batch) for time, batch in SIZES)
    cases = [random_case(rng, shapes, variant, time, batch) for time, batch in sizes]
    report = compare(converted.model, source, cases, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", SAMPLE)
def test_cells_of_a_frozen_graph_are_recognised(name: str, tmp_path: Path, pool: WorkerPool) -> None:
    _check(VARIANTS[name], tmp_path, pool)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in SAMPLE])
def test_every_cell_of_every_frozen_graph_is_recognised(name: str, tmp_path: Path, pool: WorkerPool) -> None:
    _check(VARIANTS[name], tmp_path, pool)


def test_the_matrix_is_wide() -> None:
    assert len(VARIANTS) >= 40
    assert {BATCH, TIME} == {3, 6}
