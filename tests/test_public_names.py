"""The names users may rely on, and that each of them explains itself."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import tflite_rnn
from tflite_rnn import nn

CELLS = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "CoupledInputForgetGateLSTMCell",
    "CudnnCompatibleGRUCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "GRUCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "MultiRNNCell",
    "ResidualWrapper",
    "TFLiteLSTMCell",
    "TfLiteRNNCell",
]
FUNCTIONS = [
    "bidirectional_dynamic_rnn",
    "dynamic_rnn",
    "raw_rnn",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
]
SOURCES = ["FrozenGraph", "Function", "KerasFile", "KerasModel", "SavedModel", "TfliteModel"]
COMPILER = [
    "ConversionError",
    "Converted",
    "OptionError",
    "ParityReport",
    "Rejection",
    "Report",
    "Rule",
    "SourceError",
    "TfliteRnnError",
    "VerificationError",
    "check",
    "convert",
]
MODULES = ["nn", "runtime", "testing"]


def test_the_public_names_are_these():
    assert sorted(tflite_rnn.__all__) == sorted([*CELLS, *FUNCTIONS, *SOURCES, *COMPILER, *MODULES])
    assert sorted(nn.__all__) == sorted([*CELLS, *FUNCTIONS, "RNNCell", "lite"])


def test_every_public_name_is_there_and_listed_once():
    for module in (tflite_rnn, nn):
        assert len(module.__all__) == len(set(module.__all__))
        assert set(module.__all__) <= set(dir(module))
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_the_package_offers_the_lite_flavour_and_the_same_objects_otherwise():
    for name in [*CELLS, *FUNCTIONS]:
        home = nn.lite if name in {"dynamic_rnn", "bidirectional_dynamic_rnn"} else nn
        assert getattr(tflite_rnn, name) is getattr(home, name), name
    assert nn.dynamic_rnn is not nn.lite.dynamic_rnn
    assert nn.bidirectional_dynamic_rnn is not nn.lite.bidirectional_dynamic_rnn


@pytest.mark.parametrize("function", [getattr(nn, name) for name in FUNCTIONS], ids=FUNCTIONS)
def test_every_function_documents_every_parameter_its_shapes_results_and_errors(function):
    assert_documents(function)


@pytest.mark.parametrize("name", ["dynamic_rnn", "bidirectional_dynamic_rnn"])
def test_the_lite_functions_document_themselves(name):
    assert_documents(getattr(nn.lite, name))


def assert_documents(function):
    text = inspect.getdoc(function)
    for section in ("Args:", "Returns:", "Raises:", "batch, ", "TypeError", "ValueError"):
        assert section in text, section
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in text or f"{parameter} and" in text, parameter


@pytest.mark.parametrize("name", [name for name in [*CELLS, "RNNCell"] if name != "LSTMStateTuple"])
def test_every_cell_documents_its_arguments_and_its_step(name):
    cell = getattr(nn, name)
    text = inspect.getdoc(cell)
    assert "Args:" in text
    for parameter in list(inspect.signature(cell.__init__).parameters)[1:]:
        assert f"{parameter}:" in text, parameter
    assert "batch" in inspect.getdoc(cell.call) or "step" in inspect.getdoc(cell.call)


@pytest.mark.parametrize("name", [*SOURCES, *COMPILER])
def test_the_rest_of_the_package_is_documented(name):
    assert len(inspect.getdoc(getattr(tflite_rnn, name)).split()) > 5
    if name in {"check", "convert"}:
        text = inspect.getdoc(getattr(tflite_rnn, name))
        assert "Args:" in text
        assert "Raises:" in text


def test_pydoc_reads_as_a_manual():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pydoc", "tflite_rnn"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    manual = result.stdout
    for heading in ("NAME", "DESCRIPTION", "CLASSES", "FUNCTIONS"):
        assert f"\n{heading}\n" in f"\n{manual}", heading
    for name in CELLS:
        assert f"class {name}(" in manual, name
    for name in [*FUNCTIONS, "check", "convert"]:
        assert f"    {name}(" in manual, name
    assert "time_major: the layout of inputs and outputs." in manual


def test_importing_the_package_alone_does_not_import_tensorflow():
    code = "import sys, tflite_rnn; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["dynamic_rnn", "bidirectional_dynamic_rnn"])
def test_both_flavours_say_first_which_layout_they_take_and_name_the_other(name):
    for function, layout, other in (
        (getattr(tflite_rnn, name), "time-major inputs [time, batch, ...]", f"`tflite_rnn.nn.{name}` takes batch"),
        (getattr(nn, name), "batch-major inputs [batch, time, ...]", f"`tflite_rnn.{name}` takes time"),
    ):
        first, *rest = inspect.getdoc(function).splitlines()
        assert layout in first
        assert other in " ".join([first, *rest[:3]])
