"""Scans on real interpreters against NumPy: any step, any states, any outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.emission.emitter import Emitter
from converter.errors import ConversionError
from converter.ir import (
    Array,
    DType,
    Graph,
    Lowering,
    Names,
    Program,
    Scan,
    ScanStep,
    Signature,
    TfliteOp,
    Value,
    constant,
)
from converter.options import ConvertOptions
from tests.programs import lstm_cell, program, recurrence, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool, compare

UNROLLED = ConvertOptions(lowering=Lowering.UNROLLED)
KERNEL = np.random.default_rng(5).standard_normal((4, 7)).astype(np.float32) / 3
BIAS = np.random.default_rng(6).standard_normal(4).astype(np.float32) / 3

Write = Callable[[Emitter, Value, list[Value], list[Value], list[Value]], tuple[Sequence[Value], Sequence[Value]]]


@dataclass(frozen=True)
class Case:
    """A scan: its operands and outputs by shape, the step as ops, and the step in NumPy.

    ``write`` and ``step`` take the number of the step, states, slices and invariants, and return the new states
    and what is added to the outputs.
    """

    write: Write
    step: Callable[..., tuple[list[Array], list[Array]]]
    states: tuple[Value, ...]
    sequences: tuple[Value, ...] = ()
    invariants: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    arrays: dict[str, Callable[[np.random.Generator, int, int], Array]] = field(default_factory=dict)


def _copy(value: Value, name: str) -> Value:
    return Value(name, value.type)


def scan_program(case: Case, *, counts: Sequence[Value] = (), length: Value | None = None) -> Program:
    t = tensor("t", dtype=DType.INT32)
    states = [_copy(value, f"{value.name}_now") for value in case.states]
    slices = [tensor(f"{v.name}_t", *(v.type.shape or ())[1:], dtype=v.type.dtype) for v in case.sequences]
    invariants = [_copy(value, f"{value.name}_inside") for value in case.invariants]
    emitter = Emitter("body", Names(value.name for value in (*states, *slices, *invariants)))
    new, parts = case.write(emitter, t, states, slices, invariants)
    step = ScanStep(t, tuple(states), tuple(slices), tuple(invariants), tuple(new), tuple(parts))
    finals = tuple(_copy(value, f"{value.name}_final") for value in case.states)
    steps = counts[0] if counts else None
    op = Scan(
        "scan",
        step.body("step", emitter.ops),
        case.sequences,
        case.states,
        case.invariants,
        case.outputs,
        finals,
        length=length,
        steps=steps,
    )
    variable = [*case.sequences, *case.states, *case.invariants, *counts, *([length] if length else [])]
    inputs = tuple(value for value in variable if not value.is_constant)
    results = (*case.outputs, *finals)
    signature = Signature("serving", tuple(v.name for v in inputs), tuple(v.name for v in results))
    return Program((Graph("main", inputs, results, (op,)),), (signature,))


def numpy_scan(case: Case, inputs: dict[str, Array], time: int, steps: int) -> dict[str, Array]:
    """The loop, one step after another; outputs of steps that are not run are zero."""
    given = {value.name: inputs[value.name] if value.data is None else value.data for value in case.states}
    states = [given[value.name] for value in case.states]
    invariants = [inputs[value.name] for value in case.invariants]
    collected: list[list[Array]] = [[] for _ in case.outputs]
    for t in range(time):
        slices = [inputs[value.name][t] for value in case.sequences]
        new, parts = case.step(t, states, slices, invariants)
        for into, part in zip(collected, parts, strict=True):
            into.append(part if t < steps else np.zeros_like(part))
        states = new if t < steps else states
    results = {value.name: np.stack(parts) for value, parts in zip(case.outputs, collected, strict=True)}
    return results | {f"{value.name}_final": state for value, state in zip(case.states, states, strict=True)}


def _dense(e, t, states, slices, invariants):
    joined = e.concatenation([slices[0], states[0]], 1, "joined")
    fresh = e.unary("TANH", e.fully_connected(joined, KERNEL, BIAS, "z"), "fresh")
    h = e.subtract(fresh, e.multiply(states[0], e.number(0.25), "quarter"), "h")
    scale = e.unary("TANH", invariants[0], "scale")
    return [h], [h, e.multiply(h, scale, "scaled")]


def _dense_numpy(t, states, slices, invariants):
    h = np.tanh(np.concatenate([slices[0], states[0]], 1) @ KERNEL.T + BIAS) - states[0] / 4
    return [h], [h, h * np.tanh(invariants[0])]


def _swap(e, t, states, slices, invariants):
    a, b = states
    return [b, a], [e.add(a, slices[0], "sum")]


def _counted(e, t, states, slices, invariants):
    total = e.add(states[0], slices[0], "total")
    image = e.add(states[1], e.cast(e.add(t, e.integer(1)), DType.FLOAT32, "number"), "image")
    less = e.less(slices[0], total, "less")
    return [total, image], [total, less, e.cast(image, DType.INT32, "rounded"), t]


def _counted_numpy(t, states, slices, invariants):
    total, image = states[0] + slices[0], states[1] + np.float32(t + 1)
    return [total, image], [total, slices[0] < total, image.astype(np.int32), np.asarray(t, np.int32)]


def _one_twice(e, t, states, slices, invariants):
    """Both states become the same tensor; one output is a constant, one depends on its slice alone."""
    mean = e.multiply(e.add(states[0], states[1], "total"), e.number(0.5), "mean")
    return [mean, mean], [e.constant("one", np.ones((2,), np.float32)), e.unary("TANH", slices[0], "squashed")]


def _one_twice_numpy(t, states, slices, invariants):
    return [(states[0] + states[1]) / 2] * 2, [np.ones(2, np.float32), np.tanh(slices[0])]


def _reshaped(e, t, states, slices, invariants):
    """The size of the output is that of a sum of two unknown batches: only running it tells."""
    result, halves = tensor("reshaped", None, 1), e.integers(-1, 1)
    e.op("RESHAPE", [e.add(states[0], slices[0], "sum"), halves], result)
    return [states[0]], [result]


def _row(e, t, states, slices, invariants):
    return [states[0]], [e.add(states[0], slices[0], "sum")]


def normal(*shape):
    return lambda rng, time, batch: rng.standard_normal(
        [{"T": time, "B": batch}.get(dim, dim) for dim in shape]
    ).astype(np.float32)


def cases(time: int | None, batch: int | None) -> dict[str, Case]:
    int32 = DType.INT32
    return {
        "dense": Case(
            _dense,
            _dense_numpy,
            (tensor("h0", batch, 4),),
            (tensor("x", time, batch, 3),),
            (tensor("factor", 4),),
            (tensor("hs", time, batch, 4), tensor("scaled", time, batch, 4)),
            {"h0": normal("B", 4), "x": normal("T", "B", 3), "factor": normal(4)},
        ),
        "states that change places": Case(
            _swap,
            lambda _, states, slices, __: ([states[1], states[0]], [states[0] + slices[0]]),
            (tensor("a", batch, 2), tensor("b", batch, 2)),
            (tensor("x", time, batch, 2),),
            (),
            (tensor("sums", time, batch, 2),),
            {"a": normal("B", 2), "b": normal("B", 2), "x": normal("T", "B", 2)},
        ),
        "states and outputs of other types and ranks": Case(
            _counted,
            _counted_numpy,
            (tensor("total0", batch, dtype=int32), constant("image0", np.full((2, 3, 1), 0.25, np.float32))),
            (tensor("n", time, batch, dtype=int32),),
            (),
            (
                tensor("totals", time, batch, dtype=int32),
                tensor("lesses", time, batch, dtype=DType.BOOL),
                tensor("rounds", time, 2, 3, 1, dtype=int32),
                tensor("numbers", time, dtype=int32),
            ),
            {
                "total0": lambda rng, _, batch: rng.integers(0, 9, batch).astype(np.int32),
                "n": lambda rng, time, batch: rng.integers(0, 9, (time, batch)).astype(np.int32),
            },
        ),
        "one tensor twice": Case(
            _one_twice,
            _one_twice_numpy,
            (tensor("a", batch, 2), tensor("b", batch, 2)),
            (tensor("x", time, batch, 2),),
            (),
            (tensor("ones", time, 2), tensor("squashed", time, batch, 2)),
            {"a": normal("B", 2), "b": normal("B", 2), "x": normal("T", "B", 2)},
        ),
        "an output whose size must be tried": Case(
            _reshaped,
            lambda _, states, slices, __: (states, [(states[0] + slices[0]).reshape(-1, 1)]),
            (tensor("a", batch, 2),),
            (tensor("x", time, batch, 2),),
            (),
            (tensor("tall", time, None if batch is None else 2 * batch, 1),),
            {"a": normal("B", 2), "x": normal("T", "B", 2)},
        ),
        "a state of one row beside a batch": Case(
            _row,
            lambda _, states, slices, __: (states, [states[0] + slices[0]]),
            (tensor("a", None if batch is None else 1, 2),),
            (tensor("x", time, batch, 2),),
            (),
            (tensor("sums", time, batch, 2),),
            {"a": normal(1, 2), "x": normal("T", "B", 2)},
        ),
    }


NAMES = list(cases(None, None))
# One block or less, several, and several large ones; growing and shrinking.
SIZES = ((5, 2), (1, 1), (20, 3), (130, 2), (41, 7), (0, 2))


def check(
    source: Program, case: Case, sizes: Sequence[tuple[int, int]], pool: WorkerPool, options=None
) -> Converted:
    converted = compile_program(source, options or ConvertOptions())
    rng = np.random.default_rng(0)
    given = []
    for time, batch in sizes:
        arrays = {name: make(rng, time, batch) for name, make in case.arrays.items()}
        # How many steps are run, and how long the outputs are, if these are inputs.
        numbers = {"steps": max(0, time - 3), "time": time}
        counts = {k: np.asarray(v, np.int32) for k, v in numbers.items() if k in source.signature.inputs}
        given.append({**arrays, **counts})

    def reference(inputs: dict[str, Array]) -> dict[str, Array]:
        time = len(inputs[case.sequences[0].name]) if case.sequences else int(inputs["time"])
        return numpy_scan(case, inputs, time, int(inputs.get("steps", time)))

    report = compare(converted.model, reference, given, pool=pool, runtimes=QUICK)
    assert report.ok, str(report)
    return converted


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_exact_with_unknown_shapes(name: str, pool: WorkerPool) -> None:
    case = cases(None, None)[name]
    sizes = [size for size in SIZES if size[0] > 0]
    converted = check(scan_program(case), case, sizes, pool)
    (record,) = converted.report.lowerings
    assert (record.lowering, [reason.rule for reason in record.refused]) == ("while", ["known-cells"])


@pytest.mark.parametrize("options", [ConvertOptions(), UNROLLED], ids=["loop", "unrolled"])
@pytest.mark.parametrize("time", [3, 23])
@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_exact_with_fixed_shapes(
    name: str, time: int, options: ConvertOptions, pool: WorkerPool
) -> None:
    case = cases(time, 2)[name]
    converted = check(scan_program(case), case, [(time, 2)], pool, options)
    assert ("WHILE" in converted.report.op_counts) is (options is not UNROLLED)


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_are_not_run_leave_zeros_and_the_states(name: str, pool: WorkerPool) -> None:
    case = cases(None, None)[name]
    steps = tensor("steps", dtype=DType.INT32)
    check(scan_program(case, counts=[steps]), case, [(45, 2), (2, 3)], pool)
    fixed = cases(4, 2)[name]
    check(scan_program(fixed, counts=[steps]), fixed, [(4, 2)], pool, UNROLLED)


def test_a_scan_needs_no_sequence(pool: WorkerPool) -> None:
    case = Case(
        lambda e, _, states, *__: ([e.multiply(states[0], e.number(0.5), "half")], [states[0]]),
        lambda _, states, *__: ([states[0] / 2], [states[0]]),
        (tensor("a", None, 2),),
        outputs=(tensor("halves", None, None, 2),),
        arrays={"a": normal("B", 2)},
    )
    source = scan_program(case, length=tensor("time", dtype=DType.INT32))
    check(source, case, [(5, 2), (27, 1)], pool)


def test_what_depends_on_slices_alone_is_computed_before_the_loop() -> None:
    lowered = compile_program(scan_program(cases(30, 2)["dense"])).model
    from converter.flatbuffer import read_model

    main, *inner = read_model(lowered, source="test").graphs
    before = [op.kind for op in main.ops if isinstance(op, TfliteOp)]
    assert "FULLY_CONNECTED" in before  # of the sequence
    assert "TANH" in before  # of the invariant
    body = next(graph for graph in inner if graph.name == "scan/steps_body")
    counts = [op.kind for op in body.ops if isinstance(op, TfliteOp)]
    assert counts.count("FULLY_CONNECTED") == counts.count("TANH") == 1
    assert "CONCATENATION" not in counts


def test_no_fused_op_computes_an_unknown_step() -> None:
    source = scan_program(cases(3, 2)["dense"])
    with pytest.raises(ConversionError, match="the loop is not a known cell"):
        compile_program(source, ConvertOptions(lowering=Lowering.FUSED))


@pytest.mark.parametrize("source", [scan_program(cases(None, 2)["dense"]), None], ids=["scan", "recurrence"])
def test_unrolled_steps_need_a_fixed_time(source: Program | None) -> None:
    x = tensor("x", None, 2, 3)
    op = recurrence(lstm_cell(), x)
    with pytest.raises(ConversionError, match="unrolling needs it now"):
        compile_program(source or program([x], [op], [op.output]), UNROLLED)


def test_a_scan_of_unknown_shapes_makes_a_fused_op_beside_it_illegal() -> None:
    case = cases(None, None)["dense"]
    source = scan_program(case)
    x = tensor("other", None, None, 3)
    op = recurrence(lstm_cell(), x)
    main = source.main
    beside = Graph("main", (*main.inputs, x), (*main.outputs, op.output), (*main.ops, op))
    signature = Signature("s", tuple(v.name for v in beside.inputs), tuple(v.name for v in beside.outputs))
    records = compile_program(Program((beside,), (signature,))).report.lowerings
    assert sorted(record.lowering for record in records) == ["while", "while"]
