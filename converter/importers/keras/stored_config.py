"""The configuration in a file of an old Keras, adapted to tf_keras."""

from __future__ import annotations

from collections.abc import Mapping

from converter.importers.keras.allow_list import Json

CUDNN: Mapping[str, tuple[str, Mapping[str, Json]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}),
    "CuDNNGRU": (
        "GRU",
        {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "reset_after": True},
    ),
}
"""Layers that only run on cuDNN, with their portable equivalents."""


OLD_DEFAULTS: Mapping[str, Mapping[str, Json]] = {
    "LSTM": {"recurrent_activation": "hard_sigmoid"},
    "GRU": {"recurrent_activation": "hard_sigmoid", "reset_after": False},
}
"""Defaults of the Keras versions whose files may leave these options out."""


def for_keras2(config: Json) -> Json:
    """Return ``config`` adapted to tf_keras.

    Layers that only run on cuDNN become portable ones. Options that the first versions of Keras 2 omitted are
    added where their default has changed since.
    """
    if isinstance(config, Mapping):
        changed = {key: for_keras2(value) for key, value in config.items()}
        kind, options = str(changed.get("class_name")), changed.get("config")
        if kind in CUDNN and isinstance(options, Mapping):
            name, meant = CUDNN[kind]
            module = {"module": "keras.layers"} if "module" in changed else {}
            return {**changed, **module, "class_name": name, "config": {**options, **meant}}
        if kind in OLD_DEFAULTS and isinstance(options, Mapping):
            return {**changed, "config": {**OLD_DEFAULTS[kind], **options}}
        return changed
    if isinstance(config, list | tuple):
        return [for_keras2(value) for value in config]
    return config
