"""Sources and errors as JSON, for the way to the child process and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from converter.errors import (
    ConversionError,
    InvalidProgramError,
    OptionError,
    Rejection,
    SourceError,
    TfliteRnnError,
)
from converter.rules import Rule
from converter.sources import FrozenGraph, KerasFile, SavedModel

FileSource: TypeAlias = SavedModel | FrozenGraph | KerasFile
"""The sources that are read in a process of their own."""

Json: TypeAlias = dict[str, Any]

_KINDS: Final[Mapping[str, type[FileSource]]] = {
    kind.__name__: kind for kind in (SavedModel, FrozenGraph, KerasFile)
}
_RULES: Final[Mapping[str, Rule]] = {rule.value: rule for rule in Rule}
_ERRORS: Final[Mapping[str, type[TfliteRnnError]]] = {
    kind.__name__: kind for kind in (SourceError, OptionError, InvalidProgramError, TfliteRnnError)
}


# --- sources ---------------------------------------------------------------------------------------------------


def describe_source(source: FileSource) -> Json | None:
    """Return a source as JSON; None if it brings objects that only exist in this process."""
    options: Json = {"input_shapes": _shapes(source.input_shapes), "safe_mode": source.safe_mode}
    options["max_steps"] = dict(source.max_steps or {})
    match source:
        case SavedModel():
            options["signature_key"] = source.signature_key
        case FrozenGraph():
            options |= {"inputs": _listed(source.inputs), "outputs": _listed(source.outputs)}
            options["constants"] = _numbers(source.constants)
        case KerasFile():
            objects = {name: name_of(given) for name, given in (source.custom_objects or {}).items()}
            if None in objects.values():
                return None
            options |= {"custom_objects": objects, "open_time": source.open_time}
    path = os.path.abspath(source.path)
    return {"kind": type(source).__name__, "path": path, "shown": os.fspath(source.path), "options": options}


def source_of(described: Json) -> FileSource:
    """Return the source that `describe_source` wrote down; its custom objects are imported."""
    options = dict(described["options"])
    if described["kind"] == KerasFile.__name__:
        options["custom_objects"] = {name: imported(place) for name, place in options["custom_objects"].items()}
    return _KINDS[described["kind"]](Path(described["path"]), **options)


def _shapes(shapes: Mapping[str, Sequence[int | None]] | None) -> dict[str, list[int | None]]:
    return {
        name: [None if size is None else int(size) for size in shape] for name, shape in (shapes or {}).items()
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _numbers(constants: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return constants as nested lists of numbers; whatever is none is refused where it is used."""
    return {name: np.asarray(number).tolist() for name, number in (constants or {}).items()}


def name_of(given: object) -> str | None:
    """Return ``module:attribute`` of a class or function that another process can import; None if it cannot."""
    module, attribute = getattr(given, "__module__", None), getattr(given, "__qualname__", None)
    if not module or not attribute or module == "__main__":
        return None
    found: object = sys.modules.get(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return f"{module}:{attribute}" if found is given else None


def imported(place: str) -> Any:
    """Return the object that ``module:attribute`` names. Errors of the import pass through."""
    import importlib
    import operator

    module, _, attribute = place.partition(":")
    return operator.attrgetter(attribute)(importlib.import_module(module))


# --- errors ----------------------------------------------------------------------------------------------------


def describe_error(error: TfliteRnnError) -> Json:
    """Return an error that is raised on purpose as JSON."""
    if isinstance(error, ConversionError):
        # The message holds the rejections, which are sent apart.
        message = str(error).partition("\n  ")[0] if error.rejections else str(error)
        rejections = [
            {"rule": one.rule.value, "op": one.op, "detail": one.detail, "hint": one.hint}
            for one in error.rejections
        ]
        return {"kind": "ConversionError", "message": message, "rejections": rejections}
    kind = next(name for name, kind in _ERRORS.items() if isinstance(error, kind))
    return {"kind": kind, "message": str(error)}


def error_of(described: Json) -> TfliteRnnError:
    """Return the error that `describe_error` wrote down."""
    if described["kind"] == "ConversionError":
        rejections = [
            Rejection(_RULES[one["rule"]], str(one["op"]), str(one["detail"]), str(one["hint"]))
            for one in described["rejections"]
        ]
        return ConversionError(str(described["message"]), rejections)
    return _ERRORS[str(described["kind"])](str(described["message"]))
