"""What a TensorFlow graph would do besides computing: its ops are read before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from converter.errors import SourceError
from converter.importers.allowed_ops import ALLOWED_OPS, CONSOLES

TRUST = "if you trust it, convert it with safe_mode=False (--unsafe)"
"""The last words of every refusal."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A node and where it is: ``scope`` is the name of a function, empty for the graph around all of them."""

    node: Any
    scope: str

    def __str__(self) -> str:
        inside = f" in the function {self.scope}" if self.scope else ""
        return f"{self.node.op} ({self.node.name}{inside})"


def nodes_of(graph: Any) -> Iterator[Placed]:
    """Yield every node of a GraphDef: its own, and those of all functions in its library, called or not."""
    for node in graph.node:
        yield Placed(node, "")
    for function in graph.library.function:
        for node in function.node_def:
            yield Placed(node, function.signature.name)


def check_graph(graph: Any, place: str) -> None:
    """Raise SourceError if a GraphDef from a file holds an op that does more than compute."""
    refuse((placed for placed in nodes_of(graph) if not is_allowed(placed)), place)


def is_allowed(placed: Placed) -> bool:
    """Tell whether a node only computes, wherever it is."""
    node = placed.node
    if node.op == "PrintV2":
        return _text(node.attr["output_stream"].s or b"stderr") in CONSOLES
    return node.op in ALLOWED_OPS


def refuse(nodes: Iterable[Placed], place: str) -> None:
    """Raise SourceError that names what ``nodes`` would do; do nothing if there are none."""
    named = list(dict.fromkeys(map(str, nodes)))
    if named:
        shown = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")
        raise SourceError(f"{place}: the graph holds ops that do more than compute: {shown}; {TRUST}")


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
