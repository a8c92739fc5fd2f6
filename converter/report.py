"""What a conversion did: each recurrence and its lowering, the passes that ran, the ops and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converter.ir import Program


@dataclass(frozen=True, slots=True)
class LoweringRecord:
    """One recurrence: its name, its cell in words, and the form it was lowered to."""

    name: str
    cell: str
    lowering: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a conversion; ``str(report)`` is for people."""

    lowerings: tuple[LoweringRecord, ...]
    passes: tuple[str, ...]
    op_counts: Mapping[str, int]
    size: int

    def __str__(self) -> str:
        lines = [f"{record.name}: {record.cell} -> {record.lowering}" for record in self.lowerings]
        if not lines:
            lines = ["no recurrence was found: every op came from TFLiteConverter as it is"]
        ops = ", ".join(f"{count} {kind}" for kind, count in self.op_counts.items())
        return "\n".join([*lines, f"ops: {ops}", f"size: {self.size:,} bytes"])


def lowering_records(program: Program) -> tuple[LoweringRecord, ...]:
    """Return a record per recurrence of a program whose lowerings have been chosen."""
    return tuple(
        LoweringRecord(op.name, str(op.cell), op.lowering.value if op.lowering else "none")
        for op in program.recurrences()
    )
