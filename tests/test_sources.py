"""Sources as values: checked when made, told from what stands for them, and read without what they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from converter.convert import compile_program
from converter.sources import as_source
from tests.programs import lstm_cell, stack

WRONG: dict[str, tuple[Any, str]] = {
    "a path": (lambda: rnn.SavedModel(3), r"SavedModel: path: expected a path .*, got 3"),
    "a signature": (
        lambda: rnn.SavedModel("d", signature_key=1),
        "signature_key: expected the name",
    ),
    "a name for a list": (
        lambda: rnn.FrozenGraph("a.pb", outputs="probs"),
        r"FrozenGraph: outputs: expected a list of names, as in \[\"probs\"\], got 'probs'",
    ),
    "numbers as names": (lambda: rnn.FrozenGraph("a.pb", inputs=[1]), "inputs: expected a list of names"),
    "constants": (lambda: rnn.FrozenGraph("a.pb", constants=["k"]), "constants: expected a mapping from names"),
    "objects": (lambda: rnn.KerasFile("a.keras", custom_objects={1: 2}), "custom_objects: expected a mapping"),
    "a word for a flag": (lambda: rnn.KerasFile("a.keras", safe_mode="no"), "safe_mode: expected True or False"),
    "no model": (lambda: rnn.KerasModel(3), "KerasModel: model: expected a model of Keras 3 or tf_keras, got 3"),
    "no function": (lambda: rnn.Function("f"), "Function: function: expected a tf.function"),
    "a .tflite": (lambda: rnn.TfliteModel(3), "TfliteModel: model: expected the path or the bytes of a .tflite"),
    "shapes": (lambda: rnn.TfliteModel("a", input_shapes=[3]), "input_shapes: expected a mapping from names"),
    "a shape": (
        lambda: rnn.TfliteModel("a", input_shapes={"x": 3}),
        r"input_shapes\['x'\]: expected a list of sizes",
    ),
    "a size": (
        lambda: rnn.TfliteModel("a", input_shapes={"x": (1, -1)}),
        r"input_shapes\['x'\]: expected sizes of at least 1, None where a size stays open, got -1",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_source_is_checked_when_it_is_made(what: str) -> None:
    make, complaint = WRONG[what]
    with pytest.raises(rnn.OptionError, match=complaint) as caught:
        make()
    assert isinstance(caught.value, rnn.TfliteRnnError)
    assert "\n" not in str(caught.value)


def test_sizes_may_be_of_numpy() -> None:
    shapes = {"x": (np.int64(2), None)}
    assert rnn.SavedModel("d", input_shapes=shapes).input_shapes == shapes


@pytest.mark.parametrize("given", [3, None, [1]])
def test_what_stands_for_no_source_is_refused(given: object) -> None:
    with pytest.raises(rnn.SourceError, match=r"expected a model to read, got .*; give a path, a tf.function"):
        rnn.convert(given)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"lowering": "fastest"}, "lowering: expected one of auto, fused, while, unrolled, got 'fastest'"),
        ({"target": ["tflm"]}, r"target: expected one of litert"),
        ({"pair_directions": "yes"}, "pair_directions: expected True or False, got 'yes'"),
        ({"rename": ["x"]}, r"rename: expected new names by old ones"),
        ({"rename": {"x": ""}}, "rename: expected new names by old ones"),
    ],
)
def test_options_of_convert_are_checked_before_the_source_is_read(options: Any, complaint: str) -> None:
    with pytest.raises(rnn.OptionError, match=complaint):
        rnn.convert("nothing", **options)


# --- .tflite files, which need no TensorFlow ---------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return compile_program(stack([lstm_cell()])).save(tmp_path / "model.tflite")


def test_paths_and_bytes_are_told_by_their_content(model: Path) -> None:
    assert isinstance(as_source(model), rnn.TfliteModel)
    assert isinstance(as_source(str(model)), rnn.TfliteModel)
    assert isinstance(as_source(model.read_bytes()), rnn.TfliteModel)
    source = rnn.TfliteModel(model)
    assert as_source(source) is source


def test_open_sizes_of_a_tflite_can_be_fixed(model: Path) -> None:
    for given in (model, model.read_bytes()):
        converted = rnn.convert(rnn.TfliteModel(given, input_shapes={"x": (5, 2, 3)}))
        assert converted.program.main.inputs[0].type.shape == (5, 2, 3)


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        ({"x": (5, 2, 4)}, "cannot set dimension 2 of x to 4: the file fixes it to 3"),
        ({"x": (5, 2, None)}, "cannot set dimension 2 of x to unknown: the file fixes it to 3"),
        ({"x": (5, 2)}, r"cannot fix the shape of x: expected 3 dimensions, got \(5, 2\)"),
        ({"y": (1,)}, "unknown input y; the inputs are x"),
    ],
)
def test_fixed_sizes_of_a_tflite_cannot_be_changed(model: Path, shapes: Any, complaint: str) -> None:
    with pytest.raises(rnn.SourceError, match=complaint) as caught:
        rnn.convert(rnn.TfliteModel(model, input_shapes=shapes))
    assert str(model) in str(caught.value)


def test_a_tflite_converts_without_tensorflow(model: Path) -> None:
    code = f"""
import sys
import tflite_rnn as rnn
converted = rnn.convert({str(model)!r})
rnn.convert(rnn.TfliteModel({str(model)!r}, input_shapes={{"x": (5, 2, 3)}}))
print([name for name in ("tensorflow", "keras", "tf_keras") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.runtime
def test_a_tflite_is_checked_against_another_without_tensorflow(model: Path) -> None:
    code = f"""
import sys
import tflite_rnn as rnn
from tflite_rnn.runtime import AI_EDGE_LITERT, Runtime
loop = rnn.convert({str(model)!r}).model
report = rnn.check(loop, {str(model)!r}, runtimes=[Runtime(AI_EDGE_LITERT)], invokes=2)
print(report.ok, [name for name in ("tensorflow", "keras", "tf_keras") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("True []\n", 0), done.stderr
