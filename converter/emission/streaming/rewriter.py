"""The state of writing a graph anew on chunks: new values for old ones, and the past of each layer."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.analysis.streaming.facts import Feed, Other, Plan, Rows
from converter.analysis.streaming.flow import Flow
from converter.emission.emitter import Emitter
from converter.emission.streaming.past import Past
from converter.errors import InvalidProgramError
from converter.ir import Graph, Op, TensorType, TfliteOp, Value, dims, rewire, with_results

_SCOPES = re.compile(r"(sequential|functional|model)(_\d+)*")


class Rewriter:
    """New values for those of ``graph``, by the plans of ``flow``; ``sizes`` are those of the whole sequence."""

    def __init__(
        self, graph: Graph, flow: Flow, sizes: Dimensions, remaining: Value | None, *, counts: bool
    ) -> None:
        first = next(value for value in graph.inputs if value in flow.starts)
        self.emitter = Emitter("stream", graph.names())
        self.past = Past(self.emitter, first, flow.starts[first], remaining, counts=counts)
        self.sizes = sizes
        self._flow = flow
        self._steps = dims(first)[flow.starts[first]]
        self._new: dict[Value, Value] = {}
        self._fed: dict[tuple[Value, Feed], Value] = {}

    # --- operands ----------------------------------------------------------------------------------------------

    def x(self, op: TfliteOp, plan: Plan) -> Value:
        """Return operand 0 of ``op``, fed as planned."""
        return self.read(op.operand(0), plan.feeds.get(0, Feed()), layer_of(op.name))

    def read(self, value: Value, feed: Feed, layer: str) -> Value:
        """Return the new value of ``value`` as ``feed`` says, the same for all ops that read it alike."""
        rows = self._flow.facts.get(value)
        new = self._new.get(value, value)
        if not isinstance(rows, Rows) or feed.is_plain:
            return new
        key = (value, feed)
        if key not in self._fed:
            self._fed[key] = self.past.fed(new, rows.separated(), feed, layer)
        return self._fed[key]

    def values(self, op: Op) -> dict[Value, Value]:
        """Return the new value of each operand that has one, as it is."""
        return {value: self._new[value] for value in op.operands if value is not None and value in self._new}

    def operands(self, op: Op, plan: Plan) -> dict[Value, Value]:
        """Return the new value of each operand that has one."""
        found: dict[Value, Value] = {}
        for place, value in enumerate(op.operands):
            if value is None or value not in self._flow.facts:
                continue
            if self._flow.facts[value] is Other.SIZES:
                found[value] = self._constant(value)
            else:
                found[value] = self.read(value, plan.feeds.get(place, Feed()), layer_of(op.name))
        return found

    def _constant(self, sizes: Value) -> Value:
        """Return a constant in place of ``sizes``: unknown ones are bounds that count as open."""
        known = self.sizes.elements(sizes) or ()
        numbers = [number if isinstance(number, int) else 0 for number in known]
        shape = [size or 0 for size in dims(sizes)]
        return self.emitter.constant("sizes", np.array(numbers, sizes.type.dtype.numpy).reshape(shape))

    # --- results -----------------------------------------------------------------------------------------------

    def rows(self, value: Value) -> Rows:
        """Return the rows of a value of the old graph that must have some, of one element each if possible."""
        fact = self._flow.facts.get(value)
        if not isinstance(fact, Rows):
            raise InvalidProgramError(f"{value.name}: expected a value with time, got {fact}")
        return fact.separated()

    def read_rows(self, op: TfliteOp, plan: Plan) -> Rows:
        """Return the rows of operand 0 of ``op``, as they are fed."""
        return self.rows(op.operand(0)) if plan.reads is None else plan.reads

    def count(self, rows: Rows) -> int | None:
        """Return the size of the axis of ``rows`` on a chunk, None if that is unknown."""
        return None if self._steps is None else int(self._steps / rows.stride) * rows.before * rows.after

    def result(self, value: Value) -> Value:
        """Return the new value in the place of a result, with its sizes on a chunk."""
        shape, fact = self.sizes.shape(value), self._flow.facts.get(value)
        new = value
        if shape is not None:
            sizes = [size if isinstance(size, int) else None for size in shape]
            if isinstance(fact, Rows):
                sizes[fact.axis] = self.count(fact)
            new = replace(value, type=TensorType(value.type.dtype, tuple(sizes)))
        self._new[value] = new
        return new

    def alias(self, result: Value, value: Value) -> None:
        """Let ``value``, a new one, stand for ``result``."""
        self._new[result] = value

    # --- ops ---------------------------------------------------------------------------------------------------

    def keep(self, op: Op, plan: Plan) -> None:
        """Append ``op`` over its new operands."""
        self.emit(rewire(op, self.operands(op, plan)))

    def emit(self, op: Op) -> None:
        """Append ``op``, whose operands are new, with new results."""
        self.emitter.ops.append(with_results(op, {value: self.result(value) for value in op.results}))


def layer_of(name: str) -> str:
    """Return the name of the layer that a value is of: the first part of its path that is not the model's."""
    parts = re.split(r"[;:]", name)[0].split("/")
    inner = [part for part in parts if not _SCOPES.fullmatch(part)]
    return re.sub(r"\W", "_", inner[0]) if inner else "layer"
