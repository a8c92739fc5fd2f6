"""Random programs for property-based tests: any cells, in any arrangement that the compiler takes.

`compilations` draws a program, the options to compile it with, and inputs in several sizes. What is drawn is
shrunk by hypothesis: towards one small recurrence, compiled without options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from converter.emission.emitter import Emitter
from converter.ir import (
    Activation,
    Array,
    Cell,
    DType,
    Gate,
    Graph,
    LayerNormLstmCell,
    Lowering,
    LstmCell,
    Names,
    Op,
    Program,
    Recurrence,
    Scan,
    ScanStep,
    Signature,
    TfliteOp,
    Value,
    constant,
    format_program,
)
from converter.lowering.steps import emit_step, input_projection
from converter.options import ConvertOptions, StatePolicy
from converter.targets import LIMITS, Target
from tests.programs import gru_cell, layer_norm_lstm_cell, lstm_cell, recurrence, rnn_cell, tensor

# With these, values are of order one however long the sequence is; of the others the recurrence is damped.
BOUNDED = (
    Activation.TANH,
    Activation.SIGMOID,
    Activation.HARD_SIGMOID,
    Activation.RELU6,
    Activation.SOFTSIGN,
    Activation.KERAS2_HARD_SIGMOID,
    Activation.HARD_TANH,
    Activation.SPARSE_SIGMOID,
)
GATES = (
    Activation.SIGMOID,
    Activation.SIGMOID,
    Activation.SIGMOID,
    Activation.HARD_SIGMOID,
    Activation.KERAS2_HARD_SIGMOID,
    Activation.TANH,
)
ACTIVATIONS = (Activation.TANH, Activation.TANH, *BOUNDED, *Activation)
LOWERINGS = (None, None, None, *Lowering)
TARGETS = (*[Target.LITERT] * 7, *Target)
POLICIES = (StatePolicy.STATELESS, *StatePolicy)


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of the input, None if open, and which of the first two axes is time."""

    time_major: bool
    time: int | None
    batch: int | None

    def sequence(self, name: str, depth: int, *, time_major: bool | None = None) -> Value:
        by_time = self.time_major if time_major is None else time_major
        leading = (self.time, self.batch) if by_time else (self.batch, self.time)
        return tensor(name, *leading, depth)


@dataclass(frozen=True, slots=True, repr=False)
class Compilation:
    """A program, how to compile it, and its inputs in several sizes.

    ``time_axes`` holds the axis of time of those outputs that have one.
    """

    program: Program
    options: ConvertOptions
    layout: Layout
    cases: tuple[dict[str, Array], ...]
    time_axes: dict[str, int]

    def __repr__(self) -> str:
        sizes = [{name: list(array.shape) for name, array in case.items()} for case in self.cases]
        return f"{self.options}\n{sizes}\n{format_program(self.program)}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # hypothesis would print every array

    @property
    def is_streamed(self) -> bool:
        return self.options.state is not StatePolicy.STATELESS

    def batch_of(self, case: Mapping[str, Array]) -> int:
        return int(case["x"].shape[1 if self.layout.time_major else 0])

    def cuts(self, case: Mapping[str, Array]) -> list[int]:
        """Where a sequence is cut into chunks: anywhere, or into equal ones if time is fixed."""
        time = case["x"].shape[0 if self.layout.time_major else 1]
        if self.layout.time is not None:
            return [*range(0, time + 1, self.layout.time)]
        inner = np.random.default_rng(time).integers(1, time + 1, 3).tolist()
        return sorted({0, *inner, time})

    def chunk(self, case: Mapping[str, Array], start: int, stop: int) -> dict[str, Array]:
        """The inputs of one chunk: a part of the sequence, and of the lengths what is left of them."""
        x = case["x"][start:stop] if self.layout.time_major else case["x"][:, start:stop]
        rest = {name: np.clip(array - start, 0, stop - start) for name, array in case.items() if name != "x"}
        return {"x": x, **rest}


