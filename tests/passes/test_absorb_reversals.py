"""absorb-reversals: a recurrence over a reversed sequence goes backwards over the sequence itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from converter.emission.emitter import Emitter
from converter.ir import DType, Graph, Names, Op, Program, Recurrence, Signature, TfliteOp, Value, evaluate, verify
from converter.passes.absorb_reversals import absorb_reversals
from tests.passes.settled import assert_settled
from tests.programs import gru_cell, lstm_cell, recurrence, rnn_cell, tensor

TIME, BATCH, DEPTH = 5, 2, 3


def _sequence(
    name: str, *, time_major: bool, dtype: DType = DType.FLOAT32, depth: Sequence[int] = (DEPTH,)
) -> Value:
    return tensor(name, *((TIME, BATCH) if time_major else (BATCH, TIME)), *depth, dtype=dtype)


def _program(inputs: Sequence[Value], ops: Sequence[Op], outputs: Sequence[Value]) -> Program:
    names = tuple(f"out{index}" for index in range(len(outputs)))
    graph = Graph("main", tuple(inputs), tuple(outputs), tuple(ops))
    return Program((graph,), (Signature("serving_default", tuple(value.name for value in inputs), names),))


def _arrays(program: Program) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, value in zip(program.signature.inputs, program.main.inputs, strict=True):
        if value.type.dtype is DType.INT32:
            arrays[name] = np.array([TIME - 2, TIME], np.int32)
        elif value.type.dtype is DType.BOOL:
            arrays[name] = rng.random(value.type.shape or ()) < 0.6
        else:
            arrays[name] = rng.standard_normal(value.type.shape or ())
    return arrays


def _absorbed(program: Program) -> Program:
    after = verify(absorb_reversals(verify(program, after="test")), after="absorb-reversals")
    assert_settled(absorb_reversals, after)
    given = _arrays(program)
    expected, seen = evaluate(program, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_allclose(seen[name], array, err_msg=name)
    return after


def _reads(program: Program) -> list[tuple[str, bool]]:
    """What each recurrence reads, and whether backwards."""
    return [(op.x.name, op.go_backwards) for op in program.recurrences()]


@pytest.mark.parametrize("time_major", [True, False])
def test_a_recurrence_over_a_reversed_sequence_goes_backwards(time_major: bool) -> None:
    e, x = Emitter("m", Names({"x"})), _sequence("x", time_major=time_major)
    op = recurrence(lstm_cell(), e.reverse(x, 0 if time_major else 1), time_major=time_major)
    e.ops.append(op)
    restored = e.reverse(op.output, op.time_axis, "restored")
    after = _absorbed(_program([x], e.ops, [op.output, restored, *op.final_state]))
    assert _reads(after) == [("x", True)]


@pytest.mark.parametrize("time_major", [True, False])
def test_rows_that_are_reversed_within_their_lengths_are_read_from_their_ends(time_major: bool) -> None:
    e, x = Emitter("m", Names({"x", "n"})), _sequence("x", time_major=time_major)
    lengths = tensor("n", BATCH, dtype=DType.INT32)
    within = e.minimum(e.maximum(lengths, e.integer(0), "above"), e.integer(TIME), "within")
    flipped = e.reverse_rows(x, within, 0 if time_major else 1)
    op = recurrence(gru_cell(), flipped, time_major=time_major, sequence_length=lengths)
    after = _absorbed(_program([x, lengths], [*e.ops, op], [op.output, *op.final_state]))
    assert _reads(after) == [("x", True)]
    # The lengths that the reversal takes: they are within the sequence.
    assert [op.sequence_length for op in after.recurrences()] == [within]


def test_lengths_that_are_clipped_to_a_shape_are_the_same_lengths() -> None:
    e, x = Emitter("m", Names({"x", "n"})), tensor("x", None, None, DEPTH)
    lengths = tensor("n", None, dtype=DType.INT32)
    within = e.minimum(lengths, e.dimension(x, 0), "within")
    op = recurrence(rnn_cell(), e.reverse_rows(x, within, 0), sequence_length=lengths)
    after = absorb_reversals(_program([x, lengths], [*e.ops, op], [op.output]))
    assert _reads(after) == [("x", True)]


def test_a_mask_is_reversed_with_its_sequence() -> None:
    e, x = Emitter("m", Names({"x", "mask"})), _sequence("x", time_major=True)
    mask = _sequence("mask", time_major=True, dtype=DType.BOOL, depth=())
    op = recurrence(rnn_cell(), e.reverse(x, 0))
    op = replace(op, mask=e.reverse(mask, 0, "flipped_mask"))
    after = _absorbed(_program([x, mask], [*e.ops, op], [op.output, *op.final_state]))
    assert _reads(after) == [("x", True)]
    assert [op.mask for op in after.recurrences()] == [mask]


def test_what_is_reversed_twice_goes_forwards() -> None:
    e, x = Emitter("m", Names({"x"})), _sequence("x", time_major=True)
    op = recurrence(rnn_cell(), e.reverse(e.reverse(x, 0), 0))
    e.ops.append(op)
    after = _absorbed(_program([x], e.ops, [op.output]))
    assert _reads(after) == [("x", False)]


def _over(flip: str, *, lengths: bool = False) -> tuple[Program, Recurrence]:
    """A recurrence over what ``flip`` makes of x, an op that is not the reversal it would need."""
    e, x, n = (
        Emitter("m", Names({"x", "n", "mask"})),
        _sequence("x", time_major=True),
        tensor("n", BATCH, dtype=DType.INT32),
    )
    mask = _sequence("mask", time_major=True, dtype=DType.BOOL, depth=())
    ends = n if lengths else None
    match flip:
        case "other axis":
            op = recurrence(rnn_cell(), e.reverse(x, 2), sequence_length=ends)
        case "whole rows":
            op = recurrence(rnn_cell(), e.reverse(x, 0), sequence_length=ends)
        case "parts of rows":
            op = recurrence(rnn_cell(), e.reverse_rows(x, n, 0), sequence_length=ends)
        case "other lengths":
            op = recurrence(
                rnn_cell(), e.reverse_rows(x, e.minimum(n, e.integer(2), "less"), 0), sequence_length=ends
            )
        case _:
            op = replace(recurrence(rnn_cell(), e.reverse(x, 0)), mask=mask)
    return _program([x, n, mask], [*e.ops, op], [op.output]), op


@pytest.mark.parametrize(
    ("flip", "lengths"),
    [
        ("other axis", False),
        ("whole rows", True),  # their padding would come first
        ("parts of rows", False),
        ("other lengths", True),
        ("x but not its mask", False),
    ],
)
def test_any_other_reversal_stays(flip: str, lengths: bool) -> None:
    program, op = _over(flip, lengths=lengths)
    after = _absorbed(program)
    assert list(after.recurrences()) == [op]
    assert any(isinstance(other, TfliteOp) and other.builtin.startswith("REVERSE") for other in after.ops())
