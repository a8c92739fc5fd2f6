from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tflite_rnn.runtime import INTERPRETERS, RUNTIMES, Runtime, installed_runtimes

_IMPORT = """
import sys
before = set(sys.modules)
import tflite_rnn.runtime
tflite_rnn.runtime.installed_runtimes()
packages = {name.partition(".")[0] for name in set(sys.modules) - before}
numpys = {name for name in packages if name.startswith(("_cython_", "cython_runtime"))}
print(*sorted(packages - set(sys.stdlib_module_names) - numpys))
"""


def test_importing_the_harness_imports_numpy_and_no_interpreter() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["converter", "numpy", "tflite_rnn"]


def test_there_are_three_interpreters_each_with_and_without_its_delegate() -> None:
    assert [runtime.label for runtime in RUNTIMES] == [
        "tflite-runtime",
        "tflite-runtime, no delegate",
        "ai-edge-litert",
        "ai-edge-litert, no delegate",
        "tf.lite",
        "tf.lite, no delegate",
    ]


def test_an_unknown_interpreter_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'onnx'.*tflite-runtime, ai-edge-litert, tf\.lite"):
        Runtime("onnx")


def test_installed_runtimes_have_the_versions_of_their_packages() -> None:
    found = installed_runtimes()
    version = importlib.metadata.version("ai-edge-litert")
    assert found[Runtime("ai-edge-litert")] == found[Runtime("ai-edge-litert", delegate=False)] == version
    assert list(found) == [runtime for runtime in RUNTIMES if runtime in found]


@pytest.mark.parametrize("leftover", [False, True], ids=["nothing", "an empty folder"])
def test_a_package_that_is_not_there_is_not_installed(
    leftover: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leftover:
        (tmp_path / "tflite_runtime").mkdir()
    for name in ("tensorflow", "tflite_runtime", "ai_edge_litert"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Path" in str(finder)])
    assert installed_runtimes() == {}


def test_a_package_without_metadata_has_an_unknown_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    for name in ("tensorflow", "tflite_runtime", "ai_edge_litert"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Path" in str(finder)])
    found = installed_runtimes()
    assert {runtime.interpreter for runtime in found} == {INTERPRETERS[0]}
    assert set(found.values()) == {"unknown"}
