"""How a hostile file must be met: refused, by name, before it did anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import tflite_rnn as rnn
from converter.sources import FrozenGraph, KerasFile, SavedModel, as_source
from tests.trust.canaries import Canary
from tflite_rnn.isolation import Isolation


class Hostility:
    """Meets hostile files in the process that reads models, one for the whole session: starting takes seconds."""

    def __init__(self, isolation: Isolation, canary: Canary) -> None:
        self._isolation = isolation
        self._canary = canary

    def assert_refused(self, path: Path, words: str) -> None:
        """Read a hostile file: a SourceError that says ``words``, and a canary that nobody touched."""
        source = as_source(path)
        assert isinstance(source, KerasFile | SavedModel | FrozenGraph)
        self._canary.was_opened()  # by whoever made the file
        with pytest.raises(rnn.SourceError) as refusal:
            self._isolation.open(source)
        was_opened = self._canary.was_opened()
        assert self._canary.problems() == []
        assert not was_opened, f"{self._canary.secret.name} was opened"
        assert words in str(refusal.value), str(refusal.value)
