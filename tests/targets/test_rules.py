"""The rules of targets see the same in the fused op of a file as in the recurrence that it comes from."""

from __future__ import annotations

import pytest

from converter.convert import compile_program
from converter.flatbuffer import read_model
from converter.ir import Activation, Cell, Recurrence, TfliteOp
from converter.options import ConvertOptions
from converter.targets import Target, fused_op_rejections, target_rejections
from converter.targets.needs import FUSED_LSTM, FUSED_RNN, Needs, needs_of, needs_of_fused
from converter.targets.rules import GRAPH_RULES, OP_RULES, PROGRAM_RULES, Rewrite
from tests.programs import lstm_cell, recurrence, rnn_cell, stack, tensor

CELLS = [
    pytest.param(cell, id=str(cell))
    for cell in (
        lstm_cell(),
        lstm_cell(cifg=True),
        lstm_cell(peephole=True),
        lstm_cell(projection=2),
        lstm_cell(activation=Activation.RELU),
        lstm_cell(cifg=True, peephole=True, projection=3, activation=Activation.RELU6),
        rnn_cell(),
        rnn_cell(activation=Activation.RELU),
    )
]


def _fused_op(cell: Cell) -> TfliteOp:
    program = read_model(compile_program(stack([cell], time=3, batch=1), ConvertOptions()).model)
    (op,) = (op for op in program.ops() if isinstance(op, TfliteOp) and op.builtin in {FUSED_LSTM, FUSED_RNN})
    return op


def _recurrence(cell: Cell) -> Recurrence:
    return recurrence(cell, tensor("x", 3, 1, cell.input_size))


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrence_needs_what_its_fused_op_needs(cell: Cell) -> None:
    before, after = needs_of_fused(_recurrence(cell)), needs_of(_fused_op(cell))

    def seen(needs: Needs) -> tuple[object, ...]:
        return needs.builtin, needs.version, needs.state_tensors, needs.features, len(needs.shapes)

    assert seen(before) == seen(after)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("target", Target)
def test_choosing_and_judging_refuse_the_same(cell: Cell, target: Target) -> None:
    program = read_model(compile_program(stack([cell], time=3, batch=1)).model)
    chosen = [(reason.rule, reason.detail) for reason in fused_op_rejections(_recurrence(cell), target)]
    judged = {(reason.rule, reason.detail) for reason in target_rejections(program, target)}
    assert judged.issuperset(chosen)
    of_fused_ops = {entry for entry in judged if "fused" in entry[1] or "SEQUENCE_RNN" in entry[1]}
    assert of_fused_ops == set(chosen)


def test_every_rewrite_belongs_to_a_rule() -> None:
    named = [rule.rewrite for rule in (*PROGRAM_RULES, *GRAPH_RULES, *OP_RULES) if rule.rewrite is not None]
    assert sorted(named, key=list(Rewrite).index) == list(Rewrite)


def test_every_rule_says_what_to_do() -> None:
    assert all(rule.hint and rule.rule.cure for rule in (*PROGRAM_RULES, *GRAPH_RULES, *OP_RULES))
