"""Readers of values, and what values depend on."""

from __future__ import annotations

from converter.analysis.uses import Uses, backward_slice, without_dead_ops
from converter.ir import DType, Graph, TensorType, TfliteOp, Value
from tests.programs import tensor

X, A, B, C = (tensor(name, 2) for name in "xabc")
TO_A = TfliteOp("TANH", (X,), (A,))
TO_B = TfliteOp("MUL", (A, A), (B,))
TO_C = TfliteOp("ADD", (X, A), (C,))
GRAPH = Graph("main", (X,), (B,), (TO_A, TO_B, TO_C))


def test_an_op_that_reads_a_value_twice_is_one_reader() -> None:
    uses = Uses.of(GRAPH)
    assert uses.readers(A) == [TO_B, TO_C]
    assert uses.producers[B] is TO_B


def test_outputs_are_read_and_results_without_readers_are_not() -> None:
    uses = Uses.of(GRAPH)
    assert uses.is_read(B)
    assert not uses.readers(B)
    assert not uses.is_read(C)


def test_a_slice_holds_what_its_values_depend_on_in_order() -> None:
    found = backward_slice(GRAPH.ops, [B])
    assert found.ops == (TO_A, TO_B)
    assert found.values == {X, A, B}


def test_a_slice_ends_at_what_is_given() -> None:
    found = backward_slice(GRAPH.ops, [B], given={A})
    assert (found.ops, found.values) == ((TO_B,), {A, B})


def test_a_slice_keeps_what_it_is_told_to() -> None:
    assert backward_slice(GRAPH.ops, [A], keeps=lambda op: op is TO_C).ops == (TO_A, TO_C)


def test_ops_that_nobody_reads_are_dead_unless_they_have_effects() -> None:
    handle = Value("handle", TensorType(DType.RESOURCE, ()))
    assign = TfliteOp("ASSIGN_VARIABLE", (handle, C), ())
    assert without_dead_ops(GRAPH).ops == (TO_A, TO_B)
    kept = Graph("main", (X, handle), (B,), (*GRAPH.ops, assign))
    assert without_dead_ops(kept) is kept
