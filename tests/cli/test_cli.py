"""The command line as its user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import tflite_rnn as rnn
from converter.convert import compile_program
from converter.flatbuffer import build_model
from converter.ir import Graph, Program, Signature, new_op
from converter.targets import TARGETS
from tests.faults.fused_files import one_step, sequence_lstm
from tests.programs import lstm_cell, stack, tensor
from tflite_rnn.cli import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return compile_program(stack([lstm_cell()])).save(tmp_path / "model.tflite")


def refused(*arguments: str | Path) -> str:
    """Run a command that must fail on its input; return its one message."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.output


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert [
        name for name in ("convert", "inspect", "targets", "check", "explain") if name not in result.output
    ] == []


# --- inspect ---------------------------------------------------------------------------------------------------


def test_inspect_shows_signature_ops_states_tensors_and_size(model: Path) -> None:
    result = run("inspect", model)
    assert result.exit_code == 0, result.output
    for words in (
        f"{model.stat().st_size:,} bytes",
        "made by tflite-rnn 0.1.0 for the target litert, state stateless",
        "signature serving_default",
        "float32[?,?,3]",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "layer_0/cell_state",
        "CONCATENATION, at every invoke",
    ):
        assert words in result.output


def test_inspect_shows_a_file_whose_metadata_is_damaged(model: Path) -> None:
    data = model.read_bytes()
    model.write_bytes(data.replace(b'"format":1', b'"format":9'))
    result = run("inspect", model)
    assert result.exit_code == 0, result.output
    assert "made by a newer version of tflite-rnn" in " ".join(result.output.split())
    assert "signature serving_default" in result.output


def test_inspect_says_why_a_malformed_file_cannot_be_converted(tmp_path: Path) -> None:
    x, y = tensor("x", 2), tensor("y", 2)
    graph = Graph("main", (x,), (y,), (new_op("ADD", [x], [y]),))
    path = tmp_path / "malformed.tflite"
    path.write_bytes(build_model(Program((graph,), (Signature("serving_default", ("x",), ("y",)),))))
    result = run("inspect", path)
    assert result.exit_code == 0, result.output
    assert "malformed model: ADD 'y' has 1 operands, expected 2" in " ".join(result.output.split())


def test_inspect_refuses_a_missing_file(tmp_path: Path) -> None:
    assert "no such file or directory" in refused("inspect", tmp_path / "none.tflite")


def test_inspect_refuses_a_directory(tmp_path: Path) -> None:
    assert "cannot read the file: Is a directory" in refused("inspect", tmp_path)


def test_inspect_refuses_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not a TFLite model" in refused("inspect", path)


@pytest.mark.parametrize("command", [["inspect"], ["check", "--against", "anything"]])
def test_a_truncated_file_is_refused(model: Path, command: list[str]) -> None:
    model.write_bytes(model.read_bytes()[:900])
    assert "damaged or truncated TFLite model (900 bytes)" in refused(command[0], model, *command[1:])


# --- convert and check -----------------------------------------------------------------------------------------


def test_convert_refuses_a_missing_source(tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    assert "no such file or directory" in refused("convert", tmp_path / "nothing", "-o", out)
    assert not out.exists()


@pytest.mark.tensorflow  # imported to tell sources apart
def test_convert_refuses_a_source_that_is_no_model(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("not a model")
    assert f"{source}: expected a SavedModel" in refused("convert", source, "-o", tmp_path / "o.tflite")


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--input-shapes", "x=1,2", "expected NAME:SIZE,SIZE,… with ? for open sizes, got 'x=1,2'"),
        ("--set", "keep_prob", "expected NAME=NUMBER, got 'keep_prob'"),
        ("--from", "onnx", "is not one of"),
    ],
)
def test_convert_refuses_words_that_it_cannot_read(
    tmp_path: Path, option: str, value: str, complaint: str
) -> None:
    result = CliRunner().invoke(main, ["convert", str(tmp_path), "-o", "out.tflite", option, value])
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())


def test_the_help_of_convert_is_one_screen() -> None:
    result = CliRunner().invoke(main, ["convert", "--help"], terminal_width=100)
    assert len(result.output.splitlines()) <= 48


@pytest.mark.tensorflow  # imported to tell sources apart
def test_convert_refuses_a_directory_that_is_no_saved_model(tmp_path: Path) -> None:
    assert "has no saved_model.pb" in refused("convert", tmp_path, "-o", tmp_path / "out.tflite")


@pytest.mark.parametrize("place", ["nowhere/out.tflite", "."])
def test_convert_refuses_an_output_that_cannot_be_written_before_any_work(tmp_path: Path, place: str) -> None:
    assert "cannot write the file" in refused("convert", tmp_path / "nothing", "-o", tmp_path / place)


def test_convert_refuses_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "report.json"
    message = refused("convert", tmp_path, "-o", tmp_path / "out.tflite", "--report", place)
    assert "report.json: cannot write the file" in message


