"""Recurrences as loops of builtin ops: for whatever no fused op computes.

What depends on x alone is one FULLY_CONNECTED for all steps, before the loop. The steps run in a WHILE of steps
inside a WHILE of blocks: the runtimes copy every carried tensor that changes at each iteration, so the inner loop
carries a block of `BLOCK` outputs and the outer one writes it into the whole sequence. A step therefore costs the
same however long the sequence is. What does not change (the projected inputs, the lengths) passes through both
loops as the same tensor, which is not copied.

Nothing here is a state tensor: state is carried, so every invoke starts anew, and dynamic shapes are harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from converter.emit import Emitter, dims
from converter.ir import Graph, MaskedOutput, Op, Recurrence, TfliteOp, Value
from converter.lowering.steps import emit_step, input_projection

BLOCK = 20
"""Steps of the inner loop: enough to make the outer loop's copies rare, few enough to keep its own small."""

AddGraph: TypeAlias = Callable[[Graph], int]
Carried: TypeAlias = Mapping[str, Value]
Body: TypeAlias = Callable[[Emitter, Carried], Carried]


def lower_loop(op: Recurrence, taken: set[str], add_graph: AddGraph, *, output_read: bool) -> list[Op]:
    """Return the ops that compute ``op`` by a loop; their results are ``op``'s own.

    ``taken`` holds the names in use and receives the new ones; ``add_graph`` stores a graph of the loop and
    returns its number. Without ``output_read`` only the final state is computed.
    """
    emitter = Emitter(op.name, taken)
    loop = _Loop(op, emitter, add_graph)
    if output_read:
        loop.emit_with_outputs()
    else:
        loop.emit_final_state()
    return emitter.ops


