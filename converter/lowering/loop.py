"""Loops of builtin ops: whatever no fused op computes, step by step.

The runtimes copy every carried tensor that changes at each iteration, so a loop that carried all outputs would
cost more per step the longer the sequence is. The steps therefore run in a WHILE that carries a block of `BLOCK`
outputs, inside a WHILE that writes such blocks into a larger one of about `LARGE` outputs, inside a WHILE that
writes those into the whole sequence; a short sequence needs fewer of them. What does not change (the projected
inputs, the lengths) passes through all loops as the same tensor, which is not copied.

Nothing here is a state tensor: state is carried, so every invoke starts anew, and dynamic shapes are harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from converter.emission.emitter import Emitter
from converter.ir import Graph, Names, TensorType, Value, new_op

BLOCK = 20
"""Steps of the innermost loop: what each of them copies is this many outputs."""

LARGE = 100
"""Steps of the loop around it, about: what each block copies."""

AddGraph: TypeAlias = Callable[[Graph], int]
Carried: TypeAlias = Mapping[str, Value]
Body: TypeAlias = Callable[[Emitter, Carried], Carried]
Step: TypeAlias = Callable[[Emitter, Value, Carried, Sequence[Value]], tuple[Sequence[Value], Sequence[Value]]]
"""Emits one step: its number, what is kept and the states, to what is added to each output and the new states."""


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """An output of a loop: the type of what each step adds, its dimensions as int32 scalars, and the whole.

    ``into`` has one axis more than a part, that of time, which comes first.
    """

    part: TensorType
    sizes: tuple[Value, ...]
    into: Value


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Steps to be run one after another, however that is done.

    ``time`` is how many parts each output has and ``end`` how many steps are run, the other parts being zero: both
    are int32 scalars. ``kept`` is what every step reads and none changes. If ``ends_itself``, steps that are run
    beyond the end add zeros and keep the states by themselves.
    """

    name: str
    time: Value
    end: Value
    kept: Carried
    states: tuple[Value, ...]
    finals: tuple[Value, ...]
    outputs: tuple[Collected, ...]
    step: Step
    ends_itself: bool = False


