"""The interface of all sources, and how the format of a file is detected."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from converter.errors import SourceError
from converter.files import check_readable
from converter.ir import Array, Program

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_TFLITE = b"TFL3"
_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
_HEAD = 1 << 12

SIGNATURE_KEY = "serving_default"
"""The key of the signature of a converted model."""

STARTS_FROM_ZERO = "is stateful: without state='streaming' or 'explicit' it starts from zero at every invoke"
"""How a note ends that is true of stateless models only."""

SAVED_MODEL = "saved_model"
FROZEN_GRAPH = "frozen_graph"
TFLITE = "tflite"
KERAS = "keras"


class Source(Protocol):
    """A model to convert."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of its inputs."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of its outputs."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report: what the file does differently, or leaves to the caller."""

    def to_program(self, *, keep_lists: bool = True) -> Program:
        """Return the model as a program with ``input_names`` and ``output_names``.

        A source that uses TFLiteConverter has it lower lists of tensors unless ``keep_lists``; other sources
        ignore it. Raises ConversionError or SourceError.
        """


class RunnableSource(Source, Protocol):
    """A model to convert that can also run unconverted, as the float reference of the converted model."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the original: arrays by input name to arrays by output name."""


def format_of(path: Path) -> str:
    """Return the format of ``path``: ``saved_model``, ``frozen_graph``, ``tflite`` or
    ``keras``.

    Raises SourceError, naming what was found, if it is none of them.
    """
    check_readable(path)
    if path.is_dir():
        if any((path / name).is_file() for name in _SAVED_MODEL_FILES):
            return SAVED_MODEL
        raise SourceError(f"{path}: not a SavedModel: the directory has no saved_model.pb")
    if path.name in _SAVED_MODEL_FILES:
        raise SourceError(f"{path}: this file is part of a SavedModel; give its directory, {path.parent}")
    found = _content(path)
    if found not in (FROZEN_GRAPH, TFLITE, KERAS):
        kinds = "a SavedModel directory, a Keras file (.keras, .h5), a frozen graph (.pb) or a .tflite"
        raise SourceError(f"{path}: expected {kinds}, got {found}")
    return found


def _content(path: Path) -> str:
    """Return the format of a file, or a description if it is of no known format."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SourceError(f"{path}: cannot read the file: {error.strerror or error}") from error
    if head[4:8] == _TFLITE or path.suffix == ".tflite":
        return TFLITE
    if head.startswith(_HDF5) or path.suffix.lower() in _KERAS_SUFFIXES:
        return KERAS
    if head.startswith(_ZIP):
        return KERAS if _is_keras(path) else "a zip archive"
    return _plain(head)


def _is_keras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except zipfile.BadZipFile:
        return path.suffix == ".keras"


def _plain(head: bytes) -> str:
    if not head:
        return "an empty file"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return FROZEN_GRAPH
    is_text = all(character.isprintable() or character in "\r\n\t" for character in text)
    return "a text file" if is_text else FROZEN_GRAPH
