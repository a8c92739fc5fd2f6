"""SavedModel directories: the function behind one of their signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.errors import SourceError
from converter.importers.saved_model_check import check_saved_model
from converter.importers.source import SIGNATURE_KEY
from converter.importers.tf_function import FlatFunction, flatten_function


def load_function(directory: Path, *, signature_key: str | None = None, safe_mode: bool = True) -> FlatFunction:
    """Return the function of a SavedModel's signature, by default ``serving_default`` or the only one.

    Loading a SavedModel runs parts of it. In ``safe_mode`` one that would do more than compute is refused before.

    Raises SourceError if it is refused, cannot be loaded, or has no such signature.
    """
    if safe_mode:
        check_saved_model(directory)
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(directory))
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise SourceError(f"{directory}: TensorFlow cannot load this SavedModel: {_first_line(error)}") from error
    key = _choose(dict(model.signatures), signature_key, directory)
    return flatten_function(model.signatures[key], keepalive=model)


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
