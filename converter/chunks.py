"""What a model that runs on chunks promises, and what it asks of its caller; files carry it in their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OutputRows:
    """An output with one row per ``stride`` input steps along ``axis``.

    Row p of the whole sequence leaves ``delay`` steps after step p * stride, so that the first ``warm_up`` rows
    that leave are of no step. A sequence of ``first`` steps has one row, shorter ones have none.
    """

    axis: int
    stride: int
    delay: int
    first: int

    @property
    def warm_up(self) -> int:
        """How many rows leave before the first row of the sequence."""
        return self.delay // self.stride

    def rows_of(self, steps: int) -> int:
        """Return how many rows the whole sequence of ``steps`` steps has."""
        return max(0, (steps - self.first) // self.stride + 1)


@dataclass(frozen=True, slots=True)
class ChunkContract:
    """The outputs of the chunks, joined along time, are those of the whole sequence.

    A chunk holds a multiple of ``multiple`` steps of each of ``inputs``, whose axes of time these are. ``outputs``
    have time, too; ``running`` are outputs of all steps so far, each with its delay in steps. ``flush`` says how
    the end of a sequence is announced: by ``"flush"``, a signature of its own, or by ``"remaining"``, an input of
    the main one; None if it is not.
    """

    multiple: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, OutputRows]
    running: Mapping[str, int]
    flush: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the contract for JSON."""
        return {
            "multiple": self.multiple,
            "inputs": dict(self.inputs),
            "outputs": {
                name: {"axis": rows.axis, "stride": rows.stride, "delay": rows.delay, "first": rows.first}
                for name, rows in self.outputs.items()
            },
            "running": dict(self.running),
            "flush": self.flush,
        }

    @classmethod
    def from_dict(cls, read: object) -> ChunkContract:
        """Return the contract that JSON holds. Raises ValueError if it is none."""
        entry = _object(read, "chunks")
        inputs, outputs, running = (_object(entry.get(key), key) for key in ("inputs", "outputs", "running"))
        rows = {name: _object(found, name) for name, found in outputs.items()}
        keys = ("axis", "stride", "delay", "first")
        contract = cls(
            _number(entry, "multiple"),
            {name: _number(inputs, name) for name in inputs},
            {name: OutputRows(*(_number(found, key) for key in keys)) for name, found in rows.items()},
            {name: _number(running, name) for name in running},
            entry.get("flush"),
        )
        strides = [contract.multiple, *(found.stride for found in contract.outputs.values())]
        if not inputs or min(strides) < 1:
            raise ValueError(f"chunks: expected inputs and positive strides, got {list(inputs)!r:.80}, {strides}")
        if contract.flush not in {None, "flush", "remaining"}:
            raise ValueError(f"flush: expected 'flush' or 'remaining', got {contract.flush!r:.40}")
        return contract

    def lines(self) -> Iterator[str]:
        """Yield the contract in words."""
        steps = "any number of steps" if self.multiple == 1 else f"a multiple of {self.multiple} steps"
        yield f"chunks of {steps} of {', '.join(self.inputs)}"
        for name, rows in self.outputs.items():
            rate = "a row per step" if rows.stride == 1 else f"a row per {rows.stride} steps"
            late = f", {rows.delay} steps late: the first {rows.warm_up} are of no step" if rows.delay else ""
            yield f"  {name}: {rate}{late}"
        for name, delay in self.running.items():
            yield f"  {name}: of all steps so far{f', {delay} steps late' if delay else ''}"
        if self.flush == "flush":
            yield "  the end of a sequence: the signature flush, with the number of remaining steps"
        elif self.flush is not None:
            yield "  the end of a sequence: the input remaining, which counts the steps from here on"


def _object(read: object, key: str) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise ValueError(f"{key}: expected an object, got {read!r:.40}")
    return read


def _number(read: dict[str, Any], key: str) -> int:
    number = read.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 1 << 31:
        raise ValueError(f"{key}: expected an integer, got {number!r:.40}")
    return number
