"""What the programs of this folder have in common: how they start and end, and their steps, one line each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from rich.console import Console
from rich.text import Text

from converter.errors import TfliteRnnError
from tflite_rnn.console import import_tensorflow
from tflite_rnn.runtime import ParityReport

Say: TypeAlias = Callable[[str], None]
T = TypeVar("T")


def run_program(program: Callable[[Console], int]) -> int:
    """Run a program on standard output; return its exit status, 2 with one message for an error of this tool."""
    try:
        import_tensorflow()
        return program(Console(highlight=False))
    except TfliteRnnError as error:
        Console(stderr=True, highlight=False).print(Text(f"error: {error}", style="bold red"), soft_wrap=True)
        return 2


def describe_conversion(converted: Any, fused_ops: Iterable[str]) -> str:
    """Return how many of ``fused_ops`` a conversion holds, and its size."""
    fused = ", ".join(f"{converted.report.op_counts.get(op, 0)} {op}" for op in fused_ops)
    return f"{fused} in {len(converted.model):,} bytes"


def describe_report(report: ParityReport) -> str:
    """Return on how many runtimes parity holds."""
    runtimes = len({row.runtime for row in report.rows})
    return f"{runtimes} runtimes against TensorFlow: {'parity holds' if report.ok else 'NO PARITY, see below'}"


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
