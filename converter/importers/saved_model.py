"""SavedModel directories: the function behind one of their signatures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from converter.errors import SourceError
from converter.importers.saved_model_check import check_saved_model, read_saved_model
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tf_function import FlatFunction, flatten_function

REFERENCE_VARIABLES = frozenset({"Variable", "VariableV2"})
"""The variables that TensorFlow 1 makes unless it is told otherwise."""


def load_function(directory: Path, *, signature_key: str | None = None, safe_mode: bool = True) -> FlatFunction:
    """Return the function of a SavedModel's signature, by default ``serving_default`` or the only one.

    Loading a SavedModel runs parts of it. In ``safe_mode`` one that would do more than compute is refused before.

    Raises SourceError if it is refused, cannot be loaded, or has no such signature.
    """
    saved_model = check_saved_model(directory) if safe_mode else read_saved_model(directory)
    import tensorflow as tf

    meta_graphs = saved_model.meta_graphs
    try:
        if any(node.op in REFERENCE_VARIABLES for graph in meta_graphs for node in graph.graph_def.node):
            model = _load_frozen(directory, list(meta_graphs[0].meta_info_def.tags))
        else:
            model = tf.saved_model.load(str(directory))
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise SourceError(f"{directory}: TensorFlow cannot load this SavedModel: {_first_line(error)}") from error
    key = _choose(dict(model.signatures), signature_key, directory)
    return flatten_function(model.signatures[key], keepalive=model, name=str(directory))


def _load_frozen(directory: Path, tags: list[str]) -> Any:
    """Return a SavedModel of TensorFlow 1 with its variables as constants.

    They are reference variables, which TensorFlow 2 loads, but cannot freeze or save again.
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tf.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
        signatures = tf1.saved_model.load(session, tags, str(directory)).signature_def
        outputs = [tensor for signature in signatures.values() for tensor in signature.outputs.values()]
        nodes = list(dict.fromkeys(tensor.name.split(":")[0] for tensor in outputs if tensor.name))
        frozen = tf1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), nodes)
    with tempfile.TemporaryDirectory(prefix="tflite-rnn-") as temporary:
        copy = Path(temporary, "frozen")
        with tf.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
            tf1.import_graph_def(frozen, name="")
            builder = tf1.saved_model.Builder(str(copy))
            builder.add_meta_graph_and_variables(session, tags, dict(signatures))
            builder.save()
        return tf.saved_model.load(str(copy))


def _choose(signatures: dict[str, Any], wanted: str | None, directory: Path) -> str:
    keys = [str(key) for key in signatures]
    available = ", ".join(sorted(keys)) or "none"
    if wanted is not None and wanted not in keys:
        raise SourceError(f"{directory}: unknown signature {wanted!r}; the signatures are: {available}")
    if wanted is not None:
        return wanted
    if SIGNATURE_KEY in keys:
        return SIGNATURE_KEY
    if len(keys) != 1:
        raise SourceError(
            f"{directory}: cannot choose a signature (available: {available}); name one with "
            "signature_key (--signature-key), or save the model with one (tf.saved_model.save(..., "
            "signatures=...))"
        )
    return keys[0]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
