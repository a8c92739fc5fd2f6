"""Files of this compiler, converted again under every state policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from converter.analysis.variables import state_variables
from converter.convert import compile_program
from converter.errors import ConversionError
from converter.flatbuffer import read_model
from converter.ir import Array, Cell, Program, TfliteOp, constant, evaluate
from converter.options import ConvertOptions, StatePolicy
from converter.passes.variable_states import expose_variables, forget_variables
from converter.rules import Rule
from tests.faults.compiling import compiled
from tests.faults.fused_files import Svdf
from tests.faults.test_fused_files import LITERT, leaks
from tests.programs import gru_cell, lstm_cell, rnn_cell, stack, tensor
from tflite_rnn.runtime import Stream, WorkerPool

CELLS: dict[str, list[Cell]] = {
    "lstm": [lstm_cell(projection=3, peephole=True)],
    "stack": [lstm_cell(), rnn_cell(depth=4)],
    "gru": [gru_cell()],
    "learned": [lstm_cell()],
}
POLICIES = [policy.value for policy in StatePolicy]
START = np.array([[0.5, -0.5, 0.25, 1.0]], np.float32)


def source_of(name: str, *, given_state: bool = False) -> Program:
    source = stack(CELLS[name], batch=2, given_state=given_state)
    if name != "learned" or given_state:
        return source
    (op,) = source.recurrences()
    start = (constant("learned_c", START), constant("learned_h", START))
    return replace(source, graphs=(replace(source.main, ops=(replace(op, initial_state=start),)),))


def file_of(name: str, policy: str) -> bytes:
    return compile_program(source_of(name), ConvertOptions(state=StatePolicy(policy))).model


CHUNKS = np.random.default_rng(0).standard_normal((3, 4, 2, 3)).astype(np.float32)


def outputs_of(name: str, x: Array) -> Array:
    source = source_of(name)
    return evaluate(source, {"x": x})[source.signature.outputs[0]]


@pytest.mark.runtime
@pytest.mark.parametrize("again", POLICIES)
@pytest.mark.parametrize("first", ["stateless", "streaming"])
@pytest.mark.parametrize("name", CELLS)
def test_a_file_of_ours_takes_any_state_policy_again(name: str, first: str, again: str, pool: WorkerPool) -> None:
    model = compiled(file_of(name, first), state=again).model
    assert leaks(model) == []
    # Loops are not recurrences any more; of their states, only those in variables are known.
    keeps = again != "stateless" and (name != "gru" or first == "streaming")
    whole = outputs_of(name, np.concatenate(CHUNKS)).reshape(3, 4, 2, -1)
    expected = whole if keeps else [outputs_of(name, chunk) for chunk in CHUNKS]
    output = source_of(name).signature.outputs[0]
    with pool.open(LITERT, model) as running:
        for _ in range(2):
            if keeps:
                learned = name == "learned" and again == "explicit"
                start = {f"state_0_{part}": np.repeat(START, 2, 0) for part in "ch"} if learned else None
                feed = Stream(running, batch=2, initial_state=start).feed
            else:
                feed = running.run
            for chunk, wanted in zip(CHUNKS, expected, strict=True):
                np.testing.assert_allclose(feed({"x": chunk})[output], wanted, atol=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_a_streaming_file_needs_a_word_on_its_state(name: str) -> None:
    with pytest.raises(ConversionError) as refusal:
        compiled(file_of(name, "streaming"))
    (rejection,) = refusal.value.rejections
    assert rejection.rule is Rule.STATE_UNDECIDED
    assert "state_0" in rejection.detail


@pytest.mark.runtime
def test_a_streaming_svdf_streams_when_converted_again(pool: WorkerPool) -> None:
    model = compiled(compiled(Svdf().data(), state="streaming").model, state="streaming").model
    x = np.random.default_rng(1).standard_normal((6, 1, 3)).astype(np.float32)
    with pool.open(LITERT, model) as running:
        stream = Stream(running)
        for _ in range(2):
            np.testing.assert_allclose(
                np.stack([stream.feed({"x": step})["y"] for step in x]), Svdf().outputs(x), atol=1e-5
            )
            stream.reset()


@pytest.mark.parametrize("policy", ["stateless", "explicit"])
def test_a_streaming_svdf_knows_only_streaming(policy: str) -> None:
    with pytest.raises(ConversionError) as refusal:
        compiled(compiled(Svdf().data(), state="streaming").model, state=policy)
    assert [rejection.rule for rejection in refusal.value.rejections] == [Rule.SVDF_STATE]


def test_states_are_called_as_before_and_converting_again_adds_nothing() -> None:
    once = compiled(file_of("stack", "streaming"), state="streaming")
    twice = compiled(once.model, state="streaming")
    names = [state.name for state in state_variables(read_model(once.model))]
    assert names == ["state_0_c", "state_0_h", "state_1"]
    assert names == [state.name for state in state_variables(read_model(twice.model))]
    assert once.report.op_counts == twice.report.op_counts


@pytest.mark.parametrize("name", CELLS)
def test_a_stateless_file_does_not_grow_when_converted_again(name: str) -> None:
    once = compiled(file_of(name, "stateless"))
    assert once.report.op_counts == read_model(file_of(name, "stateless")).op_counts()


# --- variables that are something else -----------------------------------------------------------------------


def streaming() -> Program:
    return read_model(file_of("gru", "streaming"))


def without(builtin: str, graph: int) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        graphs = list(program.graphs)
        ops = [op for op in graphs[graph].ops if not (isinstance(op, TfliteOp) and op.builtin == builtin)]
        graphs[graph] = replace(graphs[graph], ops=tuple(ops))
        return replace(program, graphs=tuple(graphs))

    return change


def assigned_first(program: Program) -> Program:
    ops = sorted(program.main.ops, key=lambda op: isinstance(op, TfliteOp) and op.builtin == "READ_VARIABLE")
    return replace(program, graphs=(replace(program.main, ops=tuple(ops)), *program.graphs[1:]))


def computed_start(program: Program) -> Program:
    (number,) = (signature.graph for signature in program.signatures if signature.key == "reset")
    graphs = list(program.graphs)
    reset = graphs[number]
    ops = [
        replace(op, operands=(op.operand(0), tensor("computed", 2, 4)))
        if isinstance(op, TfliteOp) and op.builtin == "ASSIGN_VARIABLE"
        else op
        for op in reset.ops
    ]
    graphs[number] = replace(reset, ops=tuple(ops))
    return replace(program, graphs=tuple(graphs))


OTHERS: dict[str, Callable[[Program], Program]] = {
    "no reset": lambda program: replace(program, signatures=program.signatures[:1]),
    "not started": without("CALL_ONCE", 0),
    "not assigned": without("ASSIGN_VARIABLE", 0),
    "assigned before it is read": assigned_first,
    "a start that is computed": computed_start,
}


@pytest.mark.parametrize("name", OTHERS)
def test_variables_of_any_other_use_are_not_states(name: str) -> None:
    program = OTHERS[name](streaming())
    assert state_variables(streaming())
    assert state_variables(program) == ()
    assert forget_variables(program) is program
    assert expose_variables(program) is program
