"""What reading a Keras configuration would do: every name in it must be on the list of what only computes.

A configuration is the JSON that Keras writes: dictionaries with a ``class_name`` and a ``config``, nested. Keras
resolves such a name in several ways: among registered objects by ``registered_name``, in its own public modules by
``module`` and ``class_name``, and by importing ``module``. So all three are checked, together, before Keras sees
them; names of TensorFlow's functions are compared by the name that TensorFlow itself gives what they stand for.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from converter.errors import SourceError
from converter.importers.allowed_ops import PURE_OPS, RANDOM
from converter.importers.keras.allowed_names import ACTIVATIONS, CLASSES, DATA, FUNCTIONS, TF_FUNCTIONS

Json: TypeAlias = Any
Entry: TypeAlias = Mapping[str, Any]

DEPTH: Final = 200
"""How deep a configuration may be nested; those of real models are below 50."""

_MODULE = re.compile(
    r"(tf_keras|keras)(\.src|\.api|\._tf_keras\.keras)?"
    r"(\.(activations|constraints|dtype_policies|engine|initializers|layers|losses|metrics|mixed_precision|models"
    r"|ops|optimizers|random|regularizers)(\.[a-z0-9_]+)*)?"
)
"""Modules of Keras that hold what `CLASSES` and `FUNCTIONS` name."""


def parse_config(text: str | bytes, place: str) -> Json:
    """Return the configuration that a file holds as JSON. SourceError if it is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SourceError(f"{place}: damaged: its configuration is nested too deeply") from error
    except ValueError as error:
        raise SourceError(
            f"{place}: not a Keras model, or damaged: its configuration is not JSON: {error}"
        ) from error


def check_config(config: Json, place: str, custom_objects: Mapping[str, object]) -> None:
    """Raise SourceError if reading ``config`` would call or import something that is not on the lists.

    Args:
        config: the configuration of a model, parsed from JSON.
        place: what messages call the file.
        custom_objects: what the user gave by name, and so trusts.
    """
    for entry in _entries(config, place):
        reason = _danger(entry, custom_objects)
        if reason is not None:
            raise SourceError(
                f"{place}: {reason}; if you trust the file, convert it with safe_mode=False (--unsafe), or give "
                "what it names in custom_objects (--custom-object)"
            )


