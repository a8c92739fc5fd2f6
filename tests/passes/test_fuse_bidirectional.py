"""fuse-bidirectional: a fused recurrence and its twin that goes backwards become one op."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import (
    Bidirectional,
    Cell,
    DType,
    Graph,
    Lowering,
    Names,
    Op,
    Program,
    Recurrence,
    Signature,
    TfliteOp,
    Value,
    evaluate,
    verify,
)
from converter.passes.fuse_bidirectional import fuse_bidirectional
from converter.targets import Target
from tests.passes.settled import assert_settled
from tests.programs import gru_cell, lstm_cell, recurrence, rnn_cell, tensor

TIME, BATCH, DEPTH = 5, 2, 3


def both(
    forward: Cell,
    backward: Cell,
    *,
    lengths: bool = False,
    restored: bool = True,
    raw: bool = False,
    go_backwards: tuple[bool, bool] = (False, True),
    lowering: Lowering = Lowering.FUSED,
    given: bool = False,
) -> Program:
    """Two recurrences over x; the second's outputs are read in the order of x (``restored``), or as they are."""
    e, x = Emitter("m", Names({"x", "n", "h", "c"})), tensor("x", TIME, BATCH, DEPTH)
    n = tensor("n", BATCH, dtype=DType.INT32)
    within = e.minimum(e.maximum(n, e.integer(0), "above"), e.integer(TIME), "within")
    states = [tensor(name, BATCH, size) for name, size in zip("ch", backward.state_sizes, strict=False)]
    first = recurrence(forward, x, name="forward", sequence_length=n if lengths else None)
    second = recurrence(backward, x, name="backward", sequence_length=within if lengths else None)
    first, second = (
        replace(op, go_backwards=backwards, lowering=lowering)
        for op, backwards in zip((first, second), go_backwards, strict=True)
    )
    if given:
        second = replace(second, initial_state=tuple(states))
    e.ops += [second, first]
    outputs = [first.output, *first.final_state, *second.final_state]
    if restored:
        turned = e.reverse_rows(second.output, within, 0) if lengths else e.reverse(second.output, 0)
        outputs.append(turned)
    if raw:
        outputs.append(second.output)
    inputs = (x, n, *states)
    signature = Signature(
        "serving_default", tuple(value.name for value in inputs), tuple(f"out{i}" for i in range(len(outputs)))
    )
    return Program((Graph("main", inputs, tuple(outputs), tuple(e.ops)),), (signature,))


def _paired(program: Program, target: Target = Target.LITERT) -> Program:
    after = verify(fuse_bidirectional(verify(program, after="test"), target), after="fuse-bidirectional")
    assert_settled(lambda paired: fuse_bidirectional(paired, target), after)
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((TIME, BATCH, DEPTH)), "n": np.array([3, TIME], np.int32)}
    given |= {value.name: rng.standard_normal(value.type.shape or ()) for value in program.main.inputs[2:]}
    expected, seen = evaluate(program, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_allclose(seen[name], array, err_msg=name)
    return after


def _count(program: Program, kind: type[Op]) -> int:
    return sum(isinstance(op, kind) for op in program.ops())


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(both(lstm_cell(), lstm_cell(seed=1)), id="lstm"),
        pytest.param(both(rnn_cell(), rnn_cell(units=6, seed=1)), id="rnn"),
        pytest.param(both(rnn_cell(), rnn_cell(seed=1), given=True), id="a given state"),
        pytest.param(both(lstm_cell(), lstm_cell(seed=1), restored=False), id="final states alone"),
        pytest.param(both(lstm_cell(), lstm_cell(seed=1), lengths=True), id="lengths"),
    ],
)
def test_both_directions_become_one_op(program: Program) -> None:
    after = _paired(program)
    assert (_count(after, Bidirectional), _count(after, Recurrence)) == (1, 0)
    assert not any(isinstance(op, TfliteOp) and op.builtin.startswith("REVERSE") for op in after.ops())


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(both(lstm_cell(), lstm_cell(), go_backwards=(False, False)), id="both go forwards"),
        pytest.param(both(lstm_cell(), lstm_cell(), go_backwards=(True, True)), id="both go backwards"),
        pytest.param(both(lstm_cell(), lstm_cell(), raw=True), id="outputs in the order of the steps"),
        pytest.param(both(lstm_cell(), lstm_cell(), raw=True, restored=False), id="no other outputs"),
        pytest.param(both(lstm_cell(), lstm_cell(), lowering=Lowering.WHILE), id="loops"),
        pytest.param(both(gru_cell(), gru_cell()), id="no fused op"),
        pytest.param(both(lstm_cell(), lstm_cell(cell_clip=1.0)), id="options differ"),
        pytest.param(both(rnn_cell(), rnn_cell(), lengths=True), id="an RNN with lengths"),
        pytest.param(both(lstm_cell(), lstm_cell(), lengths=True, given=True), id="lengths and a given state"),
    ],
)
def test_what_one_op_does_not_compute_stays_two(program: Program) -> None:
    after = _paired(program)
    assert (_count(after, Bidirectional), _count(after, Recurrence)) == (0, 2)


def test_a_target_without_such_an_op_keeps_two() -> None:
    after = _paired(both(lstm_cell(), lstm_cell(seed=1)), Target.TFLM)
    assert _count(after, Recurrence) == 2


def test_directions_of_other_rows_stay_two() -> None:
    program = both(lstm_cell(), lstm_cell(seed=1), lengths=True)

    def unbounded(op: Op) -> Op:
        is_backward = isinstance(op, Recurrence) and op.go_backwards
        return replace(op, sequence_length=Value("other", op.sequence_length.type)) if is_backward else op

    changed = program.map_ops(unbounded)
    (other,) = {op.sequence_length for op in changed.recurrences() if op.go_backwards}
    main = replace(changed.main, inputs=(*changed.main.inputs, other))
    names = replace(changed.signature, inputs=(*changed.signature.inputs, "other"))
    after = fuse_bidirectional(Program((main,), (names,)), Target.LITERT)
    assert _count(after, Recurrence) == 2
