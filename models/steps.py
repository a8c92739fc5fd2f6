"""What the programs of this folder have in common: their steps, shown one line each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from rich.console import Console
from rich.text import Text

Say: TypeAlias = Callable[[str], None]
T = TypeVar("T")


def run_step(console: Console, name: str, action: Callable[[Say], T], describe: Callable[[T], str]) -> T:
    """Run one step: a spinner while it lasts, if this is a terminal, and one line that stays.

    ``action`` gets a function with which to say what it is at; ``describe`` puts its result into words.
    """
    started = time.perf_counter()
    with console.status(name) as status:
        result = action(lambda doing: status.update(f"{name}: {doing}"))
    seconds = time.perf_counter() - started
    line = Text.assemble((f"{name:<9}", "bold green"), f"{describe(result):<61}", (f"{seconds:6.1f} s", "dim"))
    console.print(line, soft_wrap=True)
    return result
