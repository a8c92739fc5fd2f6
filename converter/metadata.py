"""Metadata that the compiler stores in a file: one entry in JSON, which `tflite_rnn.runtime` reads.

``format`` is the version of these keys; a reader that knows it may skip keys that it does not know. ``compiler``
is the version of this package, ``target`` what the model was made for, and ``state`` where its state lives between
invokes. Equal options give equal bytes.
"""

from __future__ import annotations

import json

from converter import __version__
from converter.options import ConvertOptions

NAME = "tflite_rnn"
"""The name of the entry."""

FORMAT = 1


def encode_metadata(options: ConvertOptions) -> bytes:
    """Return the entry of a model that was converted with ``options``."""
    entry = {
        "format": FORMAT,
        "compiler": __version__,
        "target": options.target.value,
        "state": options.policy.value,
    }
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")
