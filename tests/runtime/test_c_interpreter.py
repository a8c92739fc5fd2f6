"""Streaming files in a C interpreter that allocates its tensors once: their reset works there, too."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.convert import compile_program
from converter.ir import Cell, evaluate
from converter.options import ConvertOptions
from models.archives import DownloadError, Wheel, fetch, read_member
from tests.programs import gru_cell, lstm_cell, program, recurrence, tensor

pytestmark = pytest.mark.download

WHEEL = Wheel(
    "pymicro-wakeword",
    "2.5.0",
    "3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c",
    tags="py3-none-manylinux_2_35_x86_64",
)
LIBRARY = "pymicro_wakeword/lib/libtensorflowlite_c.so"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TensorFlow Lite's C library, from a wheel that has it."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the C library is for Linux on x86-64")
    try:
        wheel = fetch(WHEEL)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs {WHEEL.name}: {error}")
    unpacked = tmp_path_factory.mktemp("c") / "libtensorflowlite_c.so"
    unpacked.write_bytes(read_member(wheel, LIBRARY))
    return unpacked


@pytest.mark.parametrize(("cell", "op"), [(lstm_cell(), "UNIDIRECTIONAL_SEQUENCE_LSTM"), (gru_cell(), "WHILE")])
def test_a_reset_begins_another_sequence_where_tensors_are_allocated_once(
    cell: Cell, op: str, library: Path, tmp_path: Path
) -> None:
    chunks = np.random.default_rng(0).standard_normal((4, 1, 2, 3)).astype(np.float32)
    part, whole = (tensor("x", 1, steps, 3) for steps in (2, 8))
    run, reference = (recurrence(cell, x, time_major=False) for x in (part, whole))
    options = ConvertOptions.parse(state="streaming", rename={"rnn_outputs": "y"})
    converted = compile_program(program([part], [run], [run.output]), options)
    assert op in converted.report.op_counts
    model, given, made = (tmp_path / name for name in ("model.tflite", "chunks.npy", "outputs.npy"))
    converted.save(model)
    np.save(given, chunks)
    script = Path(__file__).with_name("c_interpreter.py")
    command = [sys.executable, str(script), str(library), str(model), str(given), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    expected = evaluate(
        program([whole], [reference], [reference.output]), {"x": np.concatenate(list(chunks), axis=1)}
    )["rnn_outputs"]
    for outputs in np.load(made):
        np.testing.assert_allclose(np.concatenate(list(outputs), axis=1), expected, atol=1e-5)
