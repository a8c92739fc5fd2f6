"""The op table against the schema, and what the questions of `traits` make of it."""

from __future__ import annotations

import pytest

from converter.flatbuffer.schema import BUILTIN_NUMBERS, OPTIONS2_NUMBERS, OPTIONS_NUMBERS
from converter.ir import DType, TfliteOp, Trait, facts, has, has_effects, is_list_op, is_pure
from converter.ir.builtins import BUILTINS, UNKNOWN
from converter.ir.kernels import KERNELS
from tests.programs import recurrence, rnn_cell, tensor

ELEMENTWISE = sorted(name for name, record in BUILTINS.items() if Trait.ELEMENTWISE in record.traits)
X, Y = tensor("x", 2), tensor("y", 2)


def op(builtin: str, custom_code: str | None = None) -> TfliteOp:
    return TfliteOp(builtin, (X,), (Y,), custom_code=custom_code)


def test_the_table_names_ops_and_options_of_the_schema() -> None:
    assert BUILTINS.keys() <= BUILTIN_NUMBERS.keys()
    options = {record.options for record in BUILTINS.values()} - {None}
    assert options <= OPTIONS_NUMBERS.keys() | OPTIONS2_NUMBERS.keys()


def test_the_table_lacks_only_stablehlo_and_what_is_no_op() -> None:
    missing = {name for name in BUILTIN_NUMBERS.keys() - BUILTINS.keys() if not name.startswith("STABLEHLO_")}
    assert missing == {"CONCAT_EMBEDDINGS", "PLACEHOLDER_FOR_GREATER_OP_CODES"}


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_positions_are_those_of_operands(name: str) -> None:
    record = BUILTINS[name]
    assert record.operands[0] <= record.operands[1]
    assert record.results[0] <= record.results[1]
    positions = {*record.absent, *record.single, *(record.sized_by or ())}
    assert all(0 <= position < record.operands[1] for position in positions)


def test_the_evaluator_knows_ops_of_the_table_only() -> None:
    assert KERNELS.keys() <= BUILTINS.keys()


@pytest.mark.parametrize(
    "name", sorted(name for name, record in BUILTINS.items() if Trait.ELEMENTWISE in record.traits)
)
def test_what_is_elementwise_is_pure_and_sized_before_the_run(name: str) -> None:
    assert is_pure(op(name))
    assert facts(op(name)).sized_by == ()


@pytest.mark.parametrize("name", ["WHILE", "IF", "CALL_ONCE", "STABLEHLO_WHILE", "VAR_HANDLE", "ASSIGN_VARIABLE"])
def test_control_flow_and_variables_have_effects(name: str) -> None:
    assert has_effects(op(name))
    assert not is_pure(op(name))


def test_random_numbers_are_neither_an_effect_nor_pure() -> None:
    assert not has_effects(op("RANDOM_UNIFORM"))
    assert not is_pure(op("RANDOM_UNIFORM"))


def test_ops_on_variables_and_ops_without_results_have_effects() -> None:
    handle = tensor("handle", dtype=DType.RESOURCE)
    assert has_effects(TfliteOp("TANH", (handle,), (Y,)))
    assert has_effects(TfliteOp("TANH", (X,), ()))
    assert not has_effects(op("TANH"))


def test_custom_ops_have_effects_but_lists_are_values() -> None:
    assert has_effects(op("CUSTOM", "mine"))
    listed = TfliteOp("CUSTOM", (tensor("array", dtype=DType.RESOURCE),), (Y,), custom_code="TensorArraySizeV3")
    assert is_list_op(listed)
    assert is_pure(listed)


def test_of_an_op_that_the_table_lacks_nothing_is_known() -> None:
    assert facts(op("STABLEHLO_ADD")) is UNKNOWN
    assert UNKNOWN.sized_by is None


def test_recurrences_have_no_traits() -> None:
    scan = recurrence(rnn_cell(), tensor("x", 3, 2, 3))
    assert not has(scan, Trait.ELEMENTWISE)
    assert not has_effects(scan)
