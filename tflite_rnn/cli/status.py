"""How a command ends: status 0 if all is well, 1 if the model fails a check, 2 if the input is bad."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from rich.console import Console

from converter.errors import TfliteRnnError

P = ParamSpec("P")
T = TypeVar("T")

BAD_INPUT = 2
DIFFERENCE = 1

FILE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def reports_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Answer the errors that tflite-rnn raises on purpose with one message and exit status 2."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except TfliteRnnError as error:
            Console(stderr=True, soft_wrap=True, highlight=False).print("error:", str(error), markup=False)
            sys.exit(BAD_INPUT)

    return wrapper


def table_console() -> Console:
    """Return a console for tables, as wide as the terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
