"""bound-loops: end loops after the number of steps that the user gave, as maximum_iterations does.

The condition of such a loop also asks whether its counter is below the bound. A loop without a counter gets one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.emission.emitter import Emitter
from converter.errors import OptionError
from converter.ir import DType, Graph, Op, Program, TensorType, TfliteOp, Value, as_tflite, attributes
from converter.raising.condition import limits_of
from converter.raising.loop import Loop, loop_of
from converter.raising.scans import loop_name


def bound_loops(program: Program, max_steps: Mapping[str, int]) -> Program:
    """Return ``program`` with the loops that ``max_steps`` names ending after that many steps.

    Raises OptionError if ``max_steps`` names a loop that is not there.
    """
    if not max_steps:
        return program
    loops = _loops(program)
    unknown = [name for name in max_steps if name not in map(loop_name, loops)]
    if unknown:
        known = ", ".join(dict.fromkeys(map(loop_name, loops))) or "none, but those with a bound of their own"
        raise OptionError(f"max_steps: no loop is called {', '.join(unknown)}; the loops are {known}")
    bounds: dict[tuple[int, int], _Bound] = {}
    for loop in loops:
        if loop_name(loop) in max_steps:
            numbers, counters = attributes.loop_graphs(loop.op), loop.scalar_counters()
            if numbers in bounds:  # one pair of graphs that several ops run
                counters &= bounds[numbers].counters
            bounds[numbers] = _Bound(max_steps[loop_name(loop)], counters)
    _refuse_shared(loops, bounds)
    graphs = [replace(graph, ops=tuple(_with_counter(graph, bounds))) for graph in program.graphs]
    for (condition, body), bound in bounds.items():
        if not bound.counters:
            graphs[body] = _counting(graphs[body])
        graphs[condition] = _bounded(graphs[condition], bound)
    return replace(program, graphs=tuple(graphs))


def open_loops(program: Program) -> list[str]:
    """Return the names of the loops that end on something else than a counter's limit, each once."""
    found = (
        loop_name(loop)
        for loop in _loops(program)
        if limits_of(loop, loop.counters(), loop.invariants(), loop.graph.names()) is None
    )
    return list(dict.fromkeys(found))


def _loops(program: Program) -> list[Loop]:
    """Return the loops that are left in a program."""
    return [
        loop_of(op, graph, program)
        for graph in program.graphs
        for op in graph.ops
        if isinstance(op, TfliteOp) and op.builtin == "WHILE"
    ]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A number of steps, and the positions of the values that count them."""

    steps: int
    counters: frozenset[int]


def _refuse_shared(loops: Sequence[Loop], bounds: Mapping[tuple[int, int], _Bound]) -> None:
    """Raise OptionError if a loop runs one graph of a bounded loop, and another one in place of the other."""
    for loop in loops:
        numbers = attributes.loop_graphs(loop.op)
        if any(pair != numbers and {*pair} & {*numbers} for pair in bounds):
            raise OptionError(
                f"max_steps: {loop.op.name} runs graphs of a loop that is named; leave out the bound, or give "
                "each loop graphs of its own"
            )


_COUNTER = TensorType(DType.INT32, ())


def _with_counter(graph: Graph, bounds: Mapping[tuple[int, int], _Bound]) -> list[Op]:
    """Return the ops of ``graph``; loops whose steps nothing counts carry a counter more."""
    emitter = Emitter("bound", graph.names())
    for op in graph.ops:
        loop = as_tflite(op, "WHILE")
        bound = None if loop is None else bounds.get(attributes.loop_graphs(loop))
        if loop is None or bound is None or bound.counters:
            emitter.ops.append(op)
            continue
        counted = Value(emitter.name("steps"), _COUNTER)
        emitter.ops.append(
            replace(loop, operands=(*loop.operands, emitter.integer(0)), results=(*loop.results, counted))
        )
    return emitter.ops


def _counting(body: Graph) -> Graph:
    """Return the body of a loop with a counter behind what it carries."""
    emitter = Emitter("bound", body.names())
    emitter.ops += body.ops
    step = Value(emitter.name("step"), _COUNTER)
    following = emitter.add(step, emitter.integer(1), "next_step")
    return replace(body, inputs=(*body.inputs, step), outputs=(*body.outputs, following), ops=tuple(emitter.ops))


def _bounded(condition: Graph, bound: _Bound) -> Graph:
    """Return a condition that also asks whether the steps are below the bound."""
    emitter = Emitter("bound", condition.names())
    emitter.ops += condition.ops
    inputs = condition.inputs
    if bound.counters:
        counter = inputs[min(bound.counters)]
    else:
        counter = Value(emitter.name("step"), _COUNTER)
        inputs = (*inputs, counter)
    limit = emitter.constant("max_steps", np.array(bound.steps, counter.type.dtype.numpy))
    below = emitter.less(counter, limit, "is_below")
    (goes_on,) = condition.outputs
    both = Value(emitter.name("goes_on"), goes_on.type)
    emitter.op("LOGICAL_AND", [goes_on, below], both)
    return replace(condition, inputs=inputs, ops=tuple(emitter.ops), outputs=(both,))
