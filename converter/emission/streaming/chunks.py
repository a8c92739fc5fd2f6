"""Write a graph anew on chunks, op by op as planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from converter.analysis.dimensions import Dimensions
from converter.analysis.open_states import OpenState
from converter.analysis.streaming.facts import Action, Feed, Plan, Rows
from converter.analysis.streaming.flow import Flow
from converter.emission.streaming.images import average, valid
from converter.emission.streaming.rewriter import Rewriter, layer_of
from converter.emission.streaming.shaping import alias, last, latest, pad, part, resize
from converter.emission.streaming.totals import cumulate, reduce
from converter.emission.streaming.upsampling import repeat, transposed
from converter.errors import InvalidProgramError
from converter.ir import DType, Graph, MaskedOutput, Recurrence, Scan, TensorType, TfliteOp, Value, dims, rewire


@dataclass(frozen=True, slots=True, eq=False)
class Chunked:
    """A graph on chunks, and the states of its layers: what each starts from is not defined in the graph yet."""

    graph: Graph
    states: tuple[OpenState, ...]


def chunked(graph: Graph, flow: Flow, *, remaining: Value | None = None, counts: bool = False) -> Chunked:
    """Return ``graph`` on chunks, by the plans of ``flow``.

    ``remaining`` and ``counts`` are as in `Past`. Where ``remaining`` is given, it is no input of the graph yet.
    """
    rewriter = Rewriter(graph, flow, Dimensions.of(graph.ops), remaining, counts=counts)
    for op in graph.ops:
        plan = flow.plans.get(op)
        if plan is None:
            rewriter.emitter.ops.append(op)
        elif isinstance(op, TfliteOp):
            _ACTIONS[plan.action](rewriter, op, plan)
        elif isinstance(op, Recurrence):
            _recur(rewriter, op, plan, flow)
        elif isinstance(op, Scan):
            rewriter.keep(replace(op, length=None, steps=None), plan)
        else:
            rewriter.keep(op, plan)
    outputs = [_output(rewriter, value, flow) for value in graph.outputs]
    written = replace(graph, ops=tuple(rewriter.emitter.ops), outputs=tuple(outputs))
    return Chunked(written, tuple(rewriter.past.states))


def _output(rewriter: Rewriter, value: Value, flow: Flow) -> Value:
    _, feed = flow.outputs.get(value, (None, Feed()))
    return rewriter.read(value, feed, layer_of(value.name))


def _recur(rewriter: Rewriter, op: Recurrence, plan: Plan, flow: Flow) -> None:
    """A recurrence that holds its state in rows that are not of the sequence."""
    rows = flow.facts.get(op.output)
    new = rewire(op, rewriter.operands(op, plan))
    if isinstance(new, Recurrence) and isinstance(rows, Rows) and rewriter.past.varies(rows):
        masked = new.masked_output if new.mask is not None else MaskedOutput.ZERO
        new = replace(new, mask=_inside(rewriter, new, rows), masked_output=masked)
    rewriter.emit(new)
    if op.mask is not None and op.masked_output is MaskedOutput.HELD:
        _hold(rewriter, op)


def _hold(rewriter: Rewriter, op: Recurrence) -> None:
    """Let a row that begins with masked steps hold the last output of the chunk before."""
    done = rewriter.emitter.ops.pop()
    if not isinstance(done, Recurrence) or done.mask is None:
        raise InvalidProgramError(f"{op.name}: expected a masked recurrence")
    emitter, past, axis, shape = rewriter.emitter, rewriter.past, op.time_axis, dims(done.output)
    output = replace(done.output, name=emitter.name("held_in_chunk"))
    emitter.ops.append(replace(done, output=output))
    before = past.state(
        f"{layer_of(op.name)}_held", DType.FLOAT32, tuple(1 if a == axis else n for a, n in enumerate(shape))
    )
    flags = emitter.cast(done.mask, DType.FLOAT32, "flags")
    seen = emitter.value("seen", flags, dims(flags))
    emitter.op("CUMSUM", [flags, emitter.integer(axis)], seen, {"exclusive": False, "reverse": False})
    rows = emitter.value("seen", seen, (*dims(seen), 1))
    emitter.op("EXPAND_DIMS", [seen, emitter.integer(2)], rows)
    emitter.select(emitter.less(emitter.number(0.5), rows, "has_output"), output, before, done.output)
    past.end(before, past.part(done.output, axis, -1, None))


def _inside(rewriter: Rewriter, op: Recurrence, rows: Rows) -> Value:
    """Return which rows of the recurrence are of the sequence and unmasked, one for each row of the batch."""
    emitter, shape = rewriter.emitter, dims(op.x)[:2]
    plane = emitter.value("plane", op.x, shape)
    bounds = [emitter.integers(*numbers) for numbers in ((0, 0, 0), (0, 0, 1), (1, 1, 1))]
    options = {"beginMask": 3, "endMask": 3, "shrinkAxisMask": 4}
    emitter.op("STRIDED_SLICE", [op.x, *bounds], plane, options)
    flag = TensorType(DType.BOOL, shape)
    everywhere = Value(emitter.name("everywhere"), flag)
    emitter.op("EQUAL", [emitter.zeros_like(plane), emitter.number(0.0)], everywhere)
    inside = rewriter.past.is_inside(plane, rows)
    mask = emitter.op("LOGICAL_AND", [everywhere, inside], Value(emitter.name("inside"), flag))
    if op.mask is None:
        return mask
    return emitter.op("LOGICAL_AND", [mask, op.mask], Value(emitter.name("mask"), flag))


def _measure(rewriter: Rewriter, op: TfliteOp, plan: Plan) -> None:
    """Sizes of the chunk; most are not needed."""
    del plan
    rewriter.emit(rewire(op, rewriter.values(op)))


_ACTIONS: Mapping[Action, Callable[[Rewriter, TfliteOp, Plan], None]] = MappingProxyType(
    {
        Action.ALIAS: alias,
        Action.AVERAGE: average,
        Action.CUMULATE: cumulate,
        Action.KEEP: Rewriter.keep,
        Action.LAST: last,
        Action.LATEST: latest,
        Action.MEASURE: _measure,
        Action.PAD: pad,
        Action.PART: part,
        Action.REDUCE: reduce,
        Action.REPEAT: repeat,
        Action.RESIZE: resize,
        Action.TRANSPOSED: transposed,
        Action.VALID: valid,
    }
)
