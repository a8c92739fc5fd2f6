"""All errors that tflite-rnn raises. Each message says where, what was expected, what was seen and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from converter.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable


class TfliteRnnError(Exception):
    """Base of all errors that tflite-rnn raises on purpose; the CLI exits with status 2."""


class SourceError(TfliteRnnError):
    """A model cannot be read (missing, damaged, of an unexpected kind), or lacks a part that was asked for."""


class OptionError(TfliteRnnError, ValueError):
    """An option has an invalid value."""


class InternalError(TfliteRnnError):
    """A fault of tflite-rnn, never the user's; the CLI answers it with exit status 70."""


class VerificationError(InternalError):
    """A file that was just made does not load or run on a runtime of its target; it is not returned or written."""


class InvalidProgramError(InternalError):
    """A program breaks a rule of the IR: a bug in an importer or a pass."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a lowering does not compute an op exactly: the rule, the place, what was seen, what to do."""

    rule: Rule
    op: str
    detail: str
    hint: str

    def __str__(self) -> str:
        return f"{self.op}: {self.detail} [{self.rule}]\n    hint: {self.hint}"


class ConversionError(TfliteRnnError):
    """The model was read, but no lowering computes it exactly; ``rejections`` says why, one by one."""

    def __init__(self, message: str, rejections: Iterable[Rejection] = ()) -> None:
        self.rejections = tuple(rejections)
        super().__init__("\n  ".join([message, *map(str, _joined(self.rejections))]))


def _joined(rejections: Iterable[Rejection]) -> list[Rejection]:
    """Return one rejection for all that say the same of several ops."""
    places: dict[Rejection, dict[str, None]] = {}
    for one in rejections:
        places.setdefault(replace(one, op=""), {})[one.op] = None
    return [replace(one, op=", ".join(ops)) for one, ops in places.items()]
