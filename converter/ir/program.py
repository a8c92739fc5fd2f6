"""Programs: graphs of ops over values, frozen, in topological order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from converter.errors import Rejection
from converter.ir.cells import Cell
from converter.ir.names import Names
from converter.ir.types import Location, Value


class Lowering(Enum):
    """The ways to lower a recurrence to TFLite ops."""

    FUSED = "fused"
    WHILE = "while"
    UNROLLED = "unrolled"


class MaskedOutput(Enum):
    """The output of a recurrence at a masked step."""

    HELD = "held"
    """The output of the step before, zero before the first unmasked step."""

    ZERO = "zero"


@dataclass(frozen=True, slots=True, eq=False)
class Recurrence:
    """A cell run over a sequence.

    ``x`` and ``output`` are [T, B, n] if ``time_major``, else [B, T, n]. ``initial_state`` and ``final_state``
    hold one entry per array of ``cell.state_sizes``, each [B, size]; an initial entry of None is zero.
    With ``sequence_length`` [B], a row past its length has output zero and keeps its state.

    With ``mask`` (bool, [T, B] if ``time_major``, else [B, T]), a row keeps its state at every step where the mask
    is False, and its output is as ``masked_output`` says. A recurrence cannot have both lengths and a mask.

    With ``go_backwards``, every row of ``x`` (and of ``mask``) is read from its end, and the outputs are in the
    order in which the steps are computed, as in Keras. For a row of n steps, n being its length or else T::

        output[t], state[t + 1] = cell(x[t], state[t])            t = 0, ..., n - 1
        output[t], state[t + 1] = cell(x[n - 1 - t], state[t])    t = 0, ..., n - 1, with go_backwards
        output[t], state[t + 1] = 0, state[t]                     t = n, ..., T - 1

    Lengths below 0 or above T count as 0 or T. Those of a recurrence that goes backwards by itself, not in a
    `Bidirectional`, are within these bounds: the runtimes reverse no row beyond them.

    ``lowering`` is the chosen lowering; ``refused`` says why better ones were refused.
    """

    name: str
    cell: Cell
    x: Value
    output: Value
    initial_state: tuple[Value | None, ...]
    final_state: tuple[Value, ...]
    time_major: bool
    sequence_length: Value | None = None
    lowering: Lowering | None = None
    location: Location | None = None
    mask: Value | None = None
    masked_output: MaskedOutput = MaskedOutput.HELD
    go_backwards: bool = False
    refused: tuple[Rejection, ...] = ()

    @property
    def place(self) -> str:
        """Where the recurrence is, for messages: its location in the source, else its name."""
        return self.name if self.location is None else str(self.location)

    @property
    def time_axis(self) -> int:
        """The axis of time in ``x`` and ``output``."""
        return 0 if self.time_major else 1

    @property
    def time(self) -> int | None:
        """How many steps there are, None if unknown."""
        return None if self.x.type.shape is None else self.x.type.shape[self.time_axis]

    @property
    def batch(self) -> int | None:
        """Rows of the batch, None if unknown."""
        return None if self.x.type.shape is None else self.x.type.shape[1 - self.time_axis]

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """Every value the op reads."""
        return (self.x, self.sequence_length, self.mask, *self.initial_state)

    @property
    def results(self) -> tuple[Value, ...]:
        """Every value the op defines."""
        return (self.output, *self.final_state)


@dataclass(frozen=True, slots=True, eq=False)
class TfliteOp:
    """Any op of the TFLite schema, carried verbatim.

    ``builtin`` is the schema's name (``ADD``), ``options_type`` and ``options`` the name and the fields of its
    options table. CUSTOM ops have ``custom_code`` and ``custom_options``.
    """

    builtin: str
    operands: tuple[Value | None, ...]
    results: tuple[Value, ...]
    options_type: str | None = None
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 1
    custom_code: str | None = None
    custom_options: bytes = b""
    intermediates: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        """The name of the op: that of its first result, because TFLite ops have no names."""
        return self.results[0].name if self.results else self.builtin

    @property
    def code(self) -> str:
        """What the op computes: the name of its builtin, or its custom code."""
        return self.custom_code or self.builtin

    @property
    def kind(self) -> str:
        """The name of the op's kind in counts and messages: the builtin, or the custom code."""
        return self.builtin if self.custom_code is None else f"CUSTOM {self.custom_code}"

    def operand(self, index: int) -> Value:
        """Return a mandatory operand. Raises ValueError if it is missing."""
        value = self.operands[index] if index < len(self.operands) else None
        if value is None:
            raise ValueError(f"{self.name}: {self.kind} has no operand {index}")
        return value


