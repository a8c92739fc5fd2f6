"""bound-loops: a loop that is named ends after its number of steps, whatever else its condition asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.convert import compile_program
from converter.emission.emitter import Emitter
from converter.errors import OptionError
from converter.ir import Graph, Names, Program, Signature, Value, constant, new_op
from converter.options import ConvertOptions
from converter.passes.bound_loops import bound_loops
from tests.programs import tensor
from tests.runtimes import QUICK
from tflite_rnn.runtime import WorkerPool

COUNTERS = [None, (), (1,)]
"""The shapes of a counter of the loop: there may be none."""


def halving(counter: tuple[int, ...] | None, *, loops: int = 1) -> Program:
    """Loops, one after the other, that halve x [2, 4] while any of its elements is above 0.01."""
    x = value = tensor("x", 2, 4)
    ops = []
    for number in range(loops):
        given, results = [value], [tensor(f"y_{number}", 2, 4)]
        if counter is not None:
            given.append(constant(f"start_{number}", np.zeros(counter, np.int32)))
            results.append(Value(f"count_{number}", given[1].type))
        ops.append(new_op("WHILE", given, results, {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}))
        value = results[0]
    graphs = (Graph("main", (x,), (value,), tuple(ops)), condition(counter), body(counter))
    return Program(graphs, (Signature("serving_default", ("x",), ("y",)),))


def carried(counter: tuple[int, ...] | None) -> tuple[Value, ...]:
    h = tensor("h", 2, 4)
    return (h,) if counter is None else (h, replace(constant("t", np.zeros(counter, np.int32)), data=None))


def condition(counter: tuple[int, ...] | None) -> Graph:
    inputs, emitter = carried(counter), Emitter("condition", Names())
    greatest = emitter.reduce_max(emitter.reduce_max(inputs[0], 1, "rows"), 0, "greatest")
    goes_on = emitter.less(emitter.number(0.01), greatest)
    return Graph("halve/while_cond", inputs, (goes_on,), tuple(emitter.ops))


def body(counter: tuple[int, ...] | None) -> Graph:
    inputs, emitter = carried(counter), Emitter("body", Names())
    outputs = [emitter.multiply(inputs[0], emitter.number(0.5))]
    outputs += [emitter.add(t, emitter.integer(1), "next") for t in inputs[1:]]
    return Graph("halve/while_body", inputs, tuple(outputs), tuple(emitter.ops))


@pytest.mark.runtime
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("loops", [1, 2])
def test_a_loop_ends_at_its_bound_with_and_without_a_counter(
    counter: tuple[int, ...] | None, loops: int, pool: WorkerPool
) -> None:
    options = replace(ConvertOptions(), max_steps=(("halve", 3),))
    model = compile_program(halving(counter, loops=loops), options).model
    x = np.array([[64.0, 1.0, 2.0, 3.0], [0.5, 0.0, 8.0, 1.0]], np.float32)
    for runtime in QUICK:
        with pool.open(runtime, model) as running:
            np.testing.assert_array_equal(running.run({"x": x})["y"], x * 0.125**loops)
            small = np.full_like(x, 0.015)
            np.testing.assert_array_equal(running.run({"x": small})["y"], small * np.float32(0.5))


def test_loops_without_a_bound_stay_as_they_are() -> None:
    program = halving(())
    assert bound_loops(program, {}).graphs == program.graphs


@pytest.mark.parametrize("name", ["other/while_body", "halve/while_body"])
def test_loops_that_share_a_condition_only_are_refused(name: str) -> None:
    """Also where both are named."""
    program = halving(())
    main = program.main
    other = replace(
        main.ops[0],
        results=(tensor("z", 2, 4), Value("count", main.ops[0].results[1].type)),
        options={"condSubgraphIndex": 1, "bodySubgraphIndex": 3},
    )
    named = replace(body(()), name=name)
    shared = (replace(main, ops=(*main.ops, other)), *program.graphs[1:], named)
    with pytest.raises(OptionError, match="runs graphs of a loop that is named"):
        bound_loops(replace(program, graphs=shared), {"halve": 3})


def test_a_name_that_is_not_there_is_refused_with_the_names_that_are() -> None:
    with pytest.raises(OptionError, match=r"no loop is called halve/while; the loops are halve$"):
        bound_loops(halving((), loops=2), {"halve/while": 3})
