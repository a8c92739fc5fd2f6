from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tflite_rnn.runtime import TFLITE_RUNTIME, Worker

FAKE_PACKAGES = Path(__file__).parent / "fake_packages"


@pytest.fixture
def fake_packages(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let worker processes import the stand-in for tflite-runtime."""
    monkeypatch.setenv("PYTHONPATH", str(FAKE_PACKAGES))
    return FAKE_PACKAGES


@pytest.fixture
def fake_worker(fake_packages: Path) -> Iterator[Worker]:
    """A worker that runs the stand-in interpreter."""
    with Worker(TFLITE_RUNTIME) as worker:
        yield worker
