"""Run TFLiteConverter, and explain its errors to the user."""

from __future__ import annotations

import re
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


_FAILURE = re.compile(r"error: (?:loc\(.*\): )?(.*)")


def _explained(message: str, name: str) -> ConversionError:
    """Return TFLiteConverter's error in terms of the user's model."""
    failures = dict.fromkeys(_FAILURE.findall(message)) or message.splitlines()[:1]
    reasons = "\n    ".join(list(failures)[:5])
    return ConversionError(f"{name}: TFLiteConverter cannot convert the ops around the recurrences: {reasons}")
