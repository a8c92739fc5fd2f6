"""raise-fused-ops: the fused recurrent ops that a file brings become recurrences.

::

    %y = UNIDIRECTIONAL_SEQUENCE_LSTM(%x, ..., variable %h, variable %c)

becomes::

    %y, %c, %h = recurrence(%x, lstm(units=4, activation=tanh), time_major)

A fused op reads and writes its state tensors beside its results. What is in one before the op is the initial
state: what another op wrote there, what the caller gave, else zero, as at the first invoke of the file. Whatever
reads it after the op reads the final state. So nothing is kept any more, unless the state policy says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from converter.analysis.kept_states import state_tensors
from converter.emission.emitter import Emitter
from converter.errors import ConversionError, Rejection
from converter.ir import Graph, Op, Program, Recurrence, TfliteOp, Value, attributes, rewire
from converter.ir.verify import broken_recurrence, unwritten_states
from converter.raising.fused_ops import is_raised, raise_fused_op
from converter.raising.fused_weights import refusal
from converter.raising.state_copies import forward_states
from converter.rules import Rule


def raise_fused_ops(program: Program) -> Program:
    """Make recurrences of all fused recurrent ops.

    Raises ConversionError with a rejection for each one that cannot be read exactly, and for each variable tensor
    that an op other than SVDF reads and nothing writes.
    """
    looped = _looped(program)
    graphs: list[Graph] = []
    rejections: list[Rejection] = []
    for number, graph in enumerate(program.graphs):
        raising = _Raising(graph, is_loop=number in looped)
        graphs.append(raising.run())
        rejections += raising.rejections or _kept(graphs[-1])
    if rejections:
        raise ConversionError("the model cannot be read", rejections)
    return replace(program, graphs=tuple(graphs))


def fused_ops_raised(program: Program) -> bool:
    """True if no fused recurrent op is left that could be raised."""
    return not any(is_raised(op) for op in program.ops())


def _looped(program: Program) -> frozenset[int]:
    """Return the numbers of the graphs that loops run, perhaps several times at an invoke."""
    ops = [[op for op in graph.ops if isinstance(op, TfliteOp)] for graph in program.graphs]
    pending = [number for row in ops for op in row if op.builtin == "WHILE" for number in attributes.graphs(op)]
    found: set[int] = set()
    while pending:
        number = pending.pop()
        if number not in found:
            found.add(number)
            pending += [inner for op in ops[number] for inner in attributes.graphs(op)]
    return frozenset(found)


def _kept(graph: Graph) -> Iterator[Rejection]:
    allowed = {tensor for op in graph.ops for tensor in state_tensors(op)}
    for value in unwritten_states(graph):
        if value not in allowed:
            yield Rejection(
                Rule.KEPT_STATE,
                value.name,
                "it is a variable tensor that nothing writes, so it holds what the invoke before left there",
                "convert the model that the file was made from",
            )


class _Raising:
    """A graph while its fused ops are raised: what each of their state tensors holds, op after op."""

    def __init__(self, graph: Graph, *, is_loop: bool) -> None:
        self.rejections: list[Rejection] = []
        self._graph = graph
        self._is_loop = is_loop
        self._names = graph.names()
        self._producers = graph.producers()
        self._ops: list[Op] = []
        self._held: dict[Value, Value] = {}
        self._owners: dict[Value, list[Op]] = {}
        for op in graph.ops:
            for tensor in state_tensors(op) if is_raised(op) else ():
                self._owners.setdefault(tensor, []).append(op)

    def run(self) -> Graph:
        """Return the graph with its fused ops raised, as far as nothing is refused."""
        if not any(is_raised(op) for op in self._graph.ops):
            return self._graph
        inputs = tuple(self._given(value) for value in self._graph.inputs)
        for op in self._graph.ops:
            try:
                self._ops += self._raised(op) if isinstance(op, TfliteOp) and is_raised(op) else [self._other(op)]
            except ConversionError as error:
                self.rejections += error.rejections
        outputs = tuple(self._held.get(value, value) for value in self._graph.outputs)
        return forward_states(Graph(self._graph.name, inputs, outputs, tuple(self._ops)))

    def _given(self, value: Value) -> Value:
        """Return an input of the graph; a state tensor holds it from then on."""
        if value not in self._owners:
            return value
        self._held[value] = replace(value, is_variable=False)
        return self._held[value]

    def _other(self, op: Op) -> Op:
        """Return an op that is not raised, with what it reads and writes of the state tensors."""
        for value in op.operands:
            if value in self._owners and value not in self._held:
                raise self._refusal(op, value, "reads it before the recurrent op")
        rewired = rewire(op, self._held)
        written = [value for value in op.results if value in self._owners]
        if not written or not isinstance(rewired, TfliteOp):
            return rewired
        for value in written:
            if value in self._held or self._owners[value][0] not in self._later(op):
                raise self._refusal(op, value, "writes it after the recurrent op, or after another one did")
            name = self._names.fresh(f"{value.name}_start")
            self._held[value] = replace(value, name=name, is_variable=False)
        return replace(rewired, results=tuple(self._held.get(value, value) for value in op.results))

    def _later(self, op: Op) -> tuple[Op, ...]:
        return self._graph.ops[self._graph.ops.index(op) :]

    def _raised(self, op: TfliteOp) -> list[Op]:
        """Return the recurrences of a fused op; their final states are in the state tensors from then on."""
        for tensor in state_tensors(op):
            self._check_state(op, tensor)
        before = [rewire(made, self._operands(made)) for made in raise_fused_op(op, self._producers, self._names)]
        ops = [made for step in before for made in self._settled(step, op)]
        lost = set(op.results) - {result for made in ops for result in made.results}
        read = {value for other in self._graph.ops for value in other.operands} | {*self._graph.outputs}
        if lost & read:
            raise refusal(op, Rule.FUSED_OP_FORM, "an op reads what its kernel computes on the way")
        return ops

    def _operands(self, made: Op) -> Mapping[Value, Value]:
        """Return what the operands of an op hold, states of recurrences apart."""
        states = made.initial_state if isinstance(made, Recurrence) else ()
        return {value: held for value, held in self._held.items() if value not in states}

    def _check_state(self, op: TfliteOp, tensor: Value) -> None:
        if not tensor.is_variable:
            raise refusal(op, Rule.FUSED_OP_FORM, f"its state {tensor.name} is not a variable tensor")
        if len(self._owners[tensor]) > 1:
            raise self._refusal(op, tensor, "shares it with another state")
        if self._is_loop and tensor not in self._held:
            raise self._refusal(op, tensor, "runs in a loop, and keeps it from one iteration to the next")

    def _settled(self, made: Op, op: TfliteOp) -> Iterator[Op]:
        """Yield ``made``; a recurrence with what its state tensors hold, which is its final state afterwards."""
        if not isinstance(made, Recurrence):
            yield made
            return
        emitter = Emitter(made.name, self._names)
        initial: list[Value | None] = []
        final, after = [], Emitter(made.name, self._names)
        for tensor, value, size in zip(made.initial_state, made.final_state, made.cell.state_sizes, strict=True):
            if tensor is None or tensor not in self._owners:
                initial.append(tensor)
                final.append(value)
                continue
            if not _fits(tensor, size):
                raise refusal(op, Rule.FUSED_OP_FORM, f"its state {tensor.name} is {tensor.type}, of {size} units")
            held = self._held.get(tensor)
            initial.append(held if held is None else _as_rows(held, size, emitter))
            is_output = tensor in self._graph.outputs and tensor not in self._graph.inputs
            named = replace(value, name=tensor.name) if is_output and tensor.type.rank == 2 else value
            final.append(named)
            self._held[tensor] = named if tensor.type.rank == 2 else _flat(named, tensor, after)
        settled = replace(made, initial_state=tuple(initial), final_state=tuple(final))
        for fault in broken_recurrence(settled):
            raise refusal(op, Rule.FUSED_OP_FORM, fault)
        yield from emitter.ops
        yield settled
        yield from after.ops

    def _refusal(self, op: Op, tensor: Value, detail: str) -> ConversionError:
        return refusal(
            op, Rule.FUSED_OP_STATE, f"{tensor.name} holds the state of a recurrent op, and this op {detail}"
        )


def _fits(state: Value, size: int) -> bool:
    """Return whether a state tensor is [batch, size], or as many numbers in one row."""
    shape = state.type.shape
    if shape is None:
        return True
    return shape[1] in {None, size} if len(shape) == 2 else len(shape) == 1 and (shape[0] or 0) % size == 0


def _as_rows(state: Value, size: int, emitter: Emitter) -> Value:
    """Return a state [batch, size]; the kernels take a flat one, too."""
    if state.type.rank == 2:
        return state
    return emitter.op("RESHAPE", [state, emitter.integers(-1, size)], emitter.value("rows", state, (None, size)))


def _flat(final: Value, tensor: Value, emitter: Emitter) -> Value:
    """Return a final state in the shape of its tensor."""
    if tensor.type.shape is None or not tensor.type.is_static:
        return final
    sizes = emitter.integers(*(size or 0 for size in tensor.type.shape))
    return emitter.op("RESHAPE", [final, sizes], emitter.value("final", final, tensor.type.shape))
