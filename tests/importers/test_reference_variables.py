"""SavedModels of TensorFlow 1, whose variables are reference variables unless it was told otherwise."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from converter.convert import compile_source
from converter.errors import SourceError
from converter.sources import SavedModel
from tests.frozen_graphs import control_flow_v1
from tests.runtimes import QUICK
from tflite_rnn import check
from tflite_rnn.runtime import WorkerPool


def saved(folder: Path, *, signatures: tuple[str, ...], is_recurrent: bool) -> Path:
    """A model of x [2, 4, 3]; each signature after the first one gives twice as much."""
    import tensorflow as tf
    from tensorflow.python.ops import rnn, rnn_cell_impl

    tf1: Any = tf.compat.v1
    with control_flow_v1(), warnings.catch_warnings(), tf.Graph().as_default() as graph:
        warnings.simplefilter("ignore")  # deprecated since TensorFlow 2
        tf1.set_random_seed(3)
        x = tf1.placeholder("float32", [2, 4, 3], name="x")
        with tf1.variable_scope("model", use_resource=False):
            if is_recurrent:
                y, _ = rnn.dynamic_rnn(rnn_cell_impl.BasicLSTMCell(4), x, dtype="float32")
            else:
                y = tf.tanh(tf.tensordot(x, tf1.get_variable("w", [3, 2]), 1))
        outputs = [y * 2.0**number for number in range(len(signatures))]
        with tf1.Session(graph=graph) as session:
            session.run(tf1.global_variables_initializer())
            defined = {
                key: tf1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": output})
                for key, output in zip(signatures, outputs, strict=True)
            }
            builder = tf1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=defined)
            builder.save()
    return folder


@pytest.mark.parametrize("is_recurrent", [False, True], ids=["dense", "lstm"])
@pytest.mark.parametrize(
    ("signatures", "key"),
    [(("serving_default",), None), (("predict",), None), (("one", "two"), "one"), (("one", "two"), "two")],
)
def test_reference_variables_are_constants(
    signatures: tuple[str, ...], key: str | None, is_recurrent: bool, tmp_path: Path, pool: WorkerPool
) -> None:
    folder = saved(tmp_path / "model", signatures=signatures, is_recurrent=is_recurrent)
    source = SavedModel(folder, signature_key=key)
    converted = compile_source(source)
    if is_recurrent:
        assert converted.report.op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    report = check(converted, source, runtimes=QUICK, pool=pool)
    assert report.ok, str(report)


def test_the_signatures_are_named_if_none_is_chosen(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", signatures=("one", "two"), is_recurrent=False)
    with pytest.raises(SourceError, match="available: one, two"):
        compile_source(SavedModel(folder))
