"""The readers of a value, and what a value depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from converter.ir import Graph, Op, Producers, Value, has_effects


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """The producer and the readers of each value of a graph."""

    producers: Producers
    outputs: frozenset[Value]
    _readers: Mapping[Value, Sequence[Op]]

    @classmethod
    def of(cls, graph: Graph) -> Uses:
        """Return the uses of the values of ``graph``."""
        readers: dict[Value, list[Op]] = {}
        for op in graph.ops:
            for value in dict.fromkeys(op.operands):
                if value is not None:
                    readers.setdefault(value, []).append(op)
        return cls(graph.producers(), frozenset(graph.outputs), readers)

    def readers(self, value: Value) -> Sequence[Op]:
        """Return the ops that read ``value``, each once, in order."""
        return self._readers.get(value, ())

    def is_read(self, value: Value) -> bool:
        """Return whether ``value`` is an output of the graph or an operand of any op."""
        return value in self.outputs or value in self._readers


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The ops that compute some values, in order, and all ``values`` that they read or define."""

    ops: tuple[Op, ...]
    values: frozenset[Value]


def backward_slice(
    ops: Sequence[Op],
    wanted: Iterable[Value],
    *,
    given: Set[Value] = frozenset(),
    keeps: Callable[[Op], bool] = lambda _: False,
) -> Slice:
    """Return the part of ``ops`` that ``wanted`` depends on.

    Values in ``given`` are not computed. Ops for which ``keeps`` holds are always included.
    """
    values = set(wanted)
    kept: list[Op] = []
    for op in reversed(ops):
        if keeps(op) or values.intersection(op.results) - given:
            kept.append(op)
            values.update(value for value in op.operands if value is not None)
    return Slice(tuple(reversed(kept)), frozenset(values))


def without_dead_ops(graph: Graph) -> Graph:
    """Return ``graph`` without ops that have no side effects and whose results are not read."""
    live = backward_slice(graph.ops, graph.outputs, keeps=has_effects).ops
    return graph if len(live) == len(graph.ops) else replace(graph, ops=live)
