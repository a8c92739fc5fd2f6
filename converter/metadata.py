"""Metadata that the compiler stores in a file: one entry in JSON, which `tflite_rnn.runtime` reads.

``format`` is the version of these keys; a reader that knows it may skip keys that it does not know. ``compiler``
is the version of this package, ``target`` what the model was made for, and ``state`` where its state lives between
invokes. ``chunks`` is what a model on chunks promises (`converter.chunks`); it is left out where each invoke is a
whole sequence, or one step. ``mask_padding`` is where masked steps must be, ``max_steps`` the most steps of loops
where the user gave them. Equal options give equal bytes.
"""

from __future__ import annotations

import json

from converter import __version__
from converter.chunks import ChunkContract
from converter.options import ConvertOptions, MaskPadding

NAME = "tflite_rnn"
"""The name of the entry."""

FORMAT = 1


def encode_metadata(
    options: ConvertOptions, contract: ChunkContract | None, padding: MaskPadding | None = None
) -> bytes:
    """Return the entry of a model that was converted with ``options``, and keeps ``contract`` on chunks.

    ``padding`` is where its masked steps must be.
    """
    entry: dict[str, object] = {
        "format": FORMAT,
        "compiler": __version__,
        "target": options.target.value,
        "state": options.policy.value,
    }
    if contract is not None:
        entry["chunks"] = contract.to_dict()
    if padding is not None:
        entry["mask_padding"] = padding.value
    if options.max_steps:
        entry["max_steps"] = dict(options.max_steps)
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")
