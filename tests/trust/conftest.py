"""Every hostile file comes with a canary, and is read in the process that reads models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.canaries import Canary
from tests.trust.refusals import Hostility
from tflite_rnn.isolation import Isolation


@pytest.fixture(scope="session")
def reader() -> Iterator[Isolation]:
    """The process that reads models, the same one for all tests: starting one takes seconds."""
    with Isolation() as isolation:
        yield isolation


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    """A canary beside the hostile file."""
    folder = tmp_path / "canary"
    folder.mkdir()
    return Canary(folder)


@pytest.fixture
def hostility(reader: Isolation, canary: Canary) -> Hostility:
    """Meets a hostile file, and watches the canary meanwhile."""
    return Hostility(reader, canary)
