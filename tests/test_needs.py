"""The markers of tests are what their code needs, and modules without TensorFlow can be imported without it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import tflite_rnn as rnn
from tests import frozen_graphs, needs
from tflite_rnn.testing import assert_parity


def imports_tensorflow() -> object:
    import tensorflow

    return tensorflow


def imports_a_part_of_it() -> object:
    from tensorflow.python.ops import rnn as loops

    return loops


def calls_one_that_does() -> object:
    return [imports_tensorflow() for _ in range(1)]


def calls_one_of_another_module() -> bytes:
    return frozen_graphs.frozen_lstm()


def authors() -> object:
    return rnn.LSTMCell(3)


def compares() -> object:
    return assert_parity(b"", b"")


def checks() -> object:
    return rnn.check(b"", b"")


def imports_check() -> object:
    from tflite_rnn import Report, check

    return Report, check


def imports_what_demos_use() -> object:
    import sklearn.datasets

    return sklearn.datasets


def converts() -> object:
    return rnn.convert(Path("model.tflite"))


NEEDS = {
    "imports_tensorflow": {"tensorflow"},
    "imports_a_part_of_it": {"tensorflow"},
    "calls_one_that_does": {"tensorflow"},
    "calls_one_of_another_module": {"tensorflow"},
    "authors": {"tensorflow"},
    "compares": {"runtime"},
    "checks": {"runtime"},
    "imports_check": {"runtime"},
    "imports_what_demos_use": {"demo"},
    "converts": set(),
}


@pytest.mark.parametrize("name", NEEDS)
def test_what_a_test_needs_is_read_off_its_code(name: str) -> None:
    assert needs.markers([], [globals()[name]]) == NEEDS[name]


def test_fixtures_and_parameters_are_read_too() -> None:
    assert needs.markers(["pool"], []) == {"runtime"}
    assert needs.markers([], [{"make": {"a": (globals()["imports_tensorflow"], 3)}}]) == {"tensorflow"}


def test_modules_are_followed_to_what_they_import() -> None:
    assert needs.imports_tensorflow(needs.ROOT / "tests/nn/cases.py")
    assert needs.imports_tensorflow(needs.ROOT / "tflite_rnn/nn/rnn.py")
    assert not needs.imports_tensorflow(needs.ROOT / "tests/frozen_graphs.py")
    assert not needs.imports_tensorflow(needs.ROOT / "converter/convert.py")


def test_a_test_without_markers_cannot_import_tensorflow_nor_an_interpreter() -> None:
    for module in sorted(needs.TENSORFLOW | needs.INTERPRETERS):
        with pytest.raises(ModuleNotFoundError):
            __import__(module)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed: this run itself shows it"
)
def test_where_tensorflow_is_not_installed_every_other_test_is_found() -> None:
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'tf_keras'):\n"
        "    sys.modules[name] = None\n"
        "import pytest\n"
        "sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', 'tests']))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=needs.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
