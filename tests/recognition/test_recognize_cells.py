"""recognize-cells: one cell in any spelling is that cell, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import Activation, Array, Cell, LstmCell, Program, Recurrence, TfliteOp, Value, evaluate, verify
from converter.passes.recognize_cells import cells_recognized, recognize_cells
from converter.passes.vectorize_scans import vectorize_scans
from tests.programs import gru_cell, lstm_cell, rnn_cell, tensor
from tests.recognition.spelled_steps import Spelling, replaced, spelled

CELLS: dict[str, Cell] = {
    "rnn": rnn_cell(),
    "rnn linear": rnn_cell(activation=Activation.LINEAR),
    "lstm": lstm_cell(),
    "lstm peephole": lstm_cell(peephole=True),
    "lstm cifg": lstm_cell(cifg=True),
    "lstm cifg peephole": lstm_cell(cifg=True, peephole=True),
    "lstm projection": lstm_cell(projection=3, projection_clip=0.2),
    "lstm projection of its width": lstm_cell(projection=4),
    "lstm everything": lstm_cell(peephole=True, projection=3, cell_clip=0.4, projection_clip=0.2, forget_bias=1.0),
    "lstm linear": lstm_cell(activation=Activation.LINEAR),
    "lstm linear projection": lstm_cell(activation=Activation.LINEAR, projection=3),
    "lstm hard": lstm_cell(recurrent_activation=Activation.HARD_SIGMOID),
    "lstm of one unit": lstm_cell(units=1, depth=1),
    "gru": gru_cell(),
    "gru after": gru_cell(reset_after=True),
    "gru linear": gru_cell(activation=Activation.LINEAR),
    "gru after linear": gru_cell(reset_after=True, activation=Activation.LINEAR),
    "gru hard": gru_cell(recurrent_activation=Activation.HARD_SIGMOID),
}


def _inputs(program: Program, seed: int, *, time: int, batch: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    given: dict[str, Array] = {}
    for value in program.main.inputs:
        shape = [batch if dim is None else dim for dim in value.type.shape or ()]
        if value.name == "x":
            shape[0] = time
        is_lengths = value.name == "n"
        given[value.name] = (
            rng.integers(0, time + 1, shape).astype(np.int32) if is_lengths else rng.standard_normal(shape)
        )
    return given


def _same(before: Program, after: Program, *, time: int = 5) -> None:
    for seed in range(3):
        inputs = _inputs(before, seed, time=time)
        expected, seen = evaluate(before, inputs), evaluate(after, inputs)
        for name, array in expected.items():
            np.testing.assert_allclose(seen[name], array, rtol=1e-5, atol=1e-5)


def _recognized(program: Program, cells: Sequence[Cell], *, time: int = 5) -> Program:
    after = verify(recognize_cells(verify(program, after="test")), after="recognize-cells")
    assert cells_recognized(after)
    assert [str(op.cell) for op in after.recurrences()] == [_canonical(cell) for cell in cells], _reasons(after)
    _same(program, after, time=time)
    return after


def _canonical(cell: Cell) -> str:
    return str(replace(cell, forget_bias=0.0) if isinstance(cell, LstmCell) else cell)


def _reasons(program: Program) -> list[str]:
    return [reason.detail for op in program.scans() for reason in op.refused]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_recognised_in_every_spelling(name: str) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(12):
        spelling = Spelling.random(rng)
        after = _recognized(spelled([CELLS[name]], spelling), [CELLS[name]])
        (op,) = after.main.ops if not spelling.packed else after.recurrences()
        assert isinstance(op, Recurrence)
        assert (op.sequence_length is not None) == (spelling.lengths is not None)


@pytest.mark.parametrize("activation", [each for each in Activation if each is not Activation.LINEAR])
def test_every_activation_is_known_by_its_values(activation: Activation) -> None:
    for cell in (
        rnn_cell(activation=activation),
        lstm_cell(activation=activation),
        gru_cell(activation=activation),
    ):
        grows_too_fast = activation is Activation.EXPONENTIAL
        _recognized(spelled([cell], Spelling()), [cell], time=1 if grows_too_fast else 5)


def test_a_stack_becomes_one_recurrence_per_cell() -> None:
    cells = [lstm_cell(projection=3), gru_cell(units=5), lstm_cell(depth=5, peephole=True), rnn_cell(depth=4)]
    for seed in range(6):
        spelling = Spelling.random(np.random.default_rng(seed))
        _recognized(spelled(cells, spelling), cells)


def test_a_dense_layer_on_the_output_leaves_the_loop() -> None:
    def dense(emitter: Emitter, h: Value) -> Value:
        kernel = np.random.default_rng(0).standard_normal((2, 4))
        return emitter.unary("RELU", emitter.fully_connected(h, kernel, np.ones(2), "dense"), "relu")

    for lengths in (None, "done"):
        program = spelled([lstm_cell()], Spelling(lengths=lengths), around=dense)
        after = verify(vectorize_scans(_recognized(program, [lstm_cell()])), after="vectorize-scans")
        assert not list(after.scans())
        _same(program, after)


# --- what is no cell ---------------------------------------------------------------------------------------------


def _refused(program: Program, reason: str) -> None:
    after = recognize_cells(program)
    assert not list(after.recurrences())
    (op,) = after.scans()
    (refusal,) = op.refused
    assert reason in refusal.detail
    _same(program, after)


def _with_builtin(program: Program, builtin: str, other: str, place: int) -> Program:
    """The program with one of its ``builtin`` ops, counted from 0, as another."""
    seen = -1

    def function(op: TfliteOp) -> TfliteOp:
        nonlocal seen
        seen += op.builtin == builtin
        return replace(op, builtin=other) if op.builtin == builtin and seen == place else op

    return replaced(program, function)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_gates_with_different_activations_are_no_lstm(place: int) -> None:
    _refused(_with_builtin(spelled([lstm_cell()], Spelling()), "LOGISTIC", "TANH", place), "no known cell")


@pytest.mark.parametrize(
    ("builtin", "other"), [("TANH", "RELU"), ("LOGISTIC", "TANH"), ("MUL", "ADD"), ("ADD", "SUB")]
)
@pytest.mark.parametrize("cell", ["lstm peephole", "gru", "gru after"])
def test_a_step_with_one_other_op_is_no_cell_or_computes_the_same(cell: str, builtin: str, other: str) -> None:
    program = spelled([CELLS[cell]], Spelling())
    for place in range(3):
        changed = _with_builtin(program, builtin, other, place)
        after = verify(recognize_cells(changed), after="recognize-cells")
        _same(changed, after)


def test_outputs_that_are_not_zero_after_the_end_are_not_recognised() -> None:
    program = spelled([gru_cell()], Spelling(lengths="done"))
    changed = _with_builtin(program, "ZEROS_LIKE", "EXP", 0)
    _refused(changed, "")


def test_states_that_are_not_held_after_the_end_are_not_recognised() -> None:
    program = spelled([lstm_cell()], Spelling(lengths="done"))
    (scan,) = program.scans()
    step = scan.step
    raw = scan.body.producers()[step.new_states[0]].operands[2]
    assert raw is not None
    changed = replace(step, new_states=(raw, *step.new_states[1:]))
    body = changed.body(scan.body.name, scan.body.ops)
    _refused(program.map_ops(lambda _: replace(scan, body=body)), "some of its states are kept")


def test_sequences_that_may_be_of_other_lengths_are_not_recognised() -> None:
    program = spelled([rnn_cell()], Spelling())
    (scan,) = program.scans()
    longer = tensor("longer", None, None, 3)
    slice_ = tensor("slice", None, 3)
    step = scan.step
    (x,) = step.slices
    e = Emitter("more", scan.body.names())
    total = e.add(x, slice_)
    ops = tuple(_rewired(op, x, total) for op in scan.body.ops)
    body = replace(step, slices=(x, slice_)).body(scan.body.name, (*e.ops, *ops))
    two = replace(scan, body=body, sequences=(*scan.sequences, longer))
    main = replace(program.main, inputs=(*program.main.inputs, longer), ops=(two,))
    signature = replace(program.signatures[0], inputs=(*program.signatures[0].inputs, "longer"))
    after = recognize_cells(replace(program, graphs=(main,), signatures=(signature,)))
    assert "every step of its sequences" in _reasons(after)[0]


def _rewired(op: object, old: Value, new: Value) -> TfliteOp:
    assert isinstance(op, TfliteOp)
    return replace(op, operands=tuple(new if value is old else value for value in op.operands))


def test_a_step_with_an_effect_is_no_cell() -> None:
    program = spelled([rnn_cell()], Spelling())
    (scan,) = program.scans()
    custom = TfliteOp("CUSTOM", (scan.step.states[0],), (tensor("printed", None, 4),), custom_code="Print")
    body = replace(scan.body, ops=(custom, *scan.body.ops))
    after = recognize_cells(program.map_ops(lambda _: replace(scan, body=body)))
    assert "may do more" in _reasons(after)[0]


def test_a_step_without_state_is_no_recurrence() -> None:
    program = spelled([rnn_cell()], Spelling())
    (scan,) = program.scans()
    step = replace(scan.step, states=(), new_states=(), invariants=scan.step.states)
    body = step.body(scan.body.name, scan.body.ops)
    stateless = replace(scan, body=body, initial_state=(), final_state=(), invariants=(scan.initial_state[0],))
    main = replace(program.main, outputs=scan.outputs, ops=(stateless,))
    signature = replace(program.signatures[0], outputs=("y",))
    _refused(replace(program, graphs=(main,), signatures=(signature,)), "it has no state")