@dataclass(frozen=True, slots=True, eq=False)
class ScanStep:
    """The inputs and outputs of a scan's body by their roles; only this class knows their order.

    A body reads ``t``, the number of the step (an int32 scalar), the ``states``, a slice of each sequence, and the
    ``invariants``. It returns ``new_states``, and one element per output.
    """

    t: Value
    states: tuple[Value, ...]
    slices: tuple[Value, ...]
    invariants: tuple[Value, ...]
    new_states: tuple[Value, ...]
    elements: tuple[Value, ...]

    @classmethod
    def of(cls, body: Graph, *, states: int, sequences: int) -> ScanStep:
        """Return the inputs and outputs of the ``body`` of a scan of that many states and sequences."""
        t, *others = body.inputs
        stop = states + sequences
        return cls(
            t,
            tuple(others[:states]),
            tuple(others[states:stop]),
            tuple(others[stop:]),
            body.outputs[:states],
            body.outputs[states:],
        )

    @property
    def inputs(self) -> tuple[Value, ...]:
        """All inputs of the body, in the order of its graph."""
        return (self.t, *self.states, *self.slices, *self.invariants)

    def body(self, name: str, ops: Iterable[Op]) -> Graph:
        """Return ``ops`` as the body of a scan with these inputs and outputs."""
        return Graph(name, self.inputs, (*self.new_states, *self.elements), tuple(ops))


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A step that is run over sequences: a recurrence whose cell is not recognised, or not yet.

    ``body`` computes one step; its inputs and outputs are those of ``step``, whose ``invariants`` and ``elements``
    belong to the ``invariants`` and ``outputs`` here. Time is axis 0 of every sequence and output, and absent in
    slices and elements.

    ``length`` is the time of the outputs (an int32 scalar), None for that of the sequences. ``steps`` is how many
    steps are run (an int32 scalar, at most the length), None for all: the outputs of the others are zero.

    ``lowering`` is the chosen lowering. ``refused`` says why the scan is not a recurrence, and why better
    lowerings were refused.
    """

    name: str
    body: Graph
    sequences: tuple[Value, ...]
    initial_state: tuple[Value, ...]
    invariants: tuple[Value, ...]
    outputs: tuple[Value, ...]
    final_state: tuple[Value, ...]
    length: Value | None = None
    steps: Value | None = None
    lowering: Lowering | None = None
    location: Location | None = None
    refused: tuple[Rejection, ...] = ()

    @property
    def place(self) -> str:
        """Where the scan is, for messages: its location in the source, else its name."""
        return self.name if self.location is None else str(self.location)

    @property
    def step(self) -> ScanStep:
        """The inputs and outputs of the body by their roles."""
        return ScanStep.of(self.body, states=len(self.initial_state), sequences=len(self.sequences))

    @property
    def time(self) -> int | None:
        """How many steps there are, None if unknown."""
        if self.length is not None:
            return None if self.length.data is None else int(self.length.data)
        return self.sequences[0].type.shape[0] if self.sequences[0].type.shape else None

    @property
    def cell(self) -> str:
        """A description of the step."""
        return f"unrecognised step ({len(self.body.ops)} ops)"

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """Every value the op reads."""
        return (*self.sequences, *self.initial_state, *self.invariants, self.length, self.steps)

    @property
    def results(self) -> tuple[Value, ...]:
        """Every value the op defines."""
        return (*self.outputs, *self.final_state)


@dataclass(frozen=True, slots=True, eq=False)
class Bidirectional:
    """Two recurrences over the same ``x``, of which ``backward`` goes backwards.

    The outputs of both are in the order of ``x``: unlike those of a `Recurrence` by itself, ``backward.output`` is
    reversed, each row within its length. For a row of n steps, ``backward.output[t]`` is what the cell gives when
    it reads ``x[t]``, after ``x[t + 1], ..., x[n - 1]``.
    """

    forward: Recurrence
    backward: Recurrence

    @property
    def name(self) -> str:
        """The name of the op: that of its forward recurrence."""
        return self.forward.name

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """Every value the op reads."""
        return (*self.forward.operands, *self.backward.initial_state)

    @property
    def results(self) -> tuple[Value, ...]:
        """Every value the op defines."""
        return (*self.forward.results, *self.backward.results)


Recurrent: TypeAlias = Recurrence | Scan
"""An op that runs step by step, each from the states of the one before, and must be lowered."""

Op: TypeAlias = Recurrent | Bidirectional | TfliteOp

Producers: TypeAlias = Mapping[Value, Op]
"""The op that defines each value of a graph; inputs and constants have none."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """One graph of ops; graph 0 of a program is its main graph, others are bodies of control flow."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ops: tuple[Op, ...]

    def producers(self) -> dict[Value, Op]:
        """Return the op that defines each value."""
        return {result: op for op in self.ops for result in op.results}

    def names(self) -> Names:
        """Return the names of the graph's values."""
        return Names(value.name for value in self.values())

    def values(self) -> Iterator[Value]:
        """Iterate over every value once: inputs, then operands and results of each op, then outputs."""
        everything: list[Value | None] = [*self.inputs]
        for op in self.ops:
            everything += [*op.operands, *op.results]
            if isinstance(op, TfliteOp):
                everything += op.intermediates
        everything += self.outputs
        return iter(dict.fromkeys(value for value in everything if value is not None))


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of a graph's inputs and outputs for callers, in the order of ``Graph.inputs`` and ``outputs``."""

    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graph: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole model: its graphs, and the signatures by which callers use them."""

    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    description: str = ""

    @property
    def signature(self) -> Signature:
        """The first signature of the main graph; the tensors' own names if it has none."""
        for signature in self.signatures:
            if signature.graph == 0:
                return signature
        return Signature("", _names(self.main.inputs), _names(self.main.outputs))

    @property
    def main(self) -> Graph:
        """The graph that an invoke runs."""
        return self.graphs[0]

    def ops(self) -> Iterator[Op]:
        """Iterate over the ops of every graph."""
        return (op for graph in self.graphs for op in graph.ops)

    def recurrences(self) -> Iterator[Recurrence]:
        """Iterate over the recurrences of every graph."""
        return (op for op in self.ops() if isinstance(op, Recurrence))

    def scans(self) -> Iterator[Scan]:
        """Iterate over the scans of every graph."""
        return (op for op in self.ops() if isinstance(op, Scan))

    def map_graphs(self, function: Callable[[Graph], Graph]) -> Program:
        """Return the program with ``function`` applied to each graph."""
        return replace(self, graphs=tuple(function(graph) for graph in self.graphs))

    def map_ops(self, function: Callable[[Op], Op | Iterable[Op]]) -> Program:
        """Return the program with each op replaced by what ``function`` returns: an op, or several."""
        return self.map_graphs(lambda graph: replace(graph, ops=tuple(_expand(graph.ops, function))))

    def op_counts(self) -> dict[str, int]:
        """Count the TFLite ops of every graph by kind, most frequent first."""
        counts: dict[str, int] = {}
        for op in self.ops():
            kind = op.kind if isinstance(op, TfliteOp) else type(op).__name__.upper()
            counts[kind] = counts.get(kind, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _names(values: Iterable[Value]) -> tuple[str, ...]:
    return tuple(value.name for value in values)


def _expand(ops: Iterable[Op], function: Callable[[Op], Op | Iterable[Op]]) -> Iterator[Op]:
    for op in ops:
        outcome = function(op)
        if isinstance(outcome, Recurrence | Bidirectional | Scan | TfliteOp):
            yield outcome
        else:
            yield from outcome
