"""What tests of several folders share, and the markers that say what each of them needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.runtimes import SkippingPool, summary
from tflite_rnn.runtime import WorkerPool

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Worker processes that live as long as the test session: starting TensorFlow's takes seconds."""
    with SkippingPool() as workers:
        yield workers


def pytest_report_header() -> str:
    """Say which runtimes models are run on."""
    return summary()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out modules that cannot be imported without TensorFlow where it is not installed."""
    if HAS_TENSORFLOW or collection_path.suffix != ".py":
        return None
    return needs.imports_tensorflow(collection_path) or None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if not HAS_TENSORFLOW:
        modules = [path for path in Path(__file__).parent.rglob("test_*.py") if needs.imports_tensorflow(path)]
        terminalreporter.write_line(f"TensorFlow is not installed: {len(modules)} test modules are left out")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test with what its code needs."""
    if isinstance(item, pytest.Function):
        fixtures = item._fixtureinfo.name2fixturedefs
        functions = [definition.func for definitions in fixtures.values() for definition in definitions]
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for marker in sorted(needs.markers(fixtures, [item.obj, *functions, parameters])):
            item.add_marker(marker)


@pytest.fixture(autouse=True)
def only_what_is_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide TensorFlow and the interpreters from tests that are not marked as needing them."""
    marks = {mark.name for mark in request.node.iter_markers()}
    hidden = set() if "demo" in marks else set(needs.DEMO)
    if "runtime" not in marks:
        hidden |= needs.INTERPRETERS
        # Where workers run models, one of them may run TensorFlow's interpreter.
        hidden |= set() if "tensorflow" in marks else needs.TENSORFLOW
        if "fake_packages" not in request.fixturenames:
            monkeypatch.setattr("tflite_rnn.runtime.client._Child", _NoChild)
    for module in hidden:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.fixture(autouse=True)
def only_what_is_verified(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `tflite_rnn.convert` try what it made in tests that are marked with ``verifies``: it takes a second."""
    if request.node.get_closest_marker("verifies") is None:
        monkeypatch.setattr("tflite_rnn.conversion.verified", lambda converted, _: converted)


class _NoChild:
    """In place of a worker process in tests that are not marked with ``runtime``."""

    def __init__(self, interpreter: str) -> None:
        raise AssertionError(f"this test starts {interpreter} in a worker process: mark it with `runtime`")
