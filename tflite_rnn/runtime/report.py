"""The outcome of a comparison, for people as a table and for programs as a dictionary."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tflite_rnn.runtime.runtimes import Runtime

_HEADINGS = ("runtime", "output", "cases", "max abs", "max rel", "repeatable", "result", "worst case")


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One output on one runtime over all cases, or one event that kept a runtime from giving outputs.

    ``output`` is None for an event, and so are its errors; an error is infinite where the output is missing, of
    another shape or dtype, or has NaN or infinity in other places than the reference. ``repeatable`` says whether
    invokes in a row with the same inputs gave the same bits; None if there was one invoke, or none. ``worst_case``
    is the shapes of the inputs that gave the largest error, or the event; ``problem`` is None if all is well.
    """

    runtime: Runtime
    output: str | None
    cases: int
    max_abs_error: float | None
    max_rel_error: float | None
    repeatable: bool | None
    worst_case: str
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every element of every case was within tolerance and every invoke repeated the first."""
        return self.problem is None

    def to_dict(self) -> dict[str, object]:
        """Return the row for JSON; an infinite error becomes None, and ``problem`` then says what it means."""
        return {
            "runtime": self.runtime.label,
            "output": self.output,
            "cases": self.cases,
            "max_abs_error": _finite(self.max_abs_error),
            "max_rel_error": _finite(self.max_rel_error),
            "repeatable": self.repeatable,
            "worst_case": self.worst_case,
            "ok": self.ok,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What `compare` found. ``str(report)`` is a table, the failures in words, and a verdict as its last line."""

    rows: tuple[ParityRow, ...]
    invokes: int
    atol: float
    rtol: float
    notes: tuple[str, ...] = ()
    """What was not run, and how inputs were fed."""

    @property
    def failures(self) -> tuple[ParityRow, ...]:
        """The rows that are not ok."""
        return tuple(row for row in self.rows if not row.ok)

    @property
    def ok(self) -> bool:
        """Whether there is at least one row and every row is ok."""
        return bool(self.rows) and not self.failures

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON."""
        return {
            "ok": self.ok,
            "invokes": self.invokes,
            "atol": self.atol,
            "rtol": self.rtol,
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        table = _table([_HEADINGS, *map(_cells, self.rows)])
        return "\n".join([*table, *map(_words, self.failures), *self.notes, self._verdict()])

    def _verdict(self) -> str:
        runtimes = len({row.runtime for row in self.rows})
        checked = f"{runtimes} runtimes, {self.invokes} invokes a case, atol {self.atol:g}, rtol {self.rtol:g}"
        if self.ok:
            return f"PASS: {len(self.rows)} of {len(self.rows)} rows ok ({checked})"
        return f"FAIL: {len(self.failures)} of {len(self.rows)} rows not ok ({checked})"


def _words(row: ParityRow) -> str:
    # The error behind an event names its runtime already.
    return f"{row.runtime}, {row.output}: {row.problem}" if row.output is not None else str(row.problem)


def _cells(row: ParityRow) -> tuple[str, ...]:
    return (
        row.runtime.label,
        row.output or "-",
        str(row.cases),
        _number(row.max_abs_error),
        _number(row.max_rel_error),
        {True: "yes", False: "NO", None: "-"}[row.repeatable],
        "ok" if row.ok else "FAIL",
        row.worst_case,
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _number(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _finite(error: float | None) -> float | None:
    return error if error is not None and math.isfinite(error) else None
