"""What a model that runs on chunks promises, and what it asks of its caller; files carry it in their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class OutputRows:
    """An output with one row per ``stride`` input steps along ``axis``, a fraction if there are several per step.

    Row p of the whole sequence leaves ``delay`` steps after step p * stride, so that the first ``warm_up`` rows
    that leave are of no step. Rows exist in blocks of ``block``: a sequence of ``first`` steps has one block, each
    further stride * block steps add another, and shorter sequences have none. The last ``short`` rows of the last
    block do not exist.
    """

    axis: int
    stride: Fraction
    delay: Fraction
    first: int
    block: int = 1
    short: int = 0

    @property
    def warm_up(self) -> int:
        """How many rows leave before the first row of the sequence."""
        return int(self.delay / self.stride)

    def rows_of(self, steps: int) -> int:
        """Return how many rows the whole sequence of ``steps`` steps has."""
        blocks = max(0, (steps - self.first) // int(self.stride * self.block) + 1)
        return max(0, blocks * self.block - self.short)

    def to_dict(self) -> dict[str, object]:
        """Return the rows for JSON: a fraction is a list of its numerator and denominator."""
        return {
            "axis": self.axis,
            "stride": _plain(self.stride),
            "delay": _plain(self.delay),
            "first": self.first,
            "block": self.block,
            "short": self.short,
        }

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> OutputRows:
        """Return the rows that JSON holds. Raises ValueError if it holds none."""
        stride, delay = (_fraction(read, key) for key in ("stride", "delay"))
        axis, first, block, short = (_number(read, key) for key in ("axis", "first", "block", "short"))
        if block < 1 or not 0 <= short < block:
            raise ValueError(f"block: expected a positive number of rows, more than {short}, got {block}")
        if stride <= 0 or (stride * block).denominator > 1 or delay < 0 or (delay / stride).denominator > 1:
            raise ValueError(f"stride: expected whole rows and blocks, got {stride} with a delay of {delay}")
        return cls(axis, stride, delay, first, block, short)


@dataclass(frozen=True, slots=True)
class ChunkContract:
    """The outputs of the chunks, joined along time, are those of the whole sequence.

    A chunk holds a multiple of ``multiple`` steps of each of ``inputs``, whose axes of time these are. ``outputs``
    have time, too; ``running`` are outputs of all steps so far, each with its delay in steps. ``flush`` says how
    the end of a sequence is announced: by ``"flush"``, a signature of its own, or by ``"remaining"``, an input of
    the main one; None if it is not. Everything has left ``tail`` steps behind the end. A whole sequence holds a
    multiple of ``lengths`` steps: for another one the network gives something else, or nothing at all.
    """

    multiple: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, OutputRows]
    running: Mapping[str, Fraction]
    flush: str | None = None
    lengths: int = 1
    tail: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the contract for JSON."""
        return {
            "multiple": self.multiple,
            "inputs": dict(self.inputs),
            "outputs": {name: rows.to_dict() for name, rows in self.outputs.items()},
            "running": {name: _plain(delay) for name, delay in self.running.items()},
            "flush": self.flush,
            "lengths": self.lengths,
            "tail": self.tail,
        }

    @classmethod
    def from_dict(cls, read: object) -> ChunkContract:
        """Return the contract that JSON holds. Raises ValueError if it is none."""
        entry = _object(read, "chunks")
        inputs, outputs, running = (_object(entry.get(key), key) for key in ("inputs", "outputs", "running"))
        contract = cls(
            _number(entry, "multiple"),
            {name: _number(inputs, name) for name in inputs},
            {name: OutputRows.from_dict(_object(found, name)) for name, found in outputs.items()},
            {name: _fraction(running, name) for name in running},
            entry.get("flush"),
            _number(entry, "lengths"),
            _number(entry, "tail"),
        )
        if not inputs or min(contract.multiple, contract.lengths) < 1:
            raise ValueError(f"chunks: expected inputs and positive numbers of steps, got {entry!r:.120}")
        if contract.flush not in {None, "flush", "remaining"}:
            raise ValueError(f"flush: expected 'flush' or 'remaining', got {contract.flush!r:.40}")
        return contract

    def lines(self) -> Iterator[str]:
        """Yield the contract in words."""
        steps = "any number of steps" if self.multiple == 1 else f"a multiple of {self.multiple} steps"
        yield f"chunks of {steps} of {', '.join(self.inputs)}"
        for name, rows in self.outputs.items():
            rate = _rate(rows.stride)
            first = "the first is" if rows.warm_up == 1 else f"the first {rows.warm_up} are"
            yield f"  {name}: {rate}{_late(rows.delay)}{f': {first} of no step' if rows.delay else ''}"
        for name, delay in self.running.items():
            yield f"  {name}: of all steps so far{_late(delay)}"
        if self.flush is not None and self.lengths > 1:
            yield f"  a whole sequence: a multiple of {self.lengths} steps"
        if self.flush == "flush":
            yield "  the end of a sequence: the signature flush, with the number of remaining steps"
        elif self.flush is not None:
            yield "  the end of a sequence: the input remaining, which counts the steps from here on"


def _late(delay: Fraction | int) -> str:
    return f", {delay} step{'s' * (delay > 1)} late" if delay else ""


def _rate(stride: Fraction) -> str:
    rows, steps = stride.denominator, stride.numerator
    each = "a row" if rows == 1 else f"{rows} rows"
    return f"{each} per step" if steps == 1 else f"{each} per {steps} steps"


def _plain(number: Fraction) -> int | list[int]:
    """Return a fraction for JSON: the integer that it is, else its numerator and denominator."""
    return number.numerator if number.denominator == 1 else [number.numerator, number.denominator]


def _fraction(read: Mapping[str, Any], key: str) -> Fraction:
    parts = read.get(key)
    if not isinstance(parts, list):
        return Fraction(_number(read, key))
    if len(parts) != 2:
        raise ValueError(f"{key}: expected an integer, or a numerator and a denominator, got {parts!r:.40}")
    numerator, denominator = (_number({key: part}, key) for part in parts)
    if denominator < 1:
        raise ValueError(f"{key}: expected a positive denominator, got {denominator}")
    return Fraction(numerator, denominator)


def _object(read: object, key: str) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise ValueError(f"{key}: expected an object, got {read!r:.40}")
    return read


def _number(read: Mapping[str, Any], key: str) -> int:
    number = read.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 1 << 31:
        raise ValueError(f"{key}: expected an integer, got {number!r:.40}")
    return number