@dataclass
class Draft:
    """A graph while it is drawn: what later layers may read."""

    layout: Layout
    emitter: Emitter
    causal: bool
    learned: bool
    fusable: bool
    inputs: list[Value] = field(default_factory=list)
    sequences: list[tuple[Value, bool]] = field(default_factory=list)
    states: list[Value] = field(default_factory=list)
    lengths: list[Value] = field(default_factory=list)

    def add(self, op: Recurrence | Scan) -> None:
        self.emitter.ops.append(op)
        self.states += [value for value in op.final_state if value.type.rank == 2]


# --- cells -----------------------------------------------------------------------------------------------------


@st.composite
def fusable_cells(draw: st.DrawFn, depth: int) -> Cell:
    """Cells that a fused op computes: of one loop in a graph of open sizes all others become loops."""
    seed, units = draw(st.integers(0, 99)), draw(st.integers(1, 6))
    activation = draw(st.sampled_from([Activation.TANH, Activation.TANH, Activation.RELU6]))
    if draw(st.booleans()):
        return rnn_cell(units=units, depth=depth, activation=activation, seed=seed)
    clips = st.sampled_from([None, None, 0.05, 0.5, 3.0])
    return lstm_cell(
        units=units,
        depth=depth,
        projection=draw(st.one_of(st.none(), st.integers(1, units))),
        peephole=draw(st.booleans()),
        cifg=draw(st.booleans()),
        activation=activation,
        cell_clip=draw(clips),
        projection_clip=draw(clips),
        forget_bias=draw(st.sampled_from([0.0, 1.0])),
        gate_norm=units > 2 and draw(st.booleans()),  # of two units, the sums may be equal up to rounding
        seed=seed,
    )


@st.composite
def cells(draw: st.DrawFn, depth: int) -> Cell:
    seed, units = draw(st.integers(0, 99)), draw(st.integers(1, 6))
    activation = draw(st.sampled_from(ACTIVATIONS))
    kind = draw(st.sampled_from(["rnn", "lstm", "gru", "lstm", "layer norm", "lstm"]))
    if kind == "rnn":
        return _damped(rnn_cell(units=units, depth=depth, activation=activation, seed=seed))
    if kind == "gru":
        cell = gru_cell(
            units=units,
            depth=depth,
            reset_after=draw(st.booleans()),
            activation=activation,
            recurrent_activation=draw(st.sampled_from(GATES[:-1])),
            seed=seed,
        )
        return _damped(cell)
    clips = st.sampled_from([None, None, 0.0, 0.05, 0.5, 3.0])
    lstm = lstm_cell(
        units=units,
        depth=depth,
        projection=draw(st.one_of(st.none(), st.integers(1, 9))),
        peephole=draw(st.booleans()),
        cifg=draw(st.booleans()),
        activation=activation,
        recurrent_activation=draw(st.sampled_from(GATES[:-1] if activation not in BOUNDED else GATES)),
        cell_clip=draw(clips),
        projection_clip=draw(clips),
        forget_bias=draw(st.sampled_from([0.0, 1.0])),
        seed=seed,
    )
    # Of one unit, or clipped, the memory may have no variance: its normalisation would divide noise by noise.
    if kind == "layer norm" and units > 1 and lstm.cell_clip is None and activation in BOUNDED:
        return layer_norm_lstm_cell(lstm, seed=seed)
    return _damped(lstm)


def _damped(cell: Cell) -> Cell:
    """Return ``cell`` with weak recurrent kernels where nothing else bounds what it computes."""
    if isinstance(cell, LayerNormLstmCell) or cell.activation in BOUNDED:
        return cell
    steep = cell.activation is Activation.EXPONENTIAL
    scale = 0.02 if steep else 0.15

    def damped(gate: Gate) -> Gate:
        kernel = gate.kernel * np.float32(0.3 if steep else 1.0)
        return Gate(kernel, gate.recurrent_kernel * np.float32(scale), gate.bias)

    weak = cell.map_gates(lambda _, gate: damped(gate))
    if isinstance(weak, LstmCell) and weak.cell_clip is None:
        return replace(weak, cell_clip=1.0 if steep else 6.0)
    return weak


# --- initial states --------------------------------------------------------------------------------------------


