"""The states that callers may be given: their names, and where they start from."""

from __future__ import annotations

import numpy as np

from converter.analysis.open_states import all_given, open_states
from converter.ir import constant
from tests.programs import gru_cell, lstm_cell, program, recurrence, stack, tensor


def test_states_are_named_by_the_number_of_their_recurrence_and_their_part() -> None:
    states = list(open_states(stack([lstm_cell(), gru_cell(depth=4)])))
    assert [state.name for state in states] == ["state_0_c", "state_0_h", "state_1"]
    assert [state.initial.name for state in states] == ["state_0_c_in", "state_0_h_in", "state_1_in"]
    assert [state.start for state in states] == [None] * 3


def test_a_state_that_callers_give_is_not_open() -> None:
    source = stack([lstm_cell()], given_state=True)
    assert list(open_states(source)) == []
    assert all_given(source)


def test_a_constant_is_open_and_says_what_it_starts_from() -> None:
    x, learned = tensor("x", 5, 2, 3), constant("learned", np.full((2, 4), 0.5, np.float32))
    op = recurrence(lstm_cell(), x, initial_state=(learned, None))
    source = program([x], [op], [op.output])
    assert [(state.name, state.start) for state in open_states(source)] == [
        ("state_0_c", learned),
        ("state_0_h", None),
    ]
    assert not all_given(source)


def test_a_name_that_an_input_has_is_left_to_it() -> None:
    x = tensor("state_0", 5, 2, 3)
    op = recurrence(gru_cell(), x)
    assert [state.name for state in open_states(program([x], [op], [op.output]))] == ["state_0_"]
