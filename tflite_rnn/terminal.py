"""Printing names that files bring: control characters in them would command the terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from converter.errors import TfliteRnnError

_KEPT = frozenset("\n\t")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of writing, and so show a name as another one."""


def printable(text: str) -> str:
    """Return ``text`` with what commands a terminal written out: escapes, bells, turns of direction.

    New lines and tabs stay, and so does every character that is only shown, whatever its script.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    number = ord(character)
    is_control = number < 0x20 or 0x7F <= number < 0xA0 or 0xD800 <= number < 0xE000
    if (is_control and character not in _KEPT) or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


class PrintingConsole(Console):
    """A console that shows whatever it prints, and obeys none of it; its own colours stay.

    When the reader of its output has gone, as in ``tflite-rnn … | head -1``, it prints no more and says nothing.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `Console` does. Raises TfliteRnnError if the output cannot be written, as on a full disk."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            discard(self.file)
            raise TfliteRnnError(f"cannot write the output: {error.strerror or error}") from error

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        discard(self.file)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as `Console` does, then write out what commands a terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def discard(stream: IO[str] | None) -> None:
    """Let what is still to be written to ``stream`` go nowhere: at exit Python would complain about it."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # a stream without a file behind it
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, stream.fileno())
        finally:
            os.close(nothing)


def console(**options: Any) -> PrintingConsole:
    """Return a console without highlighting, as every command of ours prints; ``options`` as for `Console`."""
    return PrintingConsole(**{"highlight": False, **options})