@st.composite
def starts(draw: st.DrawFn, draft: Draft, sizes: Sequence[int]) -> tuple[Value | None, ...]:
    """Zero, a learned constant, an input of the program, or a final state: each array for itself."""
    return tuple(draw(_start(draft, size)) for size in sizes)


@st.composite
def _start(draw: st.DrawFn, draft: Draft, size: int) -> Value | None:
    emitter, batch = draft.emitter, draft.layout.batch
    handed = [value for value in draft.states if value.type.shape == (batch, size)]
    # A state that is given or handed over is not the model's own, so it is not kept from chunk to chunk.
    kinds = ["zero", *["constant"] * draft.learned]
    kinds += [] if draft.causal else ["given", *["handed over"] * (2 * bool(handed))]
    kind = draw(st.sampled_from(kinds))
    if kind == "zero":
        return None
    if kind == "constant":
        rows = batch if batch is not None and draw(st.booleans()) else 1
        array = np.random.default_rng(size).standard_normal((rows, size)).astype(np.float32)
        return constant(emitter.name("learned"), array)
    if kind == "handed over":
        value = draw(st.sampled_from(handed))
        return emitter.unary("TANH", value, "squashed") if draw(st.booleans()) else value
    given = tensor(f"given_{len(draft.inputs)}", batch, size)
    draft.inputs.append(given)
    return given


# --- layers: each reads sequences of the draft and adds some ---------------------------------------------------


def _depth(x: Value) -> int:
    return int((x.type.shape or (0,))[-1] or 0)


@st.composite
def forward(draw: st.DrawFn, draft: Draft, number: int) -> None:
    x, time_major = draw(st.sampled_from(draft.sequences[::-1]))
    op = draw(_recurrence(draft, x, time_major, f"layer_{number}", _lengths(draw, draft)))
    draft.add(op)
    draft.sequences.append((_tamed(draft, op), time_major))


@st.composite
def backward(draw: st.DrawFn, draft: Draft, number: int) -> None:
    """A recurrence that goes backwards, or over what is reversed; its outputs in reverse, or in order of x."""
    x, time_major = draw(st.sampled_from(draft.sequences[::-1]))
    lengths = _lengths(draw, draft)
    if draw(st.booleans()):
        op = draw(_recurrence(draft, x, time_major, f"layer_{number}", lengths))
        op = replace(op, go_backwards=True)
    else:
        flipped = _reversed(draft, x, lengths, time_major)
        op = draw(_recurrence(draft, flipped, time_major, f"layer_{number}", lengths))
    draft.add(op)
    if draw(st.booleans()):
        draft.sequences.append((_tamed(draft, op), time_major))
    else:
        draft.sequences.append((_reversed(draft, _tamed(draft, op), lengths, time_major), time_major))


@st.composite
def both(draw: st.DrawFn, draft: Draft, number: int) -> None:
    """A bidirectional layer as importers bring it; often of twin cells, which one op may compute."""
    x, time_major = draw(st.sampled_from(draft.sequences[::-1]))
    lengths = _lengths(draw, draft)
    first = draw(_recurrence(draft, x, time_major, f"layer_{number}", lengths))
    cell = _twin(first.cell) if draw(st.sampled_from([True, True, False])) else None
    flipped = _reversed(draft, x, lengths, time_major)
    second = draw(_recurrence(draft, flipped, time_major, f"layer_{number}_back", lengths, cell=cell))
    parts = []
    for op in draw(st.permutations([first, second])):
        draft.add(op)
        output = _tamed(draft, op)
        parts.append(output if op is first else _reversed(draft, output, lengths, time_major))
    if draw(st.booleans()):
        draft.sequences.append((draft.emitter.concatenation(parts, 2, f"merged_{number}"), time_major))
    else:
        draft.sequences += [(part, time_major) for part in parts]


def _twin(cell: Cell) -> Cell:
    """A cell of the same kind and options with other weights: those of ``cell``, its units in reverse."""
    return cell.map_gates(lambda _, gate: gate.map_weights(lambda array: array[::-1].copy()))


