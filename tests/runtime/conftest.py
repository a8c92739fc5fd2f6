from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tflite_rnn.runtime import TFLITE_RUNTIME, Worker

ROOT = Path(__file__).parents[2]
FAKE_PACKAGES = Path(__file__).parent / "fake_packages"


@pytest.fixture
def fake_packages(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let worker processes import the stand-in for tflite-runtime: those of this process, and of its children."""
    monkeypatch.syspath_prepend(FAKE_PACKAGES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE_PACKAGES), str(ROOT)]))
    return FAKE_PACKAGES


@pytest.fixture
def fake_worker(fake_packages: Path) -> Iterator[Worker]:
    """A worker that runs the stand-in interpreter."""
    with Worker(TFLITE_RUNTIME) as worker:
        yield worker
