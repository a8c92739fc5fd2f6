"""What a TensorFlow graph would do besides computing: its ops are read before anything of it is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from converter.errors import SourceError
from converter.importers.allowed_ops import ALLOWED_OPS, CONSOLES
from converter.ir.types import MOST_ELEMENTS

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


_SIZES = {"BroadcastTo": 1, "Fill": 0, "Tile": 1}
"""Ops by the operand that says how large their result is."""


def check_sizes(graph: Any, place: str) -> None:
    """Raise SourceError if a node would make more than a tensor can hold, which TensorFlow tries for minutes.

    So it does with a node that says that it has more inputs than it has, or outputs without end.
    """
    placed = list(nodes_of(graph))
    for one in placed:
        _check_counts(one, place)
    constants = {(one.scope, one.node.name): one.node for one in placed if one.node.op == "Const"}
    for one in placed:
        count = _elements(one, constants)
        if count > MOST_ELEMENTS:
            raise SourceError(
                f"{place}: {one} makes {count} elements, more than a TFLite tensor can have "
                f"({MOST_ELEMENTS}); make the model with smaller tensors"
            )


def _check_counts(placed: Placed, place: str) -> None:
    """Raise SourceError if a node says that it has more inputs than it has, or too many outputs."""
    from tensorflow.python.framework import op_def_registry

    node = placed.node
    definition = op_def_registry.get(node.op)
    if definition is None:  # a function
        return
    given = sum(not name.startswith("^") for name in node.input)
    for most, arguments in ((given, definition.input_arg), (_MOST_OUTPUTS, definition.output_arg)):
        for name in {argument.number_attr for argument in arguments} & node.attr.keys():
            if node.attr[name].i > most:
                raise SourceError(
                    f"{place}: {placed} says {name} = {node.attr[name].i}, expected at most {most}; the graph is "
                    "damaged, save it again"
                )


_MOST_OUTPUTS = 1 << 16


def _elements(placed: Placed, constants: Mapping[tuple[str, str], Any]) -> int:
    """Return how many elements a node makes by constant sizes, zero if they are not constant."""
    node = placed.node
    if node.op not in {*_SIZES, "Range"}:
        return 0
    read = [_numbers(constants.get((placed.scope, name.partition(":")[0]))) for name in node.input]
    if node.op in _SIZES and len(read) == 2:
        sizes = read[_SIZES[node.op]]
        return math.prod(sizes) if sizes and min(sizes) >= 0 else 0
    ends = [numbers[0] for numbers in read if numbers is not None and len(numbers) == 1]
    if node.op == "Range" and len(ends) == len(read) == 3 and ends[2]:
        return len(range(*ends))
    return 0


def _numbers(node: Any) -> tuple[int, ...] | None:
    """Return the integers of a constant; None if there are none, or many."""
    if node is None:
        return None
    import tensorflow as tf

    proto = node.attr["value"].tensor
    if proto.dtype not in {tf.int32.as_datatype_enum, tf.int64.as_datatype_enum}:
        return None
    sizes = [dimension.size for dimension in proto.tensor_shape.dim]
    if len(sizes) > 1 or not all(0 <= size <= _MOST_AXES for size in sizes):
        return None
    try:
        return tuple(map(int, tf.make_ndarray(proto).reshape(-1)))
    except (TypeError, ValueError):
        return None


_MOST_AXES = 32


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
