"""What ``import tflite_rnn`` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tflite_rnn


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_every_exported_name_has_a_home() -> None:
    assert sorted(tflite_rnn.__all__) == sorted(tflite_rnn._HOME)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        tflite_rnn.nonsense  # noqa: B018  # the access is the test


def test_the_module_itself_loads_nothing_heavy() -> None:
    done = python(
        "import sys, tflite_rnn; print([m for m in ('numpy', 'tensorflow', 'rich') if m in sys.modules])"
    )
    assert done.stdout == "[]\n"


def test_convert_is_the_function_and_runtime_the_module() -> None:
    from types import ModuleType

    assert callable(tflite_rnn.convert)
    assert isinstance(tflite_rnn.runtime, ModuleType)


def test_without_tensorflow_the_authoring_names_say_what_to_install() -> None:
    code = "import sys; sys.modules['tensorflow'] = None; import tflite_rnn; tflite_rnn.dynamic_rnn"
    done = python(code)
    assert done.returncode == 1
    assert "tflite_rnn.dynamic_rnn needs TensorFlow: pip install 'tflite-rnn[tensorflow]'" in done.stderr


def test_without_tensorflow_the_runtime_half_works() -> None:
    code = "import sys; sys.modules['tensorflow'] = None; import tflite_rnn; print(tflite_rnn.runtime.Runtime)"
    assert python(code).returncode == 0


def test_a_foreign_converter_is_reported_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "converter.py").write_text("")
    done = python("import sys; sys.path.insert(0, '.'); import tflite_rnn; tflite_rnn.convert", cwd=tmp_path)
    assert done.returncode == 1
    assert "another module of that name shadows it" in done.stderr
    assert "converter.py" in done.stderr
