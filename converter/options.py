"""The options of a conversion, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from converter.errors import TfliteRnnError
from converter.ir import Lowering

AUTO = "auto"
LOWERINGS = (AUTO, *(lowering.value for lowering in Lowering))


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How to convert: ``lowering`` is the form that every recurrence takes, None the best exact one for each."""

    lowering: Lowering | None = None

    @classmethod
    def parse(cls, *, lowering: str = AUTO) -> ConvertOptions:
        """Return the options that these words name. Raises TfliteRnnError for a word that names none."""
        if lowering not in LOWERINGS:
            raise TfliteRnnError(f"lowering is {lowering!r}; it must be one of {', '.join(LOWERINGS)}")
        return cls(lowering=None if lowering == AUTO else Lowering(lowering))
