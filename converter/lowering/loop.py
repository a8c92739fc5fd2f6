"""Lower recurrences and scans to loops of builtin ops.

The runtimes copy every carried tensor that changes at each iteration, so a loop that carried all outputs would
cost more per step the longer the sequence is. The steps therefore run in a WHILE that carries a small block of
outputs, inside a WHILE that writes such blocks into a larger one, inside a WHILE that writes those into the whole
sequence; `BlockPlan` says how many of them there are, and of which sizes. What does not change (the projected
inputs, the lengths) passes through all loops as the same tensor, which is not copied.

There are no state tensors: the state is carried, so every invoke starts from the initial state, and dynamic shapes
are harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from converter.emission.emitter import Emitter
from converter.ir import Graph, Names, TensorType, Value, new_op
from converter.lowering.blocks import BlockPlan

AddGraph: TypeAlias = Callable[[Graph], int]
Step: TypeAlias = Callable[
    [Emitter, Value, Sequence[Value], Sequence[Value]], tuple[Sequence[Value], Sequence[Value]]
]
"""Emits one time step: its number, what is kept and the states, to elements of the outputs and new states."""


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """An output of a loop: the type of a step's element, its dimensions as int32 scalars, and the whole.

    ``into`` has one axis more than an element, that of time, which comes first.
    """

    element: TensorType
    sizes: tuple[Value, ...]
    into: Value


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Time steps to be run one after another, in any form.

    ``time`` is how many elements each output has and ``end`` how many steps are run, the other elements being
    zero: both are int32 scalars. ``kept`` is what every step reads and none changes. If ``ends_itself``, steps
    that are run beyond the end add zeros and keep the states by themselves.
    """

    name: str
    time: Value
    end: Value
    kept: tuple[Value, ...]
    states: tuple[Value, ...]
    finals: tuple[Value, ...]
    outputs: tuple[Collected, ...]
    step: Step
    ends_itself: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The blocks of an inner loop as the loops around it carry them: their size, and an empty one per output."""

    size: Value
    empty: tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """The values that a WHILE carries from one iteration to the next.

    It runs the time steps from ``t`` to ``end``, int32 scalars. ``kept`` is read and never changed. ``outputs``
    are filled from the time step ``first`` on, None for 0: a block of each output, or the whole of it. ``inner``
    is what the loops inside start with, from the innermost outwards; without any, an iteration is one time step.
    """

    t: Value
    end: Value
    kept: tuple[Value, ...]
    states: tuple[Value, ...]
    inner: tuple[Blocks, ...] = ()
    outputs: tuple[Value, ...] = ()
    first: Value | None = None

    def values(self) -> tuple[Value, ...]:
        """Return the operands of the WHILE, in their order."""
        inner = (value for blocks in self.inner for value in (blocks.size, *blocks.empty))
        first = () if self.first is None else (self.first,)
        return (self.t, self.end, *self.kept, *self.states, *inner, *self.outputs, *first)

    def names(self) -> tuple[str, ...]:
        """Return the names of `values` inside the loop."""
        kept = (value.name.rpartition("/")[2] or "kept" for value in self.kept)
        states = (f"state_{index}" for index in range(len(self.states)))
        inner = (
            name
            for level, blocks in enumerate(self.inner)
            for name in (f"rows_{level}", *(f"block_{level}_{k}" for k in range(len(blocks.empty))))
        )
        outputs = (f"block_{len(self.inner)}_{k}" for k in range(len(self.outputs)))
        names = Names()
        every = ("t", "end", *kept, *states, *inner, *outputs, *(() if self.first is None else ("first",)))
        return tuple(names.fresh(name) for name in every)

    def mapped(self, function: Callable[[str, Value], Value]) -> Carried:
        """Return the same with ``function`` applied to the name inside a loop, and the value, of everything."""
        made = iter([function(name, value) for name, value in zip(self.names(), self.values(), strict=True)])

        def several(values: Sequence[Value]) -> tuple[Value, ...]:
            return tuple(next(made) for _ in values)

        return Carried(
            next(made),
            next(made),
            several(self.kept),
            several(self.states),
            tuple(Blocks(next(made), several(blocks.empty)) for blocks in self.inner),
            several(self.outputs),
            None if self.first is None else next(made),
        )


def emit_loop(loop: Loop, emitter: Emitter, add_graph: AddGraph) -> None:
    """Emit ``loop`` as nested WHILE ops; ``add_graph`` stores a graph of theirs and returns its number."""
    nest = _Nest(loop, add_graph)
    start = Carried(emitter.integer(0), loop.end, loop.kept, loop.states)
    if not loop.outputs:
        nest.emit_while(emitter, start, finals=loop.finals)
        return
    plan = BlockPlan.of(None if loop.time.data is None else int(loop.time.data))
    *inner, whole = (
        Blocks(size, tuple(_empty(emitter, output, size, known) for output in loop.outputs))
        for size, known in zip(plan.emit_sizes(loop.time, emitter), plan.sizes, strict=True)
    )
    start = replace(start, inner=tuple(inner), outputs=whole.empty)
    if plan.is_exact:
        wholes = tuple(output.into for output in loop.outputs)
        nest.emit_while(emitter, start, finals=loop.finals, outputs=wholes)
        return
    after = nest.emit_while(emitter, start, finals=loop.finals)
    # A computed count would make the outputs dynamic even if all shapes are known.
    count = emitter.pack([loop.time], "time") if plan.time is None else emitter.integers(plan.time)
    for padded, output in zip(after.outputs, loop.outputs, strict=True):
        emitter.first(padded, count, output.into)


class _Nest:
    """The loops of one `Loop`, one inside the other."""

    def __init__(self, loop: Loop, add_graph: AddGraph) -> None:
        self._loop = loop
        self._add_graph = add_graph

    def _run_step(self, emitter: Emitter, at: Carried) -> Carried:
        """Emit one time step: the body of the innermost loop."""
        elements, states = self._loop.step(emitter, at.t, at.kept, at.states)
        rows = [emitter.expand_dims(element, 0, "row") for element in elements]
        after = emitter.add(at.t, emitter.integer(1), "next")
        return replace(at, t=after, states=tuple(states), outputs=_written(emitter, at, rows))

    def _run_block(self, emitter: Emitter, at: Carried) -> Carried:
        """Emit the next inner loop, from empty blocks, and the ops that store its blocks."""
        *deeper, blocks = at.inner
        beyond = emitter.add(at.t, blocks.size, "beyond")
        end = emitter.minimum(beyond, at.end, "block_end")
        start = replace(at, end=end, inner=tuple(deeper), outputs=blocks.empty, first=at.t)
        after = self.emit_while(emitter, start)
        return replace(at, t=beyond, states=after.states, outputs=_written(emitter, at, after.outputs))

    def emit_while(
        self,
        emitter: Emitter,
        start: Carried,
        *,
        finals: tuple[Value, ...] | None = None,
        outputs: tuple[Value, ...] | None = None,
    ) -> Carried:
        """Emit a WHILE that runs while t < end, and return what it carries afterwards.

        ``finals`` and ``outputs`` receive the states and the outputs; None for new values.
        """
        kind = "blocks" if start.inner else "steps"
        condition = self._condition(f"{kind}_condition", start)
        body = self._body(f"{kind}_body", start)
        after = start.mapped(lambda name, value: Value(emitter.name(f"{kind}_{name}"), value.type))
        after = replace(after, states=finals or after.states, outputs=outputs or after.outputs)
        options = {"condSubgraphIndex": condition, "bodySubgraphIndex": body}
        emitter.ops.append(new_op("WHILE", start.values(), after.values(), options))
        return after

    def _condition(self, role: str, start: Carried) -> int:
        at = _inside(start)
        emitter = Emitter("condition", Names(value.name for value in at.values()))
        return self._graph(role, emitter, at, [emitter.less(at.t, at.end, "running")])

    def _body(self, role: str, start: Carried) -> int:
        at = _inside(start)
        emitter = Emitter("body", Names(value.name for value in at.values()))
        after = self._run_block(emitter, at) if at.inner else self._run_step(emitter, at)
        return self._graph(role, emitter, at, _settled(emitter, at, after))

    def _graph(self, role: str, emitter: Emitter, inputs: Carried, outputs: list[Value]) -> int:
        return self._add_graph(
            Graph(f"{self._loop.name}/{role}", inputs.values(), tuple(outputs), tuple(emitter.ops))
        )


def _inside(start: Carried) -> Carried:
    return start.mapped(lambda name, value: Value(name, value.type))


def _written(emitter: Emitter, at: Carried, parts: Sequence[Value]) -> tuple[Value, ...]:
    """Emit what writes a part of each output, at the present time step, into what the loop carries of it."""
    if not parts:
        return ()
    place = at.t if at.first is None else emitter.subtract(at.t, at.first, "place")
    return tuple(
        emitter.update_slice(output, part, place, "written")
        for output, part in zip(at.outputs, parts, strict=True)
    )


def _settled(emitter: Emitter, at: Carried, after: Carried) -> list[Value]:
    """Return the outputs of a body, each a separate tensor.

    The runtimes copy results to the next iteration's inputs one after another: an input that is returned at
    another position may already be overwritten. And a graph lists each output tensor only once.
    """
    inputs, seen = set(at.values()), set[Value]()
    outputs = []
    for name, old, value in zip(at.names(), at.values(), after.values(), strict=True):
        moved = value is not old and (value in inputs or value in seen or value.is_constant)
        outputs.append(emitter.copy(value, f"{name}_copy") if moved else value)
        seen.add(value)
    return outputs


def _empty(emitter: Emitter, output: Collected, size: Value, known: int | None) -> Value:
    shape = (known, *(output.element.shape or ()))
    return emitter.zeros([size, *output.sizes], shape, "no_outputs", dtype=output.element.dtype)
