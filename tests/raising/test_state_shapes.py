"""Open sizes in the body of a loop are those that the loop starts with, if its steps keep them."""

from __future__ import annotations

import numpy as np
import pytest

from converter.ir import DType, Graph, Op, Program, Shape, TfliteOp, constant
from converter.raising.loop import Loop, loop_of
from converter.raising.state_shapes import with_state_shapes
from tests.programs import tensor


def loop_over(start: Shape, inside: Shape | None, *, grows: bool = False) -> Loop:
    """A WHILE of three steps that adds one to a state, and if it ``grows`` doubles its rows."""
    count, state = constant("zero", np.array(0, np.int32)), tensor("state", *start)
    results = (tensor("count_out", dtype=DType.INT32), tensor("state_out", *start))
    options = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    loop = TfliteOp("WHILE", (count, state), results, "WhileOptions", options)
    limit, one = constant("limit", np.array(3, np.int32)), constant("one", np.array(1, np.int32))
    inputs = [tensor("i", dtype=DType.INT32), tensor("h", *(inside or ()))]
    goes_on = tensor("goes_on", dtype=DType.BOOL)
    condition = Graph(
        "condition", tuple(inputs), (goes_on,), (TfliteOp("LESS", (inputs[0], limit), (goes_on,), "LessOptions"),)
    )
    following, added = tensor("following", dtype=DType.INT32), tensor("added", *(inside or ()))
    number = constant("number", np.array(1, np.float32))
    ops: list[Op] = [
        TfliteOp("ADD", (inputs[0], one), (following,), "AddOptions"),
        TfliteOp("ADD", (inputs[1], number), (added,), "AddOptions"),
    ]
    after = added
    if grows:
        after = tensor("grown", *(inside or ()))
        ops.append(TfliteOp("CONCATENATION", (added, added), (after,), "ConcatenationOptions", {"axis": 0}))
    body = Graph("body", tuple(inputs), (following, after), tuple(ops))
    main = Graph("main", (state,), (results[1],), (loop,))
    return loop_of(loop, main, Program((main, condition, body), ()))


@pytest.mark.parametrize("inside", [(None, 4), (None, None), (2, None)])
def test_a_state_whose_size_is_open_has_the_size_it_starts_with(inside: Shape) -> None:
    body = with_state_shapes(loop_over((2, 4), inside)).body
    assert body.inputs[1].type.shape == (2, 4)
    assert body.outputs[1].type.shape == (2, 4)
    assert all(value.type.is_static for value in body.values())


@pytest.mark.parametrize(
    ("start", "inside", "grows"),
    [
        ((2, 4), (None, 4), True),
        ((None, 4), (None, None), False),
        ((2, 4), (2, 4), False),
        ((2, 4), (3, 4), False),
    ],
    ids=["it grows", "the start is open", "it is known", "it is another"],
)
def test_any_other_state_stays_as_it_is(start: Shape, inside: Shape, grows: bool) -> None:
    loop = loop_over(start, inside, grows=grows)
    assert with_state_shapes(loop) is loop