def test_convert_without_output_is_a_usage_error(tmp_path: Path) -> None:
    result = run("convert", tmp_path)
    assert result.exit_code == 2
    assert "Missing option '-o'" in result.output


def test_check_refuses_inputs_that_are_no_archive(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "inputs.npz"
    broken.write_bytes(b"no archive")
    assert "expected an .npz file of input arrays" in refused(
        "check", model, "--against", tmp_path, "--inputs", broken
    )


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two SavedModels: ``good``, and ``refused`` for its linear activation."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("saved_models")
    for name, cell in (("good", rnn.LSTMCell(4)), ("refused", rnn.LSTMCell(4, activation="linear"))):
        module = tf.Module()
        module.cell = cell

        @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32, name="x")])
        def serve(x, cell=cell):
            outputs, state = rnn.dynamic_rnn(cell, x, dtype=tf.float32)
            return {"outputs": outputs, "c": state.c}

        tf.saved_model.save(module, str(root / name), signatures=serve)
    return root


@pytest.mark.runtime
def test_convert_then_check(saved_models: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.tflite"
    converted = run("convert", saved_models / "good", "-o", out)
    assert converted.exit_code == 0, converted.output
    assert "rnn/lstm_cell: lstm(units=4, activation=tanh) -> fused" in converted.output
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    inputs = tmp_path / "inputs.npz"
    x = (
        np.random.default_rng(0).standard_normal((30, 4, 3)).astype(np.float32)
    )  # too many sums to agree bit for bit
    np.savez(inputs, x=x)
    chosen = ("--runtime", "ai-edge-litert", "--inputs", inputs)
    agreed = run("check", out, "--against", saved_models / "good", *chosen)
    assert agreed.exit_code == 0, agreed.output
    assert "PASS: 2 of 2 rows ok" in agreed.output
    differed = run("check", out, "--against", saved_models / "good", *chosen, "--atol", "0", "--rtol", "0")
    assert differed.exit_code == 1, differed.output
    assert "FAIL" in differed.output


def test_the_report_is_written_as_json(saved_models: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "model.tflite", tmp_path / "report.json"
    done = run("convert", saved_models / "refused", "-o", out, "--report", report)
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    assert written["size"] == out.stat().st_size
    assert written["op_counts"]["WHILE"] >= 2
    (record,) = written["lowerings"]
    assert (record["name"], record["lowering"]) == ("rnn/lstm_cell", "while")
    assert [reason["rule"] for reason in record["refused"]] == ["lstm-activation"]


def test_a_refused_model_leaves_no_file(saved_models: Path, tmp_path: Path) -> None:
    message = refused("convert", saved_models / "refused", "-o", tmp_path / "out.tflite", "--lowering", "fused")
    assert "the fused LSTM has no linear activation [lstm-activation]" in message
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_works_and_is_quiet(saved_models: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.tflite"
    command = [
        str(Path(sys.executable).with_name("tflite-rnn")),
        "convert",
        str(saved_models / "good"),
        "-o",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"wrote {out}\n")


def test_targets_are_listed() -> None:
    result = run("targets")
    assert result.exit_code == 0
    for target in TARGETS:
        assert target in result.output


def test_a_file_that_leaks_is_mended(tmp_path: Path) -> None:
    leaky, fixed = tmp_path / "leaky.tflite", tmp_path / "fixed.tflite"
    leaky.write_bytes(sequence_lstm(lstm_cell()).data)
    shown = run("inspect", leaky)
    assert "state leaks from one invoke to the next (1 UNIDIRECTIONAL_SEQUENCE_LSTM)" in shown.output
    converted = run("convert", leaky, "-o", fixed)
    assert converted.exit_code == 0
    assert "note: the model brought fused recurrent ops" in converted.output
    assert "every invoke starts here like the first one of the original" in converted.output
    assert "state leaks" not in run("inspect", fixed).output


def test_a_file_that_sees_one_step_needs_a_word_on_its_state(tmp_path: Path) -> None:
    file, made = tmp_path / "step.tflite", tmp_path / "made.tflite"
    file.write_bytes(one_step("LSTM").data)
    assert "state is kept from one invoke to the next" in run("inspect", file).output
    assert "[state-undecided]" in refused("convert", file, "-o", made)
    for word in ("streaming", "stateless", "explicit"):
        assert run("convert", file, "-o", made, "--state", word).exit_code == 0


def test_inspect_judges_a_file_for_a_target(tmp_path: Path) -> None:
    fixed = compile_program(stack([lstm_cell()], time=3, batch=1)).save(tmp_path / "fixed.tflite")
    good = run("inspect", "--target", "tflm", fixed)
    assert (good.exit_code, "on tflm: compatible" in good.output) == (0, True)
    bad = run("inspect", "--target", "litert-compiled", fixed)
    assert (bad.exit_code, "[target-variable-tensors]" in bad.output) == (1, True)
