from __future__ import annotations

from dataclasses import replace

import pytest

from converter.errors import InvalidProgramError
from converter.ir import (
    Bidirectional,
    DType,
    Graph,
    Op,
    Program,
    Recurrence,
    Signature,
    TfliteOp,
    Value,
    format_program,
    verify,
)
from tests.programs import lstm_cell, program, recurrence, rnn_cell, stack, tensor

X = tensor("x", None, None, 3)


def broken(ops: list[Op], outputs: list[Value], match: str) -> None:
    signature = Signature("s", ("x",), tuple(f"o{i}" for i in range(len(outputs))))
    source = Program((Graph("main", (X,), tuple(outputs), tuple(ops)),), (signature,))
    with pytest.raises(InvalidProgramError, match=match) as caught:
        verify(source, after="a-pass")
    assert "after a-pass" in str(caught.value)


def test_a_valid_program_is_returned_as_it_is() -> None:
    source = stack([lstm_cell(), rnn_cell(depth=4)])
    assert verify(source, after="building") is source


def test_a_value_that_nothing_defines_is_found() -> None:
    op = TfliteOp("ADD", (X, tensor("ghost", 3)), (tensor("y", 3),))
    broken([op], [op.results[0]], "y reads ghost, which no earlier op defines")


def test_ops_out_of_order_are_found() -> None:
    first = TfliteOp("TANH", (X,), (tensor("a", None, None, 3),))
    second = TfliteOp("TANH", (first.results[0],), (tensor("b", None, None, 3),))
    broken([second, first], [second.results[0]], "b reads a")


def test_a_value_defined_twice_is_found() -> None:
    y = tensor("y", None, None, 3)
    broken([TfliteOp("TANH", (X,), (y,)), TfliteOp("RELU", (X,), (y,))], [y], "y, which is defined already")


def test_two_values_of_one_name_are_found() -> None:
    op = TfliteOp("TANH", (X,), (tensor("x", None, None, 3),))
    broken([op], [op.results[0]], "two values are called 'x'")


def test_an_output_that_nothing_defines_is_found() -> None:
    broken([], [tensor("y", 3)], "output y is defined by no op")


def test_inputs_of_another_depth_than_the_cell_are_found() -> None:
    op = recurrence(lstm_cell(depth=5), X)
    broken([op], [op.output], r"x x is float32\[\?,\?,3\], expected \[\?,\?,5\]")


def test_a_missing_state_is_found() -> None:
    op: Recurrence = replace(recurrence(lstm_cell(), X), initial_state=(None,))
    broken([op], [op.output], "1 arrays of initial_state, its cell has 2")


def test_a_mask_that_is_not_of_bools_or_beside_lengths_is_found() -> None:
    lengths = tensor("lengths", None, dtype=DType.INT32)
    op: Recurrence = replace(recurrence(lstm_cell(), X, sequence_length=lengths), mask=tensor("mask", None, 3))
    with pytest.raises(InvalidProgramError) as caught:
        verify(program([X, lengths, tensor("mask", None, 3)], [op], [op.output]), after="test")
    for words in ("mask mask is float32[?,3], expected bool", "has both lengths and a mask"):
        assert words in str(caught.value)


def test_the_directions_of_a_bidirectional_op_are_one_forwards_and_one_backwards() -> None:
    other = tensor("other", None, None, 3)
    forward, backward = recurrence(rnn_cell(), X, name="forward"), recurrence(rnn_cell(), X, name="backward")
    pairs = {
        "its backward recurrence, and no other, goes backwards": Bidirectional(forward, backward),
        "its directions read x and other as x": Bidirectional(
            forward, replace(backward, x=other, go_backwards=True)
        ),
        "its directions read nothing and n as sequence_length": Bidirectional(
            forward, replace(backward, sequence_length=tensor("n", None), go_backwards=True)
        ),
    }
    for match, op in pairs.items():
        broken([op], [backward.output], match)


def test_a_signature_of_other_length_is_found() -> None:
    source = replace(stack([rnn_cell()]), signatures=(Signature("s", ("x", "y"), ("a", "a")),))
    with pytest.raises(InvalidProgramError, match="names 2 inputs, its graph has 1"):
        verify(source, after="naming")


def test_a_recurrence_that_goes_backwards_prints_that_it_does() -> None:
    source = stack([rnn_cell()]).map_ops(lambda op: replace(op, go_backwards=True))
    assert "rnn(units=4, activation=tanh), time_major, go_backwards)" in format_program(source)


def test_a_program_prints_a_line_per_op() -> None:
    text = format_program(stack([rnn_cell()]))
    assert text.splitlines() == [
        "graph @main(%x: float32[?,?,3]) {",
        "  %layer_0/outputs: float32[?,?,4], %layer_0/state_0: float32[?,4] = "
        "recurrence(%x, rnn(units=4, activation=tanh), time_major)",
        "  return %layer_0/outputs, %layer_0/state_0",
        "}",
    ]
