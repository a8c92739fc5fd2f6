"""Recurrences that go backwards become recurrences over reversed sequences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Program, Recurrence, Signature, TfliteOp, evaluate, verify
from converter.lowering.reversals import spell_reversals
from tests.programs import gru_cell, recurrence, rnn_cell, tensor

TIME, BATCH, DEPTH = 5, 2, 3


def _backwards(
    *, lengths: bool = False, masked: bool = False, time_major: bool = True, copies: int = 1
) -> Program:
    leading = (TIME, BATCH) if time_major else (BATCH, TIME)
    x, n = tensor("x", *leading, DEPTH), tensor("n", BATCH, dtype=DType.INT32)
    mask = tensor("mask", *leading, dtype=DType.BOOL)
    ops = [
        replace(
            recurrence(gru_cell(seed=copy), x, name=f"rnn_{copy}", time_major=time_major),
            sequence_length=n if lengths else None,
            mask=mask if masked else None,
            go_backwards=True,
        )
        for copy in range(copies)
    ]
    outputs = tuple(value for op in ops for value in op.results)
    signature = Signature("serving_default", ("x", "n", "mask"), tuple(f"out{i}" for i in range(len(outputs))))
    return Program((Graph("main", (x, n, mask), outputs, tuple(ops)),), (signature,))


def _spelled(program: Program) -> Program:
    def spell(graph: Graph) -> Graph:
        return replace(graph, ops=tuple(spell_reversals(graph.ops, graph.names())))

    after = verify(program.map_graphs(spell), after="test")
    rng = np.random.default_rng(0)
    leading = (program.main.inputs[0].type.shape or ())[:2]
    given = {
        "x": rng.standard_normal((*leading, DEPTH)),
        "n": np.array([3, TIME], np.int32),
        "mask": rng.random(leading) < 0.6,
    }
    expected, seen = evaluate(program, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_allclose(seen[name], array, err_msg=name)
    assert not any(op.go_backwards for op in after.recurrences())
    return after


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, {"REVERSE_V2": 1}),
        ({"masked": True}, {"REVERSE_V2": 2}),
        ({"lengths": True}, {"REVERSE_SEQUENCE": 1}),
        ({"copies": 2}, {"REVERSE_V2": 1}),
    ],
    ids=["x", "x and its mask", "rows within their lengths", "one for two recurrences"],
)
def test_what_is_read_backwards_is_reversed(
    options: dict[str, int], counts: dict[str, int], time_major: bool
) -> None:
    seen = _spelled(_backwards(time_major=time_major, **options)).op_counts()
    assert {kind: count for kind, count in seen.items() if kind != "RECURRENCE"} == counts


def test_what_is_reversed_already_is_not_reversed_again() -> None:
    program = _backwards()
    e = Emitter("more", program.main.names())
    flipped = e.reverse(program.main.inputs[0], 0)
    other = recurrence(rnn_cell(), flipped, name="other")
    main = replace(program.main, ops=(*e.ops, other, *program.main.ops))
    after = _spelled(replace(program, graphs=(main,)))
    assert after.op_counts()["REVERSE_V2"] == 1
    assert {op.x for op in after.recurrences()} == {flipped}


def test_a_recurrence_that_goes_forwards_stays_as_it_is() -> None:
    program = _backwards().map_ops(
        lambda op: replace(op, go_backwards=False) if isinstance(op, Recurrence) else op
    )
    assert list(spell_reversals(program.main.ops, Names())) == list(program.main.ops)
    assert not any(isinstance(op, TfliteOp) for op in program.ops())