def _entries(config: Json, place: str) -> Iterator[Entry]:
    """Yield every dictionary in ``config``, outer ones first. SourceError if it is nested too deeply."""
    pending: list[tuple[Json, int]] = [(config, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > DEPTH:
            raise SourceError(f"{place}: damaged: its configuration is nested more than {DEPTH} levels deep")
        if isinstance(value, Mapping):
            yield value
            pending += [(inner, depth + 1) for inner in reversed(list(value.values()))]
        elif isinstance(value, list | tuple):
            pending += [(inner, depth + 1) for inner in reversed(value)]


def _danger(entry: Entry, custom_objects: Mapping[str, object]) -> str | None:
    """Return what reading a dictionary of a configuration would do; None if it only makes what is on the lists."""
    kind = entry.get("class_name")
    reason = _string_danger(entry, custom_objects)
    if reason is not None or kind is None:
        return reason
    if not isinstance(kind, str):
        return f"it names a class by {kind!r:.40}, which is not a name"
    if kind in _CODE:
        return _CODE[kind](entry, custom_objects)
    if kind == "function":
        return _unlisted(entry, str(entry.get("config")), FUNCTIONS, custom_objects)
    return _unlisted(entry, kind, CLASSES, custom_objects) or _inside(kind, entry)


def _string_danger(entry: Entry, custom_objects: Mapping[str, object]) -> str | None:
    """Return what the strings of a dictionary would do where Keras reads them as names."""
    for key, value in entry.items():
        if key.endswith("activation") and isinstance(value, str) and value not in ACTIVATIONS | {*custom_objects}:
            return f"it names the activation {value!r}, which is unknown"
        if key.endswith("_type") and value == "lambda":
            return f"its {key} says that Python code comes with the file"
    return f"it names the type {entry['spec_name']!r}" if "spec_name" in entry else None


# --- names ---------------------------------------------------------------------------------------------------


def _unlisted(entry: Entry, name: str, listed: frozenset[str], custom_objects: Mapping[str, object]) -> str | None:
    """Return why what an entry names may not be made; None if it is the user's own, or on the list."""
    if _is_custom(entry, name, custom_objects):
        return None
    module, registered = entry.get("module"), entry.get("registered_name")
    what = "function" if entry["class_name"] == "function" else "class"
    words = f"it names the {what} {name!r}" + ("" if module in _NOWHERE else f" of the module {module!r}")
    if name not in listed:
        other = isinstance(registered, str) and registered not in (name, "") and what == "class"
        called = f", registered as {registered!r}: that is its name as a custom object" if other else ""
        return f"{words}, which is not among Keras' own that are known to only compute{called}"
    if registered not in (None, "", name, "function"):
        return f"{words} by another name, {registered!r}"
    if module not in _NOWHERE and not (isinstance(module, str) and _MODULE.fullmatch(module)):
        return f"{words}, which is not Keras' own"
    return None


_NOWHERE = (None, "", "builtins")
"""Modules of what Keras finds by its name alone."""


def _is_custom(entry: Entry, name: str, custom_objects: Mapping[str, object]) -> bool:
    """Tell whether Keras will find what is named among the objects that the user gave, and nowhere else."""
    registered = entry.get("registered_name", name)
    if entry["class_name"] == "function" or isinstance(registered, str):
        return (name if entry["class_name"] == "function" else registered) in custom_objects
    # Keras looks in the module: it must have been imported already, and hold the user's object.
    found = getattr(sys.modules.get(str(entry.get("module"))), name, None)
    return name in custom_objects and found is custom_objects[name]


# --- layers that are more than their name --------------------------------------------------------------------


def _inside(kind: str, entry: Entry) -> str | None:
    """Return what the options of a listed layer would do; None if nothing but computing."""
    options = entry.get("config")
    if not isinstance(options, Mapping) or kind in DATA:
        return None
    check = _OPTIONS.get(kind)
    return None if check is None else check(options)


def _vocabulary(options: Entry) -> str | None:
    files = [value for key in ("vocabulary", "idf_weights") if isinstance(value := options.get(key), str)]
    return f"the layer {_name(options)} would read the file {files[0]!r}" if files else None


def _called_function(options: Entry) -> str | None:
    name = str(options.get("function"))
    if canonical_name(name) in TF_FUNCTIONS:
        return None
    return f"the layer {_name(options)} would call {name}, which is not known to only compute"


def _wrapped_op(options: Entry) -> str | None:
    op = _op_of_node(options.get("node_def"))
    if op in PURE_OPS | RANDOM:
        return None
    return f"the layer {_name(options)} would run the op {op}, which is not known to only compute"


def _op_of_node(node: Json) -> str:
    if isinstance(node, Mapping):
        return str(node.get("op"))
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import node_def_pb2

    parsed = node_def_pb2.NodeDef()
    try:
        parsed.ParseFromString(str(node).encode())
    except DecodeError:
        return "of a damaged node"
    return str(parsed.op)


_OPTIONS: Mapping[str, Callable[[Entry], str | None]] = MappingProxyType(
    {
        "IntegerLookup": _vocabulary,
        "SlicingOpLambda": _called_function,
        "StringLookup": _vocabulary,
        "TFOpLambda": _called_function,
        "TensorFlowOpLayer": _wrapped_op,
        "TextVectorization": _vocabulary,
    }
)


def _lambda_layer(entry: Entry, custom_objects: Mapping[str, object]) -> str | None:
    inner = entry.get("config")
    options = inner if isinstance(inner, Mapping) else {}
    function = options.get("function")
    name = function.get("config") if isinstance(function, Mapping) else function
    if isinstance(name, str) and name in custom_objects:
        return None
    return f"the Lambda layer {options.get('name', '')!r} would run Python code that comes with the file"


def _lambda(_: Entry, __: Mapping[str, object]) -> str:
    return "a function in it is Python code that comes with the file"


_CODE: Mapping[str, Callable[[Entry, Mapping[str, object]], str | None]] = MappingProxyType(
    {"Lambda": _lambda_layer, "__lambda__": _lambda}
)


def _name(options: Entry) -> str:
    return repr(options.get("name", ""))


def canonical_name(name: str) -> str:
    """Return the name that TensorFlow's API gives the function called ``name``; ``name`` if it knows none.

    Functions of TensorFlow 1 have the name of their successor, without ``compat.v1``.
    """
    from tensorflow.python.util import tf_export

    symbol = tf_export.get_symbol_from_name(name)
    canonical = None if symbol is None else tf_export.get_canonical_name_for_symbol(symbol)
    return (canonical or name).removeprefix("compat.v1.")