@st.composite
def own_step(draw: st.DrawFn, draft: Draft, number: int) -> None:
    """A scan: a step that is some cell's, to be recognised, or of no cell that is known."""
    x, time_major = draw(st.sampled_from(draft.sequences[::-1]))
    emitter = draft.emitter
    by_time = x if time_major else emitter.transpose(x, f"by_time_{number}")
    cell = draw((fusable_cells if draft.fusable else cells)(_depth(x)))
    is_known = draft.fusable or draw(st.booleans())
    step, ops = (
        _step_of_cell(cell, draft.layout.batch) if is_known else _step_of_its_own(_depth(x), draft.layout.batch)
    )
    sizes = [_depth(value) for value in step.states]
    name = f"scan_{number}"
    op = Scan(
        name,
        step.body("step", ops),
        (by_time,),
        tuple(_spelled_out(draft, draw(_start(draft, size)), by_time, size) for size in sizes),
        (),
        (draft.layout.sequence(f"{name}/outputs", _depth(step.elements[0]), time_major=True),),
        tuple(tensor(f"{name}/state_{i}", draft.layout.batch, size) for i, size in enumerate(sizes)),
    )
    draft.add(op)
    draft.sequences.append((op.outputs[0], True))


def _step_of_cell(cell: Cell, batch: int | None) -> tuple[ScanStep, Sequence[Op]]:
    t, x = tensor("t", dtype=DType.INT32), tensor("x_t", batch, cell.input_size)
    states = [tensor(f"state_{i}_t", batch, size) for i, size in enumerate(cell.state_sizes)]
    emitter = Emitter("step", Names({"t", "x_t", *(state.name for state in states)}))
    projection = input_projection(cell)
    projected = emitter.fully_connected(x, projection.kernel, projection.bias, "projected")
    output, new = emit_step(emitter, cell, projected, states)
    return ScanStep(t, tuple(states), (x,), (), tuple(new), (output,)), emitter.ops


def _step_of_its_own(depth: int, batch: int | None) -> tuple[ScanStep, Sequence[Op]]:
    """a' = tanh(K [x, a] + 1), b' = b / 2 + a'; the output is [b', x]."""
    size = 1 + depth % 4
    t, x = tensor("t", dtype=DType.INT32), tensor("x_t", batch, depth)
    a, b = tensor("a_t", batch, size), tensor("b_t", batch, size)
    emitter = Emitter("step", Names({"t", "x_t", "a_t", "b_t"}))
    kernel = np.random.default_rng(depth).standard_normal((size, depth + size)) / 2
    joined = emitter.concatenation([x, a], 1, "joined")
    new = emitter.unary("TANH", emitter.fully_connected(joined, kernel, np.ones(size), "z"), "a")
    total = emitter.add(emitter.multiply(b, emitter.number(0.5)), new, "b")
    output = emitter.concatenation([total, x], 1, "output")
    return ScanStep(t, (a, b), (x,), (), (new, total), (output,)), emitter.ops


def _spelled_out(draft: Draft, start: Value | None, by_time: Value, size: int) -> Value:
    """The initial state of a scan has a row for each row of the batch."""
    emitter, batch = draft.emitter, draft.layout.batch
    if start is not None and not start.is_constant:
        return start
    zeros = emitter.zeros([emitter.dimension(by_time, 1), emitter.integer(size)], (batch, size), "zeros")
    if start is None or start.data is None or (batch is None and draft.causal):
        return zeros
    if batch is None:
        return emitter.add(zeros, start, "learned_rows")
    rows = np.broadcast_to(start.data, (batch, size)).astype(np.float32)
    return constant(emitter.name("learned_rows"), rows)


