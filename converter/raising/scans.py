"""Raise a loop to a scan, and rewrite the ops that read its results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from converter.analysis.uses import backward_slice
from converter.analysis.zeros import is_zero
from converter.emission.emitter import Emitter
from converter.ir import (
    DType,
    Names,
    Op,
    Scan,
    ScanStep,
    Shape,
    StridedSlice,
    TensorType,
    TfliteOp,
    Trait,
    Value,
    has,
    integers,
    is_list_op,
    new_op,
    rewire,
)
from converter.raising.condition import limits_of
from converter.raising.lists import ArrayOperand, ListOperand, is_range
from converter.raising.loop import Loop
from converter.raising.reads import Read, Reader
from converter.raising.trip_count import EmittedTripCount, emit_trip_count
from converter.raising.writes import Write, write_of

_OPAQUE = frozenset({DType.RESOURCE, DType.VARIANT})


@dataclass(slots=True, eq=False)
class Raised:
    """A raised loop: ``ops`` replace the WHILE op, ``other`` its results."""

    ops: list[Op]
    other: dict[Value, Value] = field(default_factory=dict)
    readers: dict[int, list[Op]] = field(default_factory=dict)
    """The replacement of each op that read a list, by the op's id."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The role of each carried value of a loop."""

    loop: Loop
    invariants: frozenset[int]
    counters: frozenset[int]
    writes: tuple[Write, ...]
    states: tuple[int, ...]
    reads: tuple[Read, ...]

    def final_state_of(self, element: Value) -> int | None:
        """Return the position of the state that becomes ``element`` at each step."""
        outputs = self.loop.body.outputs
        return next((position for position in self.states if outputs[position] is element), None)

    @property
    def collected(self) -> tuple[Write, ...]:
        """The writes that need an output of the scan: all except those whose last element is a final state."""
        return tuple(
            write for write in self.writes if not write.is_last or self.final_state_of(write.element) is None
        )


def raise_loop(loop: Loop, names: Names) -> Raised | None:
    """Return ``loop`` as a scan, None if it does not run a step over sequences from first to last."""
    plan = _plan(loop)
    if plan is None or not _are_known(plan):
        return None
    limits = limits_of(loop, plan.counters, plan.invariants, names)
    if limits is None or not limits.values:
        return None
    name = names.fresh(loop_name(loop))
    emitter = Emitter(name, names)
    emitter.ops += limits.ops
    sequences = {_key(read): _sequence(read, emitter) for read in plan.reads}
    plan = replace(plan, writes=tuple(_shortened(write, plan, limits.values) for write in plan.writes))
    counts = [write.count for write in plan.writes if write.count is not None and not write.is_last]
    grows = any(write.count is None for write in plan.writes)
    around = loop.around.extended(emitter.ops)
    trips = emit_trip_count(
        limits.values, counts, tuple(dict.fromkeys(sequences.values())), around, emitter, grows=grows
    )
    if trips is None:
        return None
    return _build(plan, trips, sequences, name, emitter)


def loop_name(loop: Loop) -> str:
    """Return the name of the layer that the loop belongs to."""
    return name_of_loop(re.sub(r"(/LoopCond)?_body$", "", loop.body.name))


def name_of_loop(path: str) -> str:
    """Return the name of the layer that a While op belongs to, by the path of the op."""
    return re.sub(r"/while(_\d+)?$", "", path) or "while"


def _plan(loop: Loop) -> _Plan | None:
    if any(not isinstance(op, TfliteOp) or has(op, Trait.CONTROL) for op in loop.body.ops):
        return None
    invariants, counters = loop.invariants(), loop.counters()
    outside = {loop.body.inputs[position]: loop.initial(position) for position in invariants}
    reader = Reader(loop, frozenset(loop.body.inputs[position] for position in counters), outside)
    changing = [position for position in loop.positions if position not in invariants | counters]
    writes = {position: write for position in changing if (write := write_of(position, reader)) is not None}
    states = tuple(position for position in changing if position not in writes)
    reads = [reader.read_of(op) for op in loop.body.ops if isinstance(op, TfliteOp)]
    found = tuple(read for read in reads if read is not None)
    return _Plan(loop, invariants, counters, tuple(writes.values()), states, found)


def _are_known(plan: _Plan) -> bool:
    """True if states keep their shapes, and lists are only written and read in known ways."""
    loop = plan.loop
    for position in plan.states:
        before, inside = loop.initial(position).type, loop.body.inputs[position].type
        if before.dtype in _OPAQUE or inside.shape is None or before.shape != inside.shape:
            return False
    lists = {loop.op.results[write.position] for write in plan.writes if not write.is_tensor}
    if lists.intersection(loop.graph.outputs):
        return False
    readers = [op for value in lists for op in loop.uses.readers(value)]
    return all(isinstance(op, TfliteOp) and op.custom_code in _READERS for op in readers)


def _key(read: Read) -> tuple[Value, int]:
    return (read.sequence, read.axis)