def emit_loop(loop: Loop, emitter: Emitter, add_graph: AddGraph) -> None:
    """Emit ``loop`` as nested WHILE ops; ``add_graph`` stores a graph of theirs and returns its number."""
    nest = _Nest(loop, add_graph)
    start = {"t": emitter.integer(0), "end": loop.end, **loop.kept, **_numbered("state", loop.states)}
    if loop.outputs:
        nest.emit_with_outputs(emitter, start)
    else:
        nest.emit_while(emitter, "steps", start, nest.run_step, into=nest.finals)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Outputs that a loop carries: how many of them, as an int32 scalar and as a number if that is known."""

    count: Value
    known: int | None


class _Nest:
    """The loops of one `Loop`, from the innermost, of number 0, outwards."""

    def __init__(self, loop: Loop, add_graph: AddGraph) -> None:
        self._loop = loop
        self._add_graph = add_graph
        self.finals: dict[str, Value] = _numbered("state", loop.finals)

    def emit_with_outputs(self, emitter: Emitter, start: dict[str, Value]) -> None:
        """Emit all loops, and what cuts the outputs to their length."""
        *blocks, whole = _rows(emitter, self._loop.time)
        for level, rows in enumerate(blocks):
            start[f"rows_{level}"] = rows.count
            start |= {_block(level, k): _empty(emitter, out, rows) for k, out in enumerate(self._loop.outputs)}
        top = len(blocks)
        start |= {_block(top, k): _empty(emitter, out, whole) for k, out in enumerate(self._loop.outputs)}
        time = _number(self._loop.time)
        is_exact = time is not None and whole.known == time
        into = self.finals | (
            {_block(top, k): out.into for k, out in enumerate(self._loop.outputs)} if is_exact else {}
        )
        name = "blocks" if top else "steps"
        after = self.emit_while(emitter, name, start, self._body(top), into=into)
        if is_exact:
            return
        # A computed count would make the outputs dynamic even where all shapes are known.
        count = emitter.pack([self._loop.time], "time") if time is None else emitter.integers(time)
        for k, out in enumerate(self._loop.outputs):
            emitter.first(after[_block(top, k)], count, out.into)

    def _body(self, level: int) -> Body:
        return self.run_step if level == 0 else lambda emitter, at: self._run_block(level, emitter, at)

    def run_step(self, emitter: Emitter, at: Carried) -> Carried:
        """Emit one step: the body of the innermost loop."""
        states = [at[name] for name in self.finals]
        parts, new = self._loop.step(emitter, at["t"], {name: at[name] for name in self._loop.kept}, states)
        rows = [emitter.expand_dims(part, 0, "row") for part in parts]
        updates = {"t": emitter.add(at["t"], emitter.integer(1), "next")}
        return updates | self._written(0, emitter, at, rows) | dict(zip(self.finals, new, strict=True))

    def _run_block(self, level: int, emitter: Emitter, at: Carried) -> Carried:
        """Emit the loop of number ``level - 1``, from an empty block, and what puts the block in its place."""
        inner = level - 1
        beyond = emitter.add(at["t"], at[f"rows_{inner}"], "beyond")
        of_this = {_block(level, k) for k in range(len(self._loop.outputs))} | {f"rows_{inner}"}
        start = {name: value for name, value in at.items() if name not in of_this}
        start |= {"first": at["t"], "end": emitter.minimum(beyond, at["end"], "block_end")}
        after = self.emit_while(emitter, "blocks" if inner else "steps", start, self._body(inner))
        blocks = [after[_block(inner, k)] for k in range(len(self._loop.outputs))]
        return (
            {"t": beyond} | self._written(level, emitter, at, blocks) | {name: after[name] for name in self.finals}
        )

    def _written(self, level: int, emitter: Emitter, at: Carried, blocks: Sequence[Value]) -> dict[str, Value]:
        """Emit what writes outputs, one block of each, into the larger blocks that loop ``level`` carries."""
        if not blocks:
            return {}
        place = emitter.subtract(at["t"], at["first"], "place") if "first" in at else at["t"]
        return {
            _block(level, k): emitter.update_slice(at[_block(level, k)], block, place, "written")
            for k, block in enumerate(blocks)
        }

    def emit_while(
        self, emitter: Emitter, name: str, start: Carried, body: Body, *, into: Carried | None = None
    ) -> dict[str, Value]:
        """Emit a WHILE that runs ``body`` as long as t < end, and return what it carries afterwards.

        ``body`` returns what it changes; everything else is carried through untouched. ``into`` names the values
        that receive results.
        """
        tested = _graph_inputs(start)
        tester = Emitter("condition", Names(value.name for value in tested.values()))
        running = tester.less(tested["t"], tested["end"], "running")
        condition = self._graph(f"{name}_condition", tester, tested, [running])
        at = _graph_inputs(start)
        writer = Emitter("body", Names(value.name for value in at.values()))
        after = at | dict(body(writer, at))
        step = self._graph(f"{name}_body", writer, at, _settled(writer, at, after))
        results = {key: Value(emitter.name(f"{name}_{key}"), value.type) for key, value in start.items()}
        results |= into or {}
        options = {"condSubgraphIndex": condition, "bodySubgraphIndex": step}
        emitter.ops.append(new_op("WHILE", [*start.values()], [*results.values()], options))
        return results

    def _graph(self, role: str, emitter: Emitter, inputs: Carried, outputs: list[Value]) -> int:
        name = f"{self._loop.name}/{role}"
        return self._add_graph(Graph(name, tuple(inputs.values()), tuple(outputs), tuple(emitter.ops)))


def _settled(emitter: Emitter, at: Carried, after: Carried) -> list[Value]:
    """Return what a body hands on, each entry a tensor of its own.

    The runtimes copy results to the next iteration's inputs one after another: an input that is handed on in
    another place may have been overwritten by then. And a tensor is listed only once among a graph's outputs.
    """
    inputs, seen = set(at.values()), set[Value]()
    outputs = []
    for name, value in after.items():
        moved = value is not at[name] and (value in inputs or value in seen or value.is_constant)
        outputs.append(emitter.copy(value, f"{name}_copy") if moved else value)
        seen.add(value)
    return outputs


def _rows(emitter: Emitter, time: Value) -> list[_Rows]:
    """Return the sizes of the blocks that the loops carry: each is a whole number of those before it.

    The last holds all outputs. Blocks are of even sizes, so that few of them go beyond the end.
    """
    known = _number(time)
    if known is None:
        return _computed_rows(emitter, time)
    smallest = max(1, min(BLOCK, known))
    count = max(1, -(-known // LARGE))
    larger = max(1, -(-known // (count * smallest))) * smallest
    sizes = sorted({smallest, larger, larger * count}) if known > BLOCK else [max(1, known)]
    return [_Rows(emitter.integer(size), size) for size in sizes]


def _computed_rows(emitter: Emitter, time: Value) -> list[_Rows]:
    one, smallest = emitter.integer(1), emitter.integer(BLOCK)
    blocks = emitter.ceil_div(time, BLOCK, "blocks")
    count = emitter.maximum(emitter.ceil_div(time, LARGE, "large_blocks"), one)
    above = emitter.subtract(emitter.add(blocks, count), one)
    each = emitter.binary("FLOOR_DIV", above, count, "blocks_of_each")
    larger = emitter.multiply(emitter.maximum(each, one), smallest, "large_block")
    whole = emitter.multiply(larger, count, "padded_time")
    return [_Rows(smallest, BLOCK), _Rows(larger, None), _Rows(whole, None)]


def _empty(emitter: Emitter, output: Collected, rows: _Rows) -> Value:
    sizes, shape = [rows.count, *output.sizes], (rows.known, *(output.part.shape or ()))
    return emitter.zeros(sizes, shape, "no_outputs", dtype=output.part.dtype)


def _number(value: Value) -> int | None:
    return None if value.data is None else int(value.data)


def _block(level: int, output: int) -> str:
    return f"block_{level}_{output}"


def _numbered(name: str, values: Sequence[Value]) -> dict[str, Value]:
    return {f"{name}_{index}": value for index, value in enumerate(values)}


def _graph_inputs(start: Carried) -> dict[str, Value]:
    return {name: Value(name, value.type) for name, value in start.items()}