@st.composite
def ordinary(draw: st.DrawFn, draft: Draft, number: int) -> None:
    """An op that is no recurrence: elementwise, dense, of two sequences, or one that turns the layout."""
    emitter, name = draft.emitter, f"ordinary_{number}"
    x, time_major = draw(st.sampled_from(draft.sequences[::-1]))
    depth = _depth(x)
    peers = [y for y, layout in draft.sequences if layout is time_major and _depth(y) == depth]
    peer = draw(st.sampled_from(peers))
    rng = np.random.default_rng(number)
    kernel = rng.standard_normal((1 + number, depth)) / depth
    makers: dict[str, Callable[[], Value]] = {
        "tanh": lambda: emitter.unary("TANH", x, name),
        "residual": lambda: emitter.add(x, peer, name),
        "scale": lambda: emitter.multiply(x, emitter.weights("factor", rng.standard_normal(depth)), name),
        "dense": lambda: emitter.fully_connected(x, kernel, np.ones(1 + number), name),
        "columns": lambda: emitter.columns(x, 0, max(1, depth - 1), name),
        "join": lambda: emitter.concatenation([x, peer], 2, name),
        "transpose": lambda: emitter.transpose(x, name),
    }
    kind = draw(st.sampled_from([*makers, "pool"]))
    if kind != "pool":
        draft.sequences.append((makers[kind](), time_major is not (kind == "transpose")))
    elif not draft.causal:
        draft.states.append(emitter.unary("TANH", emitter.sum(x, 0 if time_major else 1, "total"), name))


# --- what layers share -----------------------------------------------------------------------------------------


@st.composite
def _recurrence(
    draw: st.DrawFn,
    draft: Draft,
    x: Value,
    time_major: bool,
    name: str,
    lengths: Value | None,
    cell: Cell | None = None,
) -> Recurrence:
    cell = draw((fusable_cells if draft.fusable else cells)(_depth(x))) if cell is None else cell
    return recurrence(
        cell,
        x,
        name=name,
        time_major=time_major,
        initial_state=draw(starts(draft, cell.state_sizes)),
        sequence_length=lengths,
    )


def _lengths(draw: st.DrawFn, draft: Draft) -> Value | None:
    """No lengths, those of an earlier layer, or (twice in a graph) others."""
    fresh = ["new"] if len(draft.lengths) < 2 else []
    choice = draw(st.sampled_from([None, *draft.lengths, *fresh]))
    if choice != "new":
        return choice
    lengths = tensor(f"lengths_{len(draft.lengths)}", draft.layout.batch, dtype=DType.INT32)
    draft.lengths.append(lengths)
    draft.inputs.append(lengths)
    return lengths


def _reversed(draft: Draft, x: Value, lengths: Value | None, time_major: bool) -> Value:
    emitter, axis = draft.emitter, 0 if time_major else 1
    result = emitter.value("reversed", x, x.type.shape or ())
    if lengths is None:
        return emitter.op("REVERSE_V2", [x, emitter.integers(axis)], result)
    options = {"seqDim": axis, "batchDim": 1 - axis}
    return emitter.op("REVERSE_SEQUENCE", [x, lengths], result, options)


def _tamed(draft: Draft, op: Recurrence) -> Value:
    """The outputs for later layers: within order one, also those of an exponential."""
    inner = op.cell.lstm if isinstance(op.cell, LayerNormLstmCell) else op.cell
    if inner.activation is not Activation.EXPONENTIAL:
        return op.output
    return draft.emitter.unary("TANH", op.output, "tamed")


# --- whole programs --------------------------------------------------------------------------------------------

Layer = Callable[[Draft, int], st.SearchStrategy[None]]
CAUSAL: tuple[Layer, ...] = (forward, forward, ordinary, own_step)
LAYERS: tuple[Layer, ...] = (*CAUSAL, forward, both, backward)


@st.composite
def programs(
    draw: st.DrawFn, layout: Layout, *, causal: bool, learned: bool = True
) -> tuple[Program, dict[str, int]]:
    """A graph of one to four layers, of which some outputs and final states are read; and their axes of time."""
    draft = Draft(layout, Emitter("net", Names()), causal, learned, draw(st.booleans()))
    x = layout.sequence("x", draw(st.integers(1, 5)))
    draft.inputs.append(x)
    draft.sequences.append((x, layout.time_major))
    draw(forward(draft, 0))
    for number in range(1, draw(st.integers(1, 4))):
        draw(draw(st.sampled_from(CAUSAL if causal else LAYERS))(draft, number))
    axes = {value: 0 if time_major else 1 for value, time_major in draft.sequences[1:]}
    axes |= {op.output: op.time_axis for op in draft.emitter.ops if isinstance(op, Recurrence)}
    readable = [*axes, *draft.states]
    wanted = draw(st.lists(st.sampled_from(readable), min_size=1, max_size=4, unique_by=id))
    outputs = tuple(value for value in readable if value in wanted)
    names = tuple(value.name.replace("/", "_") for value in outputs)
    signature = Signature("serving_default", tuple(value.name for value in draft.inputs), names)
    source = Program((Graph("main", tuple(draft.inputs), outputs, tuple(draft.emitter.ops)),), (signature,))
    return source, {name: axes[value] for name, value in zip(names, outputs, strict=True) if value in axes}