def _sequence(read: Read, emitter: Emitter) -> Value:
    return emitter.transpose(read.sequence, "time_major") if read.axis else read.sequence


def _build(
    plan: _Plan, trips: EmittedTripCount, sequences: Mapping[tuple[Value, int], Value], name: str, emitter: Emitter
) -> Raised | None:
    loop = plan.loop
    outputs = {write.position: _output(write, plan, trips, emitter) for write in plan.collected}
    body = _Body(plan)
    places = {_key(read): body.slice_of(read) for read in plan.reads}
    slices = [next(places[key] for key, value in sequences.items() if value is it) for it in trips.sequences]
    made = body.step(slices)
    if made is None:
        return None
    step, ops = made
    outside = {loop.body.inputs[position]: loop.initial(position) for position in plan.invariants}
    scan = Scan(
        name=name,
        body=step.body(loop.body.name, ops),
        sequences=trips.sequences,
        initial_state=tuple(loop.initial(position) for position in plan.states),
        invariants=tuple(outside[value] for value in step.invariants),
        outputs=tuple(outputs.values()),
        final_state=tuple(loop.op.results[position] for position in plan.states),
        length=trips.length,
        steps=trips.steps,
    )
    emitter.ops.append(scan)
    raised = Raised(emitter.ops)
    _replace_results(plan, trips, outputs, raised, emitter)
    return raised


class _Body:
    """The graph of one step, without counters, lists and constants."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._body = plan.loop.body
        self._names = self._body.names()
        self._other: dict[Value, Value] = {}
        self._first: list[Op] = []
        self._slices: dict[tuple[Value, int], Value] = {}
        self._t = self._time()
        for position in plan.invariants:
            given = plan.loop.initial(position)
            if given.data is not None:
                self._other[self._body.inputs[position]] = replace(given, name=self._names.fresh(given.name))

    def _time(self) -> Value:
        """Return the number of the step; every counter is replaced by it."""
        counters = [self._body.inputs[position] for position in sorted(self._plan.counters)]
        emitter = Emitter("step", self._names)
        time = Value(emitter.name("time"), TensorType(DType.INT32, ()))
        for counter in counters:
            dtype = counter.type.dtype
            self._other[counter] = time if dtype is DType.INT32 else emitter.cast(time, dtype, "counter")
        self._first = emitter.ops
        return time

    def slice_of(self, read: Read) -> Value:
        """Return the value of the body with the current element of a sequence."""
        result, shape = read.op.results[0], read.sequence.type.shape
        if shape is not None:
            rest = (*shape[: read.axis], *shape[read.axis + 1 :])
            result = replace(result, type=TensorType(result.type.dtype, rest))
        first = self._slices.setdefault(_key(read), result)
        self._other[read.op.results[0]] = first
        return first

    def step(self, slices: Sequence[Value]) -> tuple[ScanStep, tuple[Op, ...]] | None:
        """Return a step's inputs and outputs, and its ops, None if one of them still needs a list or an array."""
        plan, body = self._plan, self._body
        reads = {id(read.op) for read in plan.reads}
        kept = [rewire(op, self._other) for op in body.ops if id(op) not in reads]
        new_states = tuple(self._inside(body.outputs[position]) for position in plan.states)
        elements = tuple(self._inside(write.element) for write in plan.collected)
        step = backward_slice([*self._first, *kept], [*new_states, *elements])
        if any(is_list_op(op) for op in step.ops):
            return None
        states = tuple(body.inputs[position] for position in plan.states)
        invariants = tuple(
            body.inputs[position]
            for position in sorted(plan.invariants)
            if body.inputs[position] in step.values and body.inputs[position] not in self._other
        )
        if any(value.type.dtype in _OPAQUE for value in invariants):
            return None
        return ScanStep(self._t, states, tuple(slices), invariants, new_states, elements), step.ops

    def _inside(self, value: Value) -> Value:
        """Return the replacement of a value of the loop's body."""
        return self._other.get(value, value)


# --- around the loop ---------------------------------------------------------------------------------------------


def _output(write: Write, plan: _Plan, trips: EmittedTripCount, emitter: Emitter) -> Value:
    """Return the scan's output for a write, named as the loop's result."""
    element = write.element.type
    rest: Shape | None = element.shape
    known = TensorType(element.dtype, None if rest is None else (trips.known, *rest))
    if write.is_last:
        return Value(emitter.name("outputs"), known)
    result = plan.loop.op.results[write.position]
    if write.is_tensor:
        return replace(result, type=known)
    stacks: Sequence[Op] = [op for op in _list_readers(result, plan) if _is_whole(op, write, plan)]
    if stacks and not write.reads_all:
        stacks = plan.loop.uses.readers(stacks[0].results[0])
    return replace(stacks[0].results[0], type=known) if stacks else Value(emitter.name("outputs"), known)


def _list_readers(value: Value, plan: _Plan) -> list[TfliteOp]:
    """Return the ops that read a list; `_are_known` has checked them."""
    return [op for op in plan.loop.uses.readers(value) if isinstance(op, TfliteOp)]


