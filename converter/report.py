"""The report of a conversion: each recurrence and its lowering, the passes that ran, the ops and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from converter.chunks import ChunkContract
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
class TrialRecord:
    """One runtime on which the file was tried: what ran there and on which shapes, or why nothing did."""

    runtime: str
    ran: tuple[str, ...] = ()
    """The signatures that ran, in their order."""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The shapes of the inputs, by name."""
    not_run: str | None = None
    """Why nothing ran; None if something did."""
    crash: str | None = None
    """What happened with other sizes before these, if a runtime crashed: not every runtime checks sizes."""

    def to_dict(self) -> dict[str, object]:
        """Return the record for JSON."""
        return {
            "runtime": self.runtime,
            "ran": list(self.ran),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "not_run": self.not_run,
            "crash": self.crash,
        }

    def __str__(self) -> str:
        if self.not_run is not None:
            return f"not run on {self.runtime}: {self.not_run}"
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in self.inputs.items())
        given = f" with {shapes}" if shapes else ""
        crash = "" if self.crash is None else f"; before, {self.crash}"
        return f"ran on {self.runtime}: {', '.join(self.ran)}{given}{crash}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a conversion; ``str(report)`` is readable text."""

    lowerings: tuple[LoweringRecord, ...]
    passes: tuple[str, ...]
    op_counts: Mapping[str, int]
    size: int
    notes: tuple[str, ...] = ()
    """Notes for the user on how the source was read."""
    chunks: ChunkContract | None = None
    """What the model promises on chunks; None if each invoke is a whole sequence, or one step."""
    trials: tuple[TrialRecord, ...] = ()
    """Where the file was tried; empty if it was not to be."""

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON."""
        return {
            "lowerings": [record.to_dict() for record in self.lowerings],
            "passes": list(self.passes),
            "op_counts": dict(self.op_counts),
            "size": self.size,
            "notes": list(self.notes),
            "chunks": None if self.chunks is None else self.chunks.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def __str__(self) -> str:
        lines = [str(record) for record in self.lowerings]
        if not lines:
            rest = ": every op came from TFLiteConverter as it is" if self.chunks is None else ""
            lines = [f"no recurrence was found{rest}"]
        ops = ", ".join(f"{count} {kind}" for kind, count in self.op_counts.items())
        notes = [f"note: {note}" for note in self.notes]
        trials = [str(trial) for trial in self.trials] or ["not run: the file was not to be tried"]
        chunks = [] if self.chunks is None else self.chunks.lines()
        return "\n".join([*lines, *chunks, *notes, f"ops: {ops}", f"size: {self.size:,} bytes", *trials])
