"""The configuration in a Keras file: check what loading it would run, and adapt old ones to tf_keras.

A configuration is the JSON that Keras writes: dictionaries with a ``class_name`` and a ``config``, nested.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from converter.errors import SourceError

Json: TypeAlias = Any

FUNCTION_MODULES = frozenset({"activations", "builtins", "constraints", "initializers", "losses", "metrics"})
"""Last parts of the names of modules whose functions a file may use."""

FOREIGN_OPS = frozenset({"io", "numpy_function", "py_func", "py_function", "raw_ops"})
"""Parts of names of TensorFlow functions that do more than compute."""

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


def check_safe(config: Json, place: str, custom_objects: Collection[str]) -> None:
    """Raise SourceError if loading ``config`` would run code from the file, or from modules outside of Keras."""
    for entry in _objects(config):
        reason = _danger(entry, custom_objects)
        if reason is not None:
            raise SourceError(
                f"{place}: {reason}; if you trust the file, read it with safe_mode=False (--unsafe), or give "
                "what it names in custom_objects (--custom-object)"
            )


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


def _objects(config: Json) -> Iterator[Mapping[str, Any]]:
    """Yield every dictionary with a class name, outer ones first."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _objects(value)


def _danger(entry: Mapping[str, Any], custom_objects: Collection[str]) -> str | None:
    kind, inner = str(entry["class_name"]), entry.get("config")
    options = inner if isinstance(inner, Mapping) else {}
    if kind == "Lambda":
        function = options.get("function")
        name = function.get("config") if isinstance(function, Mapping) else function
        if isinstance(name, str) and name in custom_objects:
            return None
        return f"the Lambda layer {options.get('name', '')!r} would run Python code that is stored in the file"
    if kind == "__lambda__":
        return "one of its functions is Python code that is stored in the file"
    if kind == "TFOpLambda" and FOREIGN_OPS & set(str(options.get("function", "")).split(".")):
        return (
            f"the layer {options.get('name', '')!r} would call {options.get('function')}, which does "
            "more than compute tensors"
        )
    return _foreign_module(entry, kind, custom_objects)


def _foreign_module(entry: Mapping[str, Any], kind: str, custom_objects: Collection[str]) -> str | None:
    """Return why the module that an entry would import is refused, None if it is allowed."""
    module, registered = entry.get("module"), entry.get("registered_name")
    name = str(entry.get("config")) if kind == "function" else kind
    if module is None or {name, str(registered)} & set(custom_objects):
        return None
    parts = str(module).split(".")
    if kind == "function" and parts[-1] not in FUNCTION_MODULES:
        return f"it uses the function {name!r} of the module {module!r}, which is not part of Keras"
    if parts[0] not in ("builtins", "keras", "tf_keras"):
        return f"it uses the class {name!r} of the module {module!r}, which is not part of Keras"
    return None
