"""Random programs on real interpreters against the float64 evaluator.

`make test` runs some; ``make fuzz N=5000`` runs more. Every failure that was found has a named test of its own.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.convert import compile_program
from converter.ir import Activation, Array, Cell, DType, Lowering, Program, Value, constant, evaluate
from converter.options import ConvertOptions
from tests.programs import gru_cell, layer_norm_lstm_cell, lstm_cell, program, recurrence, rnn_cell, tensor
from tflite_rnn.runtime import RUNTIMES, TF_LITE, WorkerPool, compare

pytestmark = pytest.mark.runtime

EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", "150"))
QUICK = [runtime for runtime in RUNTIMES if runtime.interpreter != TF_LITE]

# Bounded functions: errors stay of order one however long the sequence is.
BOUNDED = [
    Activation.TANH,
    Activation.SIGMOID,
    Activation.HARD_SIGMOID,
    Activation.RELU6,
    Activation.SOFTSIGN,
]
GATES = [Activation.SIGMOID, Activation.SIGMOID, Activation.SIGMOID, Activation.HARD_SIGMOID]


@st.composite
def cells(draw: st.DrawFn, depth: int) -> Cell:
    seed, units = draw(st.integers(0, 99)), draw(st.integers(1, 6))
    activation = draw(st.sampled_from([Activation.TANH, *BOUNDED]))
    kind = draw(st.sampled_from(["rnn", "gru", "lstm", "lstm", "lstm", "layer norm"]))
    if kind == "rnn":
        return rnn_cell(units=units, depth=depth, activation=activation, seed=seed)
    if kind == "gru":
        return gru_cell(
            units=units,
            depth=depth,
            reset_after=draw(st.booleans()),
            activation=activation,
            recurrent_activation=draw(st.sampled_from(GATES)),
            seed=seed,
        )
    clips = st.sampled_from([None, None, 0.0, 0.05, 0.5, 3.0])
    cell = lstm_cell(
        units=units,
        depth=depth,
        projection=draw(st.one_of(st.none(), st.integers(1, 7))),
        peephole=draw(st.booleans()),
        cifg=draw(st.booleans()),
        activation=activation,
        recurrent_activation=draw(st.sampled_from(GATES)),
        cell_clip=draw(clips),
        projection_clip=draw(clips),
        forget_bias=draw(st.sampled_from([0.0, 1.0])),
        seed=seed,
    )
    # Of one unit, or clipped, the memory may have no variance: its normalisation would divide noise by noise.
    if kind == "layer norm" and units > 1 and cell.cell_clip is None:
        return layer_norm_lstm_cell(cell, seed=seed)
    return cell


@st.composite
def initial_states(draw: st.DrawFn, cell: Cell, layer: int, batch: int | None) -> tuple[Value | None, ...]:
    """Zero, a learned constant, or an input of the program, each array for itself."""
    states: list[Value | None] = []
    for index, size in enumerate(cell.state_sizes):
        name = f"s{layer}_{index}"
        kind = draw(st.sampled_from(["zero", "constant", "given"]))
        if kind == "zero":
            states.append(None)
        elif kind == "given":
            states.append(tensor(name, batch, size))
        else:
            row = np.random.default_rng(size).standard_normal((1, size)).astype(np.float32)
            states.append(constant(name, row))
    return tuple(states)


@st.composite
def programs(draw: st.DrawFn) -> tuple[Program, list[dict[str, Array]]]:
    """Recurrences, each over the input or over the outputs of an earlier one, and inputs in several sizes."""
    time_major = draw(st.booleans())
    batch = draw(st.sampled_from([None, None, 1, 3]))
    depth = draw(st.integers(1, 5))
    leading = (None, batch) if time_major else (batch, None)
    x = tensor("x", *leading, depth)
    lengths = tensor("lengths", batch, dtype=DType.INT32) if draw(st.booleans()) else None
    inputs = [x] if lengths is None else [x, lengths]
    sequences = [x]
    ops, outputs = [], []
    for layer in range(draw(st.integers(1, 3))):
        x = draw(st.sampled_from([sequences[-1], *sequences]))
        cell = draw(cells((x.type.shape or (0,))[-1] or 0))
        states = draw(initial_states(cell, layer, batch))
        op = recurrence(
            cell, x, name=f"layer_{layer}", time_major=time_major, initial_state=states, sequence_length=lengths
        )
        inputs += [state for state in states if state is not None and not state.is_constant]
        outputs += [value for value in op.final_state if draw(st.booleans())]
        ops.append(op)
        sequences.append(op.output)
        if draw(st.booleans()):
            outputs.append(op.output)
    source = program(inputs, ops, [*dict.fromkeys([sequences[-1], *outputs])])
    sizes = draw(st.lists(st.tuples(st.integers(1, 45), st.integers(1, 9)), min_size=2, max_size=3))
    seed = draw(st.integers(0, 99))
    return source, [arrays(source, time, batch or rows, seed, time_major=time_major) for time, rows in sizes]


def arrays(source: Program, time: int, batch: int, seed: int, *, time_major: bool) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    case: dict[str, Array] = {}
    for name, value in zip(source.signature.inputs, source.main.inputs, strict=True):
        shape = value.type.shape or ()
        if value.type.dtype is DType.INT32:
            case[name] = rng.integers(0, time + 2, batch).astype(np.int32)
            continue
        leading = ((time, batch) if time_major else (batch, time)) if len(shape) == 3 else (batch,)
        case[name] = rng.standard_normal((*leading, shape[-1] or 0)).astype(np.float32)
    return case


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 150,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=programs(), lowering=st.sampled_from([None, None, Lowering.WHILE]))
def test_random_programs_are_exact(
    drawn: tuple[Program, list[dict[str, Array]]], lowering: Lowering | None, pool: WorkerPool
) -> None:
    source, cases = drawn
    report = compare(
        compile_program(source, ConvertOptions(lowering=lowering)).model,
        lambda inputs: evaluate(source, inputs),
        cases,
        pool=pool,
        runtimes=QUICK,
    )
    assert report.ok, str(report)