class _Loop:
    """One recurrence on its way to a loop: emits what both loops need when made."""

    def __init__(self, op: Recurrence, emitter: Emitter, add_graph: AddGraph) -> None:
        self._op = op
        self._emitter = emitter
        self._add_graph = add_graph
        projection = input_projection(op.cell)
        projected = emitter.fully_connected(op.x, projection.kernel, projection.bias, "projected_inputs")
        self._xs = projected if op.time_major else emitter.transpose(projected, "projected_inputs_by_time")
        self._time, self._batch = emitter.dimension(self._xs, 0), emitter.dimension(self._xs, 1)
        # Carried by every loop, "end" being where it stops.
        self._start: dict[str, Value] = {"t": emitter.integer(0), "xs": self._xs, "end": self._time}
        if op.sequence_length is not None:
            longest = emitter.reduce_max(op.sequence_length, 0, "longest")
            self._start |= {"end": emitter.minimum(self._time, longest, "end"), "lengths": op.sequence_length}
        if op.mask is not None:
            self._start |= self._masking(op.mask)
        for index, (given, size) in enumerate(zip(op.initial_state, op.cell.state_sizes, strict=True)):
            self._start[f"state_{index}"] = self._initial_state(given, size)
        self._finals = {f"state_{index}": value for index, value in enumerate(op.final_state)}

    def _masking(self, mask: Value) -> dict[str, Value]:
        """Emit what the steps need of a mask: itself [T, B, 1], and an output of zero to hold at first.

        A row that started from zero needs no such output: until its first step its state is the same.
        """
        emitter, op = self._emitter, self._op
        by_time = mask if op.time_major else emitter.transpose(mask, "mask_by_time")
        masking = {"mask": emitter.expand_dims(by_time, 2, "mask_rows")}
        if op.masked_output is MaskedOutput.HELD and op.initial_state[-1] is not None:
            masking["held"] = self._initial_state(None, op.cell.output_size)
        return masking

    def emit_final_state(self) -> None:
        """Emit one loop of steps that keeps no output."""
        self._while(self._emitter, "steps", self._start, self._step, into=self._finals)

    def emit_with_outputs(self) -> None:
        """Emit the loop of blocks, and what cuts the outputs to their length."""
        emitter, op = self._emitter, self._op
        steps, rows, size = dims(self._xs)[0], dims(self._xs)[1], op.cell.output_size
        block = BLOCK if steps is None else max(1, min(BLOCK, steps))
        padded = None if steps is None else max(1, -(-steps // block)) * block
        depth = emitter.integer(size)
        empty = emitter.zeros([emitter.integer(block), self._batch, depth], (block, rows, size), "no_block")
        padded_time = self._round_up(block) if padded is None else emitter.integer(padded)
        ys = emitter.zeros([padded_time, self._batch, depth], (padded, rows, size), "no_outputs")

        def run_block(inner: Emitter, at: Carried) -> Carried:
            beyond = inner.add(at["t"], inner.integer(block), "beyond")
            start = {name: value for name, value in at.items() if name != "ys"}
            start |= {"first": at["t"], "end": inner.minimum(beyond, at["end"], "block_end")}
            after = self._while(inner, "steps", start, self._step)
            written = {"ys": inner.update_slice(at["ys"], after["block"], at["t"], "written")}
            kept = [*self._finals, *(["held"] if "held" in at else [])]
            return written | {"t": beyond} | {name: after[name] for name in kept}

        is_whole = op.time_major and padded is not None and padded == steps
        into = self._finals | ({"ys": op.output} if is_whole else {})
        after = self._while(emitter, "blocks", {**self._start, "ys": ys, "block": empty}, run_block, into=into)
        if not is_whole:
            self._emit_output(after["ys"])

    def _initial_state(self, given: Value | None, size: int) -> Value:
        emitter, shape = self._emitter, (dims(self._xs)[1], size)
        if given is not None and not given.is_constant:
            return given
        zeros = emitter.zeros([self._batch, emitter.integer(size)], shape, "zero_state")
        # A constant may have one row for every row of the batch.
        return zeros if given is None else emitter.add(zeros, given, "initial_state")

    def _round_up(self, block: int) -> Value:
        """Emit the number of steps, rounded up to whole blocks, of which there is one even for no steps."""
        emitter = self._emitter
        above, divisor = emitter.add(self._time, emitter.integer(block - 1)), emitter.integer(block)
        blocks = emitter.binary("FLOOR_DIV", above, divisor, "blocks", options_type="FloorDivOptions")
        return emitter.maximum(emitter.multiply(blocks, divisor), divisor, "padded_time")

    def _emit_output(self, ys: Value) -> None:
        emitter, op = self._emitter, self._op
        steps = dims(self._xs)[0]
        # A computed count would make the outputs dynamic even where all shapes are known.
        count = emitter.pack([self._time], "time") if steps is None else emitter.integers(steps)
        if op.time_major:
            emitter.first(ys, count, op.output)
        else:
            emitter.transpose(emitter.first(ys, count, "outputs_by_time"), op.output)

    def _step(self, emitter: Emitter, at: Carried) -> Carried:
        """Emit one step: the body of the loop of steps."""
        old = [at[name] for name in self._finals]
        output, new = emit_step(emitter, self._op.cell, emitter.gather(at["xs"], at["t"], "x"), old)
        if "lengths" in at:
            alive = emitter.expand_dims(emitter.less(at["t"], at["lengths"], "alive"), 1, "alive_rows")
            new = [emitter.select(alive, fresh, kept) for fresh, kept in zip(new, old, strict=True)]
            output = emitter.select(alive, output, emitter.zeros_like(output))
        if "mask" in at:
            alive = emitter.gather(at["mask"], at["t"], "alive")
            new = [emitter.select(alive, fresh, kept) for fresh, kept in zip(new, old, strict=True)]
            output = self._masked_output(emitter, at, alive, output, new)
        updates = {"t": emitter.add(at["t"], emitter.integer(1), "next")}
        if "block" in at:
            place = emitter.subtract(at["t"], at["first"], "place")
            updates["block"] = emitter.update_slice(
                at["block"], emitter.expand_dims(output, 0, "row"), place, "block"
            )
        if "held" in at:
            updates["held"] = output
        return updates | dict(zip(self._finals, new, strict=True))

    def _masked_output(
        self, emitter: Emitter, at: Carried, alive: Value, output: Value, new: list[Value]
    ) -> Value:
        """Emit the output of a step that some rows may skip; ``new`` is the state after it."""
        if self._op.masked_output is MaskedOutput.ZERO:
            return emitter.select(alive, output, emitter.zeros_like(output))
        # The last array of every cell's state is its output.
        return emitter.select(alive, output, at["held"]) if "held" in at else new[-1]

    def _while(
        self, emitter: Emitter, name: str, start: Carried, body: Body, *, into: Carried | None = None
    ) -> dict[str, Value]:
        """Emit a WHILE that runs ``body`` as long as t < end, and return what it carries afterwards.

        ``body`` returns what it changes; everything else is carried through untouched. ``into`` names the values
        that receive results.
        """
        tested = _graph_inputs(start)
        tester = Emitter("condition", {value.name for value in tested.values()})
        running = tester.less(tested["t"], tested["end"], "running")
        condition = self._graph(f"{name}_condition", tester, tested, [running])
        at = _graph_inputs(start)
        writer = Emitter("body", {value.name for value in at.values()})
        after = at | dict(body(writer, at))
        step = self._graph(f"{name}_body", writer, at, [after[key] for key in at])
        results = {key: Value(emitter.name(f"{name}_{key}"), value.type) for key, value in start.items()}
        results |= into or {}
        options = {"condSubgraphIndex": condition, "bodySubgraphIndex": step}
        carried = tuple(start.values())
        emitter.ops.append(TfliteOp("WHILE", carried, tuple(results.values()), "WhileOptions", options))
        return results

    def _graph(self, role: str, emitter: Emitter, inputs: Carried, outputs: list[Value]) -> int:
        name = f"{self._op.name}/{role}"
        return self._add_graph(Graph(name, tuple(inputs.values()), tuple(outputs), tuple(emitter.ops)))


def _graph_inputs(start: Carried) -> dict[str, Value]:
    return {name: Value(name, value.type) for name, value in start.items()}