def _is_whole(op: TfliteOp, write: Write, plan: _Plan) -> bool:
    """True if ``op`` reads all elements that the loop wrote, in order."""
    if op.custom_code == "TensorListStack":
        return True
    if op.custom_code not in _GATHERS or write.count is None:
        return False
    return is_range(op.operand(ArrayOperand.INDEX), write.count, plan.loop.around)


def _shortened(write: Write, plan: _Plan, limits: Sequence[Value]) -> Write:
    """Return the write with only the elements that are read, if there are as many as the loop has steps.

    A list may be one element longer than its loop, so that it is never empty.
    """
    around = plan.loop.around
    if write.count is None or write.is_last or write.is_tensor:
        return write
    slices = _slices(write, plan)
    ends = {None if one is None else around.number(one.end) for one in slices}
    limit = next((limit for limit in limits if ends == {around.number(limit)}), None)
    return write if limit is None else replace(write, count=limit, reads_all=False)


def _slices(write: Write, plan: _Plan) -> list[StridedSlice | None]:
    """Return the readers of a written list: each an op ``x[:n]``, or None for any other op."""
    uses = plan.loop.uses
    stacks = _list_readers(plan.loop.op.results[write.position], plan)
    readers = [op for stack in stacks for op in uses.readers(stack.results[0])]
    is_whole = all(_is_whole(stack, write, plan) and stack.results[0] not in uses.outputs for stack in stacks)
    return [_start(op) if is_whole else None for op in readers]


def _start(op: Op) -> StridedSlice | None:
    """Return ``op`` if it is ``x[:n]``."""
    sliced = StridedSlice.match(op)
    if sliced is None or not (sliced.is_plain and sliced.has_unit_strides):
        return None
    is_start = integers(sliced.begin) == (0,) and not (sliced.has_open_end(0) or sliced.drops(0))
    return sliced if is_start else None


def _replace_results(
    plan: _Plan, trips: EmittedTripCount, outputs: Mapping[int, Value], raised: Raised, emitter: Emitter
) -> None:
    loop = plan.loop
    for position in plan.invariants:
        raised.other[loop.op.results[position]] = loop.initial(position)
    for position in plan.counters:
        counter = loop.op.results[position]
        if loop.uses.is_read(counter):
            count = trips.count(emitter)
            int32 = counter.type.dtype is DType.INT32
            raised.other[counter] = count if int32 else emitter.cast(count, counter.type.dtype, "count")
    for write in plan.writes:
        result = loop.op.results[write.position]
        if not loop.uses.is_read(result):
            continue
        whole = _last(write, plan, trips, outputs, emitter) if write.is_last else outputs[write.position]
        if write.is_tensor:
            raised.other[result] = whole
        for op in _list_readers(result, plan) if not write.is_tensor else ():
            _replace_reader(op, write, whole, plan, raised)


def _last(
    write: Write, plan: _Plan, trips: EmittedTripCount, outputs: Mapping[int, Value], emitter: Emitter
) -> Value:
    """Return the list with the element that the last step wrote, zero if no step was run."""
    loop = plan.loop
    position = plan.final_state_of(write.element)
    if position is None:
        last = emitter.subtract(trips.count(emitter), emitter.integer(1), "last_step")
        return emitter.expand_dims(emitter.gather(outputs[write.position], last, "last"), 0, "lasts")
    state = loop.op.results[position]
    if not (trips.surely_runs() or is_zero(loop.initial(position), loop.around.producers)):
        some = emitter.less(emitter.integer(0), trips.count(emitter), "runs")
        state = emitter.select(some, state, emitter.zeros_like(state), "last")
    return emitter.expand_dims(state, 0, "lasts")


def _replace_reader(op: TfliteOp, write: Write, whole: Value, plan: _Plan, raised: Raised) -> None:
    """Replace an op that reads the list ``whole``."""
    raised.readers[id(op)] = []
    (result,) = op.results
    if not write.reads_all:
        for start in plan.loop.uses.readers(result):
            raised.readers[id(start)] = []
            raised.other[start.results[0]] = whole
    elif _is_whole(op, write, plan) or (write.is_last and op.custom_code in _GATHERS):
        raised.other[result] = whole
    elif op.custom_code in {"TensorArraySizeV3", "TensorListLength"}:
        count = write.count
        if count is None:
            raise ValueError(f"{op.name}: the length of a growing list is unknown before the loop")
        raised.other[result] = count
    else:
        index = op.operand(ArrayOperand.INDEX if op.custom_code in _ARRAY_READERS else ListOperand.INDEX)
        options = {"axis": 0, "batchDims": 0}
        raised.readers[id(op)] = [new_op("GATHER", [whole, index], [result], options)]


_GATHERS = frozenset({"TensorArrayGatherV3", "TensorListGather"})
_ARRAY_READERS = frozenset({"TensorArrayGatherV3", "TensorArrayReadV3", "TensorArraySizeV3"})
_READERS = _ARRAY_READERS | {"TensorListGather", "TensorListGetItem", "TensorListLength", "TensorListStack"}
