"""The report of a conversion: each recurrence and its lowering, the passes that ran, the ops and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converter.errors import Rejection


@dataclass(frozen=True, slots=True)
class LoweringRecord:
    """One recurrence: its name, its cell as text, its lowering, and why better lowerings were refused."""

    name: str
    cell: str
    lowering: str
    refused: tuple[Rejection, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the record for JSON."""
        refused = [
            {"rule": reason.rule.value, "detail": reason.detail, "hint": reason.hint} for reason in self.refused
        ]
        return {"name": self.name, "cell": self.cell, "lowering": self.lowering, "refused": refused}

    def __str__(self) -> str:
        reasons = [f"  not fused: {reason.detail} [{reason.rule}]" for reason in self.refused]
        return "\n".join([f"{self.name}: {self.cell} -> {self.lowering}", *reasons])


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a conversion; ``str(report)`` is readable text."""

    lowerings: tuple[LoweringRecord, ...]
    passes: tuple[str, ...]
    op_counts: Mapping[str, int]
    size: int
    notes: tuple[str, ...] = ()
    """Notes for the user on how the source was read."""

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON."""
        return {
            "lowerings": [record.to_dict() for record in self.lowerings],
            "passes": list(self.passes),
            "op_counts": dict(self.op_counts),
            "size": self.size,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [str(record) for record in self.lowerings]
        if not lines:
            lines = ["no recurrence was found: every op came from TFLiteConverter as it is"]
        ops = ", ".join(f"{count} {kind}" for kind, count in self.op_counts.items())
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, *notes, f"ops: {ops}", f"size: {self.size:,} bytes"])
