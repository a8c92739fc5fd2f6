"""Unique names of the values of a graph."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """The names that are taken in one graph."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._last_numbers: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """Take and return ``name``; if it is taken already, the first free one of ``name_1``, ``name_2``, …."""
        candidate, number = name, self._last_numbers.get(name, 0)
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        self._last_numbers[name] = number
        return candidate

    def copy(self) -> Names:
        """Return a copy, for an attempt that may be abandoned."""
        return Names(self._taken)

    def update(self, other: Names) -> None:
        """Take all names of ``other``, for example of a copy whose attempt succeeded."""
        self._taken |= other._taken

    def __contains__(self, name: str) -> bool:
        """Return whether ``name`` is taken."""
        return name in self._taken
