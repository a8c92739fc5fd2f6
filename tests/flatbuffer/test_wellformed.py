"""Files whose ops are not what the schema says are refused by name, before any pass sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from converter.convert import compile_program
from converter.errors import SourceError
from converter.flatbuffer import build_model, check_wellformed, read_model
from converter.importers.tflite_model import import_tflite
from converter.ir import DType, Graph, Program, TfliteOp, Value, constant, new_op
from tests.programs import gru_cell, lstm_cell, stack, tensor

X, Y, Z = tensor("x", 2, 3), tensor("y", 2, 3), tensor("z", 2, 3)
FLAG = tensor("flag", dtype=DType.BOOL)


WEIGHTS = constant("weights", np.zeros((4, 3), np.float32))
BIAS = constant("bias", np.zeros(3, np.float32))


def check(op: TfliteOp, *others: Graph) -> None:
    inputs = tuple(dict.fromkeys(value for value in op.operands if value is not None and value.data is None))
    main = Graph("main", inputs, op.results, (op,))
    check_wellformed(Program((main, *others), ()), source="file.tflite")


def ints(*numbers: int) -> Value:
    return constant("numbers", np.array(numbers, np.int32))


def body(name: str, inputs: Sequence[Value], outputs: Sequence[Value], *ops: TfliteOp) -> Graph:
    return Graph(name, tuple(inputs), tuple(outputs), ops)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(stack([lstm_cell(), gru_cell(depth=4)]), id="loop"),
        pytest.param(stack([lstm_cell(peephole=True, projection=2)], given_state=True), id="fused"),
    ],
)
def test_our_own_files_are_well_formed(program: Program) -> None:
    made = read_model(compile_program(program).model)
    assert check_wellformed(made, source="made") is made


@pytest.mark.parametrize(
    ("op", "fault"),
    [
        (TfliteOp("TANH", (X, X), (Y,)), "TANH 'y' has 2 operands, expected 1"),
        (new_op("ADD", [X], [Y]), "ADD 'y' has 1 operands, expected 2"),
        (new_op("CONCATENATION", [], [Y]), "CONCATENATION 'y' has 0 operands, expected at least 1"),
        (new_op("ADD", [X, X], [Y, Z]), "ADD 'y' has 2 results, expected 1"),
        (new_op("ADD", [X, None], [Y]), "ADD 'y' has no operand 1, expected a tensor"),
        (TfliteOp("CUSTOM", (X,), (Y,), custom_code="TensorListStack"), "has 1 operands, expected 2"),
        (TfliteOp("CUSTOM", (X,), (Y,), custom_code="TANH"), "is a custom op with the name of a builtin one"),
        (TfliteOp("ADD", (X, X), (Y,), "MulOptions"), "ADD 'y' has MulOptions, expected AddOptions"),
        (TfliteOp("TANH", (X,), (Y,), "MulOptions"), "TANH 'y' has MulOptions, expected no options"),
        (TfliteOp("ADD", (X, X), (Y,)), "ADD 'y' has no options, expected AddOptions"),
        (TfliteOp("RESHAPE", (X,), (Y,)), "RESHAPE 'y' has no options, expected ReshapeOptions"),
        (new_op("ADD", [X, X], [Y], {"fusedActivationFunction": 9}), "has activation 9"),
        (new_op("MUL", [X, tensor("n", 2, 3, dtype=DType.INT32)], [Y]), "expected one element type"),
        (new_op("RESHAPE", [X, tensor("shape", 2)], [Y]), "as operand 1, expected integers"),
        (new_op("CONCATENATION", [X, X], [Y], {"axis": 2}), "has the axis 2, expected one of -2 to 1"),
        (new_op("FULLY_CONNECTED", [tensor("n", None, 3), BIAS], [tensor("d", None, 4)]), "expected a matrix"),
        (new_op("FULLY_CONNECTED", [X, WEIGHTS, BIAS], [tensor("d", 2, 4)]), "expected a bias for each row"),
        (
            new_op("FULLY_CONNECTED", [tensor("n", 4, 7), WEIGHTS, None], [tensor("d", 9, 4)]),
            "expected rows of as many",
        ),
        (new_op("EXPAND_DIMS", [X, ints(0, 1)], [tensor("e", 1, 2, 3)]), "as operand 1, expected one number"),
        (new_op("SUM", [X, ints(-3)], [tensor("s", 2)]), "has the axis -3, expected one of -2 to 1"),
        (
            new_op("TRANSPOSE", [X, ints(1, 1)], [tensor("t", 3, 2)]),
            r"axes \[1, 1\], expected a permutation",
        ),
        (
            new_op("GATHER", [X, ints(0, 2)], [Y], {"axis": 0}),
            r"elements \[0, 2\], expected numbers from 0 to 1",
        ),
        *(
            (new_op(kind, [tensor("o", None, 2, 3, 4), given], [tensor("r", 2, None, 3)]), fault)
            for kind, given, fault in (
                ("TRANSPOSE", ints(1, 0, 2), r"has 3 numbers for the axes of float32\[\?,2,3,4\], expected 4"),
                ("TILE", ints(1, 2, 1), "has 3 numbers .*, expected 4"),
                ("PAD", ints(0, 0, 0, 0, 0, 0), "has 6 numbers .*, expected 8"),
            )
        ),
        (new_op("ADD", [X, tensor("w", 2, 4)], [Y]), r"do not fit together: float32\[2,3\], float32\[2,4\]"),
        (new_op("SUM", [X, ints(0)], [Y]), r"has the result y of float32\[2,3\], expected float32\[3\]"),
    ],
)
def test_an_op_that_is_not_what_the_schema_says_is_refused(op: TfliteOp, fault: str) -> None:
    with pytest.raises(SourceError, match=f"file.tflite: malformed model: .*{fault}"):
        check(op)


def loop(condition: int, step: int) -> TfliteOp:
    return new_op("WHILE", [X], [Y], {"condSubgraphIndex": condition, "bodySubgraphIndex": step})


BRANCH = new_op("IF", [FLAG, X], [Y], {"thenSubgraphIndex": 1, "elseSubgraphIndex": -1})
GOES_ON = body("goes_on", [X], [FLAG], TfliteOp("CUSTOM", (X,), (FLAG,), custom_code="test"))
STEP = body("step", [X], [Y], TfliteOp("TANH", (X,), (Y,)))


def test_a_loop_with_its_graphs_is_well_formed() -> None:
    check(loop(1, 2), GOES_ON, STEP)


@pytest.mark.parametrize(
    ("op", "graphs", "fault"),
    [
        (loop(1, 3), [GOES_ON, STEP], "has graph 3 as its body, expected a number below 3"),
        (loop(-1, 2), [GOES_ON, STEP], "has graph -1 as its condition, expected a number below 3"),
        (BRANCH, [STEP], "has graph -1 as its branch, expected a number below 2"),
        (loop(2, 2), [GOES_ON, STEP], r"a condition with outputs of \[float32\], expected \[bool\]"),
        (loop(1, 1), [GOES_ON, STEP], r"a body with outputs of \[bool\], expected \[float32\]"),
        (
            loop(1, 2),
            [GOES_ON, body("step", [X, Z], [X])],
            r"\[float32, float32\], expected \[float32\]",
        ),
        (replace(loop(1, 2), results=(Y, Z)), [GOES_ON, STEP], r"expected \[float32, float32\]"),
        (loop(1, 2), [GOES_ON, body("step", [X], [Y], loop(1, 2))], "call each other in a cycle: 'main', 'step'"),
    ],
)
def test_a_loop_that_does_not_fit_its_graphs_is_refused(op: TfliteOp, graphs: Sequence[Graph], fault: str) -> None:
    with pytest.raises(SourceError, match=fault):
        check(op, *graphs)


def test_a_graph_that_lists_an_input_twice_is_refused() -> None:
    graph = Graph("main", (X, X), (Y,), (TfliteOp("TANH", (X,), (Y,)),))
    with pytest.raises(SourceError, match="graph 'main' lists an input twice"):
        check_wellformed(Program((graph,), ()), source="file")


@pytest.mark.parametrize(
    "op",
    [
        TfliteOp("CUSTOM", (X, None), (Y,), custom_code="anything"),
        TfliteOp("STABLEHLO_ADD", (X, X, X), (Y, Z)),
        TfliteOp("FILL", (ints(2, 3), constant("zero", np.zeros((), np.float32))), (Y,)),
        TfliteOp("CAST", (X,), (Y,)),
        new_op("ADD", [X, tensor("w", None, 3)], [Y]),
        new_op("SELECT_V2", [tensor("flags", 2, 3, dtype=DType.BOOL), X, X], [Y]),
        new_op("FULLY_CONNECTED", [X, constant("w", np.zeros((3, 3), np.float32)), None], [Y]),
    ],
)
def test_what_the_schema_leaves_open_is_accepted(op: TfliteOp) -> None:
    check(op)


def test_the_importer_refuses_what_is_malformed() -> None:
    main = Graph("main", (X,), (Y,), (new_op("ADD", [X], [Y]),))
    with pytest.raises(SourceError, match=r"wrong.tflite: malformed model: ADD 'y' has 1 operands, expected 2"):
        import_tflite(build_model(Program((main,), ())), source="wrong.tflite")


@pytest.mark.parametrize("options", [b"", b"\x01\x02\x03", b"\x00" * 20])
def test_a_damaged_marker_is_refused(options: bytes) -> None:
    marked = TfliteOp("CUSTOM", (X,), (Y,), custom_code="tflite_rnn.recurrence", custom_options=options)
    model = build_model(Program((Graph("main", (X,), (Y,), (marked,)),), ()))
    with pytest.raises(
        SourceError, match=r"CUSTOM tflite_rnn\.recurrence 'y' has a damaged recurrence specification"
    ):
        import_tflite(model, source="file")