@st.composite
def compilations(draw: st.DrawFn) -> Compilation:
    """A program, options that may suit it, and inputs; what the options cannot do to it is for the compiler."""
    options = ConvertOptions(
        lowering=draw(st.sampled_from(LOWERINGS)),
        state=draw(st.sampled_from(POLICIES)),
        target=draw(st.sampled_from(TARGETS)),
        pair_directions=draw(st.sampled_from([True, True, True, False])),
    )
    causal = options.state is not StatePolicy.STATELESS
    is_open = LIMITS[options.target].dynamic
    times = st.sampled_from([None, None, None, 7] if is_open else [1, 4, 7, 20, 23])
    batches = st.sampled_from([None, None, 1, 3] if is_open else [1, 2])
    time = draw(st.integers(1, 9)) if options.lowering is Lowering.UNROLLED else draw(times)
    batch = draw(st.sampled_from([1, 2])) if options.state is StatePolicy.STREAMING else draw(batches)
    layout = Layout(draw(st.booleans()), time, batch)
    # What was learned is for callers to feed under the explicit policy, and a stream feeds zeros.
    learned = options.state is not StatePolicy.EXPLICIT
    source, axes = draw(programs(layout, causal=causal, learned=learned))
    chunks = 3 if causal else 1
    sizes = draw(st.lists(st.tuples(st.integers(1, 45), st.integers(1, 9)), min_size=2, max_size=3))
    seed, dirty = draw(st.integers(0, 99)), draw(st.booleans())
    cases = [
        _arrays(source, layout, (time or steps) * chunks, batch or rows, seed + number, dirty=dirty)
        for number, (steps, rows) in enumerate(sizes)
    ]
    return Compilation(source, options, layout, tuple(cases), axes)


def _arrays(source: Program, layout: Layout, time: int, batch: int, seed: int, *, dirty: bool) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    reverses = any(map(_reverses_rows, source.ops()))
    case: dict[str, Array] = {}
    for name, value in zip(source.signature.inputs, source.main.inputs, strict=True):
        shape = value.type.shape or ()
        if value.type.dtype is DType.INT32:
            # REVERSE_SEQUENCE takes no length beyond the end, recurrences do.
            case[name] = rng.integers(0, time + (1 if reverses else 3), batch).astype(np.int32)
        else:
            leading = ((time, batch) if layout.time_major else (batch, time)) if len(shape) == 3 else (batch,)
            case[name] = rng.standard_normal((*leading, shape[-1] or 0)).astype(np.float32)
    lengths = _lengths_of_all_readers(source) if dirty else None
    if lengths is not None:
        rows = case["x"].swapaxes(0, 1) if layout.time_major else case["x"]
        for row, length in zip(rows, case[lengths.name], strict=True):
            row[length:] = np.nan
    return case


def _reverses_rows(op: Op) -> bool:
    if isinstance(op, Recurrence):
        return op.go_backwards
    return isinstance(op, TfliteOp) and op.builtin == "REVERSE_SEQUENCE"


def _lengths_of_all_readers(source: Program) -> Value | None:
    """The lengths that every reader of ``x`` keeps: what is past them may be anything. None if there are none."""
    x = source.main.inputs[0]
    kept: set[Value | None] = set()
    for op in source.main.ops:
        if x not in op.operands:
            continue
        if isinstance(op, Recurrence):
            kept.add(op.sequence_length)
        else:
            is_reversal = isinstance(op, TfliteOp) and op.builtin == "REVERSE_SEQUENCE"
            kept.add(op.operands[1] if is_reversal else None)
    return kept.pop() if len(kept) == 1 else None
