"""The options that say how to read a source, the same for ``convert SOURCE`` and ``check --against SOURCE``."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from converter.errors import OptionError
from converter.files import check_readable
from converter.importers.source import FROZEN_GRAPH, KERAS, SAVED_MODEL, TFLITE, format_of
from converter.sources import FrozenGraph, KerasFile, SavedModel, TfliteModel
from tflite_rnn.cli.words import constants_of, names_of, objects_of, shapes_of, steps_of
from tflite_rnn.console import import_tensorflow
from tflite_rnn.isolation.limits import DEFAULT_MEMORY, DEFAULT_TIMEOUT

T = TypeVar("T")

FileSource: TypeAlias = SavedModel | KerasFile | FrozenGraph | TfliteModel

AUTO = "auto"
FORMATS = (AUTO, SAVED_MODEL, KERAS, FROZEN_GRAPH, TFLITE)
WORDS = {
    SAVED_MODEL: "a SavedModel",
    KERAS: "a Keras file",
    FROZEN_GRAPH: "a frozen graph",
    TFLITE: "a .tflite",
}


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """The options of a source as given on the command line; options that were not given are falsy."""

    source_format: str = AUTO
    signature_key: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    custom_objects: Mapping[str, str] = field(default_factory=dict)
    max_steps: Mapping[str, int] = field(default_factory=dict)
    unsafe: bool = False
    timeout: float = DEFAULT_TIMEOUT
    memory_limit: int = DEFAULT_MEMORY
    node_flag: str = "--inputs"

    def source_at(self, path: Path) -> FileSource:
        """Return the source at ``path``, which must exist.

        Raises SourceError if the path is not a model; OptionError for options of another kind of source, or a
        custom object that cannot be imported.
        """
        check_readable(path)
        kind = format_of(path) if self.source_format == AUTO else self.source_format
        self._check_kind(kind, path)
        return replace(self._source_of(kind, path), max_steps=self.max_steps or None)

    def _source_of(self, kind: str, path: Path) -> FileSource:
        shapes = self.input_shapes or None
        if kind == TFLITE:
            return TfliteModel(path, input_shapes=shapes)
        if kind == SAVED_MODEL:
            key = self.signature_key
            return SavedModel(path, signature_key=key, safe_mode=not self.unsafe, input_shapes=shapes)
        if kind == KERAS:
            if self.custom_objects:
                import_tensorflow()  # quietly: their modules import it
            objects = {name: _imported(name, place) for name, place in self.custom_objects.items()}
            return KerasFile(path, custom_objects=objects, safe_mode=not self.unsafe, input_shapes=shapes)
        return FrozenGraph(
            path,
            inputs=self.inputs or None,
            outputs=self.outputs or None,
            constants=self.constants or None,
            safe_mode=not self.unsafe,
            input_shapes=shapes,
        )

    def _check_kind(self, kind: str, path: Path) -> None:
        """Raise OptionError for an option of another kind of source."""
        for flag, given, meant in (
            ("--signature-key", self.signature_key, SAVED_MODEL),
            (self.node_flag, self.inputs, FROZEN_GRAPH),
            ("--outputs", self.outputs, FROZEN_GRAPH),
            ("--set", self.constants, FROZEN_GRAPH),
            ("--custom-object", self.custom_objects, KERAS),
        ):
            if given and kind != meant:
                raise OptionError(
                    f"{flag} is an option of {WORDS[meant]}, but {path} is {WORDS[kind]}; leave it out, or "
                    "correct the kind with --from"
                )
        if self.unsafe and kind == TFLITE:
            raise OptionError(f"--unsafe: {path} is {WORDS[kind]}, which is never run by TensorFlow; leave it out")


def source_options(node_flag: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that adds the options of a source; the command gets them as ``flags``, its first
    argument.

    ``node_flag`` names the input nodes of a frozen graph: ``--inputs`` where no other inputs are given.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def with_flags(**options: Any) -> T:
            given = {each.name: options.pop(each.name) for each in fields(SourceFlags) if each.name in options}
            return command(SourceFlags(node_flag=node_flag, **given), **options)

        decorated: Callable[..., T] = with_flags
        for option in reversed((*_OPTIONS[:2], _input_nodes(node_flag), *_OPTIONS[2:])):
            decorated = option(decorated)
        return decorated

    return decorate


def _input_nodes(flag: str) -> Callable[[Any], Any]:
    return click.option(
        flag,
        "--input_arrays",
        "inputs",
        metavar="A,B",
        callback=names_of,
        help="Input nodes of a frozen graph; its placeholders by default.",
    )


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--from",
        "source_format",
        default=AUTO,
        type=click.Choice(FORMATS),
        metavar="FORMAT",
        help="saved_model, keras, frozen_graph or tflite; detected automatically by default.",
    ),
    click.option(
        "--signature-key",
        "--saved_model_signature_key",
        "signature_key",
        help="The signature of a SavedModel; by default serving_default, or its only one.",
    ),
    click.option(
        "--outputs",
        "--output_arrays",
        "outputs",
        metavar="Y,H",
        callback=names_of,
        help="Output nodes of a frozen graph; its only end by default.",
    ),
    click.option(
        "--set",
        "constants",
        metavar="NAME=NUMBER",
        multiple=True,
        callback=constants_of,
        help="A number for a placeholder of a frozen graph; repeatable.",
    ),
    click.option(
        "--custom-object",
        "custom_objects",
        metavar="NAME=MODULE:ATTR",
        multiple=True,
        callback=objects_of,
        help="A class or function that a Keras file names; repeatable.",
    ),
    click.option(
        "--max-steps",
        metavar="NAME=N",
        multiple=True,
        callback=steps_of,
        help="The most steps of a loop; repeatable.",
    ),
    click.option("--unsafe", is_flag=True, help="Run what a file brings with it: Lambda layers, ops on files."),
    click.option(
        "--timeout",
        default=DEFAULT_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        type=click.FloatRange(0, min_open=True),
        help="For each thing that the process reading a source does.",
    ),
    click.option(
        "--memory-limit",
        default=DEFAULT_MEMORY,
        show_default=True,
        metavar="MB",
        type=click.IntRange(1),
        help="The resident memory that this process may take.",
    ),
    click.option(
        "--input-shapes",
        metavar="A:2,?,80;B:2",
        callback=shapes_of,
        help="Shapes of inputs; ? is a size known only when it runs.",
    ),
)


def _imported(name: str, place: str) -> Any:
    """Return the object that ``place``, a module and an attribute joined by a colon, names."""
    module_name, _, attribute = place.partition(":")
    given = f"--custom-object {name}={place}"
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise OptionError(
            f"{given}: cannot import {module_name}: {error}; the module must be importable: install it, or put "
            "its directory on the path, as in PYTHONPATH=. tflite-rnn …"
        ) from error
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError as error:
        raise OptionError(f"{given}: {error}; expected the name of a class or function in that module") from error
