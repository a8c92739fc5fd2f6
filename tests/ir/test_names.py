"""Names are given once, in a fixed order."""

from __future__ import annotations

from converter.ir import Graph, Names, TfliteOp
from tests.programs import tensor


def test_a_free_name_is_given_as_it_is_and_a_taken_one_numbered() -> None:
    names = Names(["x", "x_2"])
    assert [names.fresh(name) for name in ("y", "x", "x", "y", "x_1")] == ["y", "x_1", "x_3", "y_1", "x_1_1"]


def test_a_copy_takes_no_names_of_the_original_until_they_are_handed_back() -> None:
    names = Names(["x"])
    trial = names.copy()
    assert trial.fresh("x") == "x_1"
    assert "x_1" not in names
    names.update(trial)
    assert names.fresh("x") == "x_2"


def test_the_names_of_a_graph_are_those_of_its_values() -> None:
    x, y = tensor("x", 2), tensor("y", 2)
    names = Graph("main", (x,), (y,), (TfliteOp("TANH", (x,), (y,)),)).names()
    assert [names.fresh(name) for name in ("main", "x", "y")] == ["main", "x_1", "y_1"]
