from __future__ import annotations

from dataclasses import replace

import pytest

from converter.marker import CellSpec, Operands, RecurrenceSpec


def _spec() -> RecurrenceSpec:
    lstm = CellSpec(
        "lstm", "lstm_cell", (("units", 4), ("cell_clip", None), ("activation", "tanh")), ("kernel", "bias")
    )
    rnn = CellSpec("basic_rnn", 'odd "name" \\', (("units", 3),), ("kernel", "bias"))
    stack = CellSpec("stack", "multi_rnn_cell", cells=(lstm, CellSpec("stack", "inner", cells=(rnn,))))
    return RecurrenceSpec("rnn", stack, time_major=True, initial_state=True)


def test_json_round_trip_keeps_the_specification() -> None:
    assert RecurrenceSpec.from_json(_spec().to_json()) == _spec()


def test_attributes_of_equal_cells_are_equal_in_any_order() -> None:
    assert CellSpec("lstm", "a", (("b", 1), ("a", 2))) == CellSpec("lstm", "a", (("a", 2), ("b", 1)))


def test_leaves_run_in_order() -> None:
    assert [leaf.kind for leaf in _spec().cell.leaves()] == ["lstm", "basic_rnn"]


def test_quotes_and_backslashes_are_escaped_in_the_attribute() -> None:
    assert '\\"odd \\\\\\"name\\\\\\"' in _spec().implements()


@pytest.mark.parametrize("text", ['{"format": 99}', "[]", '{"format": 1, "name": "rnn"}', "no json"])
def test_a_foreign_specification_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"specification|Expecting"):
        RecurrenceSpec.from_json(text)


def test_a_flat_state_has_two_tensors_for_an_lstm_and_one_for_any_other_leaf() -> None:
    cell = _spec().cell
    assert [leaf.state_count for leaf in cell.leaves()] == [2, 1]
    assert cell.state_count == 3


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_operands_are_unpacked_as_they_were_packed(lengths: bool, state: bool) -> None:
    spec = replace(_spec(), sequence_length=lengths, initial_state=state)
    operands = Operands(
        inputs="x",
        weights=("kernel 1", "bias 1", "kernel 2", "bias 2"),
        sequence_length="lengths" if lengths else None,
        initial_state=("c", "h", "h 2") if state else None,
    )
    flat = spec.pack(operands)
    assert flat == ["x", *["lengths"] * lengths, *["c", "h", "h 2"] * state, *operands.weights]
    again = spec.unpack(flat)
    for name in ("inputs", "weights", "sequence_length", "mask", "initial_state"):
        assert getattr(again, name) == getattr(operands, name)


def test_a_mask_is_an_operand_in_the_place_of_lengths() -> None:
    spec = replace(_spec(), initial_state=False, mask="held")
    operands = Operands(inputs="x", weights=("1", "2", "3", "4"), mask="mask")
    assert spec.pack(operands) == ["x", "mask", "1", "2", "3", "4"]
    assert spec.unpack(spec.pack(operands)).mask == "mask"


def test_operands_that_a_specification_does_not_have_are_a_value_error() -> None:
    spec = replace(_spec(), initial_state=False)
    with pytest.raises(ValueError, match="rnn: expected 5 operands, got 6"):
        spec.pack(Operands(inputs="x", weights=("1", "2", "3", "4"), sequence_length="lengths"))
    with pytest.raises(ValueError, match="rnn: expected 5 operands, got 4"):
        spec.unpack(["x", "1", "2", "3"])
