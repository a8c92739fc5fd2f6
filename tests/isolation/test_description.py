"""Sources and errors as JSON, to the process that reads models and back."""

from __future__ import annotations

import collections
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from tflite_rnn.isolation.description import (
    FileSource,
    describe_error,
    describe_source,
    error_of,
    name_of,
    source_of,
)

SOURCES: list[FileSource] = [
    SavedModel("model", signature_key="embed", input_shapes={"x": (1, None, 80)}),
    FrozenGraph("graph.pb", inputs=["x"], outputs=("y",), constants={"keep_prob": np.float32(1.0)}),
    KerasFile("model.keras", custom_objects={"Counter": collections.Counter}, safe_mode=False),
    SavedModel(Path("model")),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_a_source_arrives_with_its_options(source: FileSource) -> None:
    described = describe_source(source)
    assert described is not None
    arrived = source_of(json.loads(json.dumps(described)))
    assert type(arrived) is type(source)
    assert Path(arrived.path) == Path(source.path).absolute()
    for field in fields(source):
        if field.name != "path":
            assert plain(getattr(arrived, field.name)) == plain(getattr(source, field.name)), field.name


def plain(option: Any) -> Any:
    """An option as it is after JSON: nothing given and an empty mapping mean the same."""
    if isinstance(option, dict):
        return {key: plain(value) for key, value in option.items()} or None
    return list(option) if isinstance(option, tuple) else option or None


def test_custom_objects_of_this_process_alone_cannot_be_named() -> None:
    class Local:
        pass

    assert describe_source(KerasFile("model.keras", custom_objects={"Local": Local})) is None
    assert describe_source(KerasFile("model.keras", custom_objects={"f": lambda x: x})) is None
    assert name_of(collections.OrderedDict) == "collections:OrderedDict"
    assert name_of(object()) is None


@pytest.mark.parametrize(
    "error",
    [
        SourceError("model: damaged"),
        OptionError("state: expected a state"),
        InvalidProgramError("a bug"),
        TfliteRnnError("something"),
        ConversionError("cannot convert the model"),
        ConversionError("two reasons", [Rejection(Rule.FLOAT32_ONLY, "cell", "seen", "hint")] * 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was_raised(error: TfliteRnnError) -> None:
    arrived = error_of(json.loads(json.dumps(describe_error(error))))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    if isinstance(error, ConversionError) and isinstance(arrived, ConversionError):
        assert arrived.rejections == error.rejections
