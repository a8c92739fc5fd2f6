"""Which version of its builtin an op needs: the least one that has what the op uses.

Runtimes refuse versions that they do not know, so a version is never higher than need be. What each runtime knows
is in `converter.targets.ops`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from converter.ir.types import Value


def least_version(builtin: str, operands: Sequence[Value | None], options: Mapping[str, object]) -> int:
    """Return the least version of ``builtin`` that takes ``operands`` and ``options``."""
    rule = _RULES.get(builtin)
    return 1 if rule is None else rule(operands, options)


def _fully_connected(operands: Sequence[Value | None], options: Mapping[str, object]) -> int:
    """Version 5 can keep axes, version 6 can do without a bias."""
    if len(operands) < 3 or operands[2] is None:
        return 6
    return 5 if options.get("keepNumDims") else 1


_RULES: Mapping[str, Callable[[Sequence[Value | None], Mapping[str, object]], int]] = MappingProxyType(
    {"FULLY_CONNECTED": _fully_connected}
)
"""The builtins of which more than the first version is written here."""
