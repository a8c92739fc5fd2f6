"""Run TFLiteConverter, and explain its errors to the user."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from converter.errors import ConversionError


def convert_with(converter: Any, name: str, *, keep_lists: bool) -> bytes:
    """Return the model ``name`` as converted by a ``tf.lite.TFLiteConverter``, with CUSTOM ops where it has none.

    With ``keep_lists``, TensorFlow's lists of tensors stay as CUSTOM ops, so that their loops can be read.
    Raises ConversionError if it cannot convert the model.
    """
    from tensorflow.lite.python.convert import ConverterError

    converter.allow_custom_ops = True
    converter._experimental_lower_tensor_list_ops = not keep_lists
    try:
        return bytes(converter.convert())
    except (ConverterError, ValueError, RuntimeError) as error:
        raise _explained(str(error), name) from error


def forget_implementations(library: Any) -> bool:
    """Take the mark ``api_implements`` off the functions of a ``FunctionDefLibrary``; tell whether there was one.

    tf_keras marks what its LSTM layers compute. Once the batch is fixed, TFLiteConverter replaces such functions
    by fused ops that keep their state from one invoke to the next and clip it. Without the mark it converts the
    loops inside.
    """
    marked = [function for function in library.function if _IMPLEMENTS in function.attr]
    for function in marked:
        del function.attr[_IMPLEMENTS]
    return bool(marked)


def forget_saved_implementations(directory: Path) -> None:
    """Take the mark off all functions of a SavedModel; see `forget_implementations`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = directory / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    found = [forget_implementations(graph.graph_def.library) for graph in model.meta_graphs]
    if any(found):
        file.write_bytes(model.SerializeToString(deterministic=True))


_IMPLEMENTS = "api_implements"
_FAILURE = re.compile(r"error: (?:loc\(.*\): )?(.*)")


def _explained(message: str, name: str) -> ConversionError:
    """Return TFLiteConverter's error in terms of the user's model."""
    failures = dict.fromkeys(_FAILURE.findall(message)) or message.splitlines()[:1]
    reasons = "\n    ".join(list(failures)[:5])
    return ConversionError(f"{name}: TFLiteConverter cannot convert the ops around the recurrences: {reasons}")
