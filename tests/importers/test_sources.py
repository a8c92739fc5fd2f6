"""Sources by what they hold: frozen graphs, .tflite files, and files that are none of these."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tflite_rnn as rnn
from converter.importers.source import format_of
from converter.opening import open_source
from tests.frozen_graphs import DEPTH, frozen, frozen_lstm
from tflite_rnn.runtime import AI_EDGE_LITERT, MICRO, Runtime, WorkerPool

QUICK = [Runtime(AI_EDGE_LITERT)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "lstm.pb"
    path.write_bytes(frozen_lstm(keep_prob=True))
    return path


OPTIONS: dict[str, Any] = {"outputs": ("y", "h"), "constants": {"keep_prob": 1.0}}


def test_a_frozen_graph_is_converted_with_its_own_names(graph: Path, pool: WorkerPool) -> None:
    source = rnn.FrozenGraph(graph, **OPTIONS)
    converted = rnn.convert(source)
    assert [record.cell.partition("(")[0] for record in converted.report.lowerings] == ["lstm"]
    assert converted.program.signature.inputs == ("x", "n")
    assert set(converted.program.signature.outputs) == {"y", "h"}
    rng = np.random.default_rng(3)
    cases = [
        {"x": rng.standard_normal((2, 6, DEPTH)).astype(np.float32), "n": np.array(lengths, np.int32)}
        for lengths in ([6, 2], [3, 1])
    ]
    report = rnn.check(converted, source, inputs=cases, invokes=2, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_shapes_of_a_frozen_graphs_inputs_can_be_given(graph: Path) -> None:
    converted = rnn.convert(rnn.FrozenGraph(graph, **OPTIONS, input_shapes={"x": (2, 6, DEPTH), "n:0": (2,)}))
    assert [value.type.shape for value in converted.program.main.inputs] == [(2, 6, DEPTH), (2,)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "cannot tell which nodes are the outputs.*candidates: y, h"),
        ({"outputs": ("z",)}, "unknown output: z; candidates: .*"),
        ({"outputs": ("y",), "constants": {"keep": 1.0}}, "unknown constant: keep; candidates: keep_prob, x, n"),
        (
            {"outputs": ("y",), "constants": {"y": 1.0}},
            "cannot make y a constant: expected a placeholder, got Identity",
        ),
        (
            {"outputs": ("y",), "constants": {"keep_prob": "all"}},
            "cannot set keep_prob: expected a number of type float32, got 'all'",
        ),
        ({"outputs": ("y",)}, "the input keep_prob has no shape in the graph; set it"),
        (
            {"outputs": ("y",), "inputs": ("w",)},
            "unknown input: w; candidates: x, n, keep_prob",
        ),
        ({**OPTIONS, "input_shapes": {"w": (1,)}}, "unknown input in input_shapes: w"),
    ],
)
def test_what_does_not_fit_a_frozen_graph_is_refused(graph: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(rnn.SourceError, match=complaint):
        open_source(rnn.FrozenGraph(graph, **options))


def test_a_graph_with_variables_is_not_frozen(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder("float32", [2], name="x")
        tf.identity(x * tf.compat.v1.get_variable("w", [2], use_resource=False), name="y")
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(
        rnn.SourceError, match="not frozen: it reads the variable w, whose value is not in the file"
    ):
        open_source(rnn.FrozenGraph(path, outputs=("y",)))


def test_the_only_end_of_a_graph_is_its_output(tmp_path: Path) -> None:
    def build(tf1: Any) -> None:
        x = tf1.placeholder("float32", [2, 3], name="x")
        with tf1.control_dependencies([tf1.debugging.Assert(tf1.reduce_all(x < 9.0), [x], name="check")]):
            tf1.nn.softmax(x, name="probs")

    path = tmp_path / "graph.pb"
    path.write_bytes(frozen(build, ["probs"]))
    converted = rnn.convert(path)
    assert converted.program.signature.outputs == ("probs",)
    assert converted.report.op_counts == {"SOFTMAX": 1}


@pytest.mark.parametrize("batch", [2, None])
def test_the_loops_of_a_tflite_are_raised_and_lowered_anew(
    batch: int | None, tmp_path: Path, pool: WorkerPool
) -> None:
    import keras
    import tensorflow as tf

    layers = [keras.layers.Input((7, DEPTH), batch_size=batch), keras.layers.LSTM(4, return_sequences=True)]
    model = keras.Sequential(layers)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.allow_custom_ops = True
    converter._experimental_lower_tensor_list_ops = batch is not None
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    converted = rnn.convert(path)
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    (name,) = converted.program.signature.inputs
    x = np.random.default_rng(0).standard_normal((2, 7, DEPTH)).astype(np.float32)
    reference = path if batch else lambda inputs: {"output_0": np.asarray(model(inputs[name]))}
    report = rnn.check(converted, reference, inputs=[{name: x}], invokes=2, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)


def test_open_sizes_of_a_tflite_can_be_fixed_for_a_target_that_needs_them(pool: WorkerPool) -> None:
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((None, DEPTH)), keras.layers.LSTM(4, return_sequences=True)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.allow_custom_ops = True
    converter._experimental_lower_tensor_list_ops = False
    left = converter.convert()
    with pytest.raises(rnn.ConversionError, match="target-static-shapes"):
        rnn.convert(left, target="tflm")
    (name,) = rnn.convert(left).program.signature.inputs
    converted = rnn.convert(rnn.TfliteModel(left, input_shapes={name: (1, 7, DEPTH)}), target="tflm")
    assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    (output,) = converted.program.signature.outputs
    x = np.random.default_rng(0).standard_normal((1, 7, DEPTH)).astype(np.float32)
    report = rnn.check(
        converted,
        lambda inputs: {output: np.asarray(model(inputs[name]))},
        inputs=[{name: x}],
        pool=pool,
        runtimes=[Runtime(MICRO)],
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_export_of_a_keras_model_is_converted_by_its_loops(
    dynamic: bool, tmp_path: Path, pool: WorkerPool, capfd: pytest.CaptureFixture[str]
) -> None:
    import keras
    import tensorflow as tf

    time = None if dynamic else 7
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((time, DEPTH), name="x"), layers.LSTM(4, return_sequences=True), layers.GRU(3)]
    )
    model.export(str(tmp_path / "exported"), verbose=False)
    module = tf.Module()
    module.model = model
    signature = tf.function(
        lambda x: {"y": model(x), "twice": model(x * 2.0)},
        input_signature=[tf.TensorSpec([None, time, DEPTH], name="x")],
    )
    tf.saved_model.save(
        module,
        str(tmp_path / "saved"),
        signatures={"first": signature, "second": signature.get_concrete_function()},
    )
    for directory, key, cells in (("exported", None, 2), ("saved", "first", 4)):
        source = rnn.SavedModel(tmp_path / directory, signature_key=key)
        converted = rnn.convert(source)
        assert len(converted.report.lowerings) == cells, directory
        report = rnn.check(converted, source, invokes=1, pool=pool, runtimes=QUICK)
        assert report.ok, str(report)


# --- files that are no models --------------------------------------------------------------------------------


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file.getvalue()


NOISE = np.random.default_rng(0).bytes(400)
ALIENS = {
    "random .tflite": ("a.tflite", NOISE, "not a TFLite model"),
    "text": ("a.pb", b"node {\n}\n", "expected a SavedModel directory, .*, got a text file"),
    "nothing": ("a.pb", b"", "an empty file"),
    "part of a SavedModel": ("saved_model.pb", NOISE, "part of a SavedModel; give its directory"),
    "HDF5": ("a.pb", b"\x89HDF\r\n\x1a\n" + NOISE, "not a Keras model, or damaged"),
    "a Keras archive": ("a.keras", _zip("config.json", "metadata.json"), "not a Keras model, or damaged"),
    "a zip": ("a.pb", _zip("readme"), "a zip archive"),
}


@pytest.mark.tensorflow  # reads GraphDefs
def test_random_bytes_are_no_frozen_graph(tmp_path: Path) -> None:
    path = tmp_path / "a.pb"
    path.write_bytes(NOISE)
    with pytest.raises(rnn.TfliteRnnError, match="not a frozen graph, or damaged"):
        rnn.convert(path)


@pytest.mark.parametrize("what", ALIENS)
def test_a_file_of_another_kind_is_named(what: str, tmp_path: Path) -> None:
    name, content, complaint = ALIENS[what]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(rnn.TfliteRnnError, match=complaint) as caught:
        rnn.convert(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_named(graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pb"
    path.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(rnn.SourceError, match="damaged or truncated"):
        rnn.convert(path)
    path = tmp_path / "cut.tflite"
    path.write_bytes(rnn.convert(rnn.FrozenGraph(graph, **OPTIONS)).model[:-1000])
    with pytest.raises(rnn.SourceError, match="damaged or truncated"):
        rnn.convert(path)


def test_what_is_not_there_or_is_no_saved_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(rnn.SourceError, match="no such file or directory"):
        format_of(tmp_path / "missing")
    with pytest.raises(rnn.SourceError, match=r"has no saved_model\.pb"):
        format_of(tmp_path)
