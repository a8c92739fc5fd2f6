from __future__ import annotations

import pytest

from converter.marker import CellSpec, RecurrenceSpec


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
