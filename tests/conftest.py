"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tflite_rnn.runtime import WorkerPool


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Worker processes that live as long as the test session: starting TensorFlow's takes seconds."""
    with WorkerPool() as workers:
        yield workers
