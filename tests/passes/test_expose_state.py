"""The explicit state policy: what callers see, and that feeding the state back continues a sequence."""

from __future__ import annotations

import numpy as np
import pytest

from converter.convert import Converted, compile_program
from converter.errors import TfliteRnnError
from converter.ir import (
    Array,
    DType,
    Graph,
    Lowering,
    Program,
    Scan,
    Signature,
    TfliteOp,
    constant,
    evaluate,
)
from converter.options import ConvertOptions, StatePolicy
from converter.passes.expose_state import expose_state
from tests.programs import lstm_cell, program, random_inputs, recurrence, rnn_cell, stack, tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool


def explicit(source: Program, lowering: Lowering | None = None) -> Converted:
    return compile_program(source, ConvertOptions(lowering=lowering, state=StatePolicy.EXPLICIT))


def names(converted: Converted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    signature = converted.program.signature
    return signature.inputs, signature.outputs


def only_outputs(cells: list) -> Program:
    full = stack(cells)
    return program(list(full.main.inputs), list(full.recurrences()), [full.main.outputs[0]])


def test_every_state_is_an_input_and_an_output_of_one_name() -> None:
    inputs, outputs = names(explicit(only_outputs([lstm_cell(), rnn_cell(depth=4)])))
    assert inputs == ("x", "state_0_c", "state_0_h", "state_1")
    assert outputs == ("layer_1_outputs", "state_0_c", "state_0_h", "state_1")


def test_a_stateless_conversion_adds_nothing() -> None:
    source = only_outputs([lstm_cell()])
    assert names(compile_program(source)) == (("x",), ("layer_0_outputs",))


def test_a_state_that_callers_give_already_stays_as_it_is() -> None:
    inputs, outputs = names(explicit(stack([lstm_cell()], given_state=True)))
    assert inputs == ("x", "s0_0", "s0_1")
    assert outputs == ("layer_0_outputs", "layer_0_state_0", "layer_0_state_1")


def test_a_constant_state_becomes_an_input() -> None:
    x = tensor("x", None, 2, 3)
    learned = constant("learned", np.ones((1, 4), np.float32))
    op = recurrence(rnn_cell(), x, initial_state=(learned,))
    assert names(explicit(program([x], [op], [op.output])))[0] == ("x", "state_0")


def test_a_name_that_is_taken_by_something_else_is_left_to_it() -> None:
    x = tensor("state_0", None, None, 3)
    op = recurrence(rnn_cell(), x)
    inputs, outputs = names(explicit(program([x], [op], [op.output])))
    assert inputs == ("state_0", "state_0_")
    assert outputs == ("rnn_outputs", "state_0_")


def test_a_scan_that_has_no_state_exposes_none() -> None:
    """A step of which all states were recognised as cells' is left without."""
    x, y = tensor("x", None, None, 3), tensor("y", None, None, 3)
    t, row, squashed = tensor("t", dtype=DType.INT32), tensor("row", None, 3), tensor("squashed", None, 3)
    body = Graph("step", (t, row), (squashed,), (TfliteOp("TANH", (row,), (squashed,)),))
    scan = Scan("scan", body, (x,), (), (), (y,), ())
    op = recurrence(rnn_cell(), y)
    main = Graph("main", (x,), (op.output,), (scan, op))
    source = Program((main,), (Signature("serving_default", ("x",), ("y",)),))
    assert expose_state(source).signature.inputs == ("x", "state_1")


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TfliteRnnError, match="state: expected one of stateless, explicit"):
        ConvertOptions.parse(state="sticky")


@pytest.mark.parametrize("lowering", [Lowering.FUSED, Lowering.WHILE])
def test_chunks_with_their_state_fed_back_are_the_whole_sequence(lowering: Lowering, pool: WorkerPool) -> None:
    source = only_outputs([lstm_cell(), rnn_cell(depth=4)])
    whole = random_inputs(np.random.default_rng(0), source, time=23, batch=3)
    expected = evaluate(source, whole)["layer_1_outputs"]
    model = explicit(source, lowering).model
    for runtime in QUICK:
        state: dict[str, Array] = {
            "state_0_c": np.zeros((3, 4), np.float32),
            "state_0_h": np.zeros((3, 4), np.float32),
            "state_1": np.zeros((3, 4), np.float32),
        }
        outputs = []
        with pool.open(runtime, model) as running:
            for start, stop in ((0, 5), (5, 6), (6, 20), (20, 23)):
                after = running.run({"x": whole["x"][start:stop], **state})
                outputs.append(after.pop("layer_1_outputs"))
                state = after
        np.testing.assert_allclose(np.concatenate(outputs), expected, atol=1e-6)
