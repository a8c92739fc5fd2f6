"""choose-lowering: every recurrence and scan has a lowering, and the reasons why no better one."""

from __future__ import annotations

import numpy as np
import pytest

from converter.errors import ConversionError
from converter.ir import DType, Lowering, Program, Scan, ScanStep, evaluate, verify
from converter.ir.attributes import new_op
from converter.options import ConvertOptions
from converter.passes.choose_lowering import choose_lowering, lowerings_chosen
from converter.targets import Target
from tests.programs import gru_cell, lstm_cell, program, random_inputs, recurrence, stack, tensor


def _chosen(source: Program, options: ConvertOptions) -> Program:
    after = verify(choose_lowering(verify(source, after="test"), options), after="choose-lowering")
    assert lowerings_chosen(after)
    given = random_inputs(np.random.default_rng(0), source, time=4, batch=2)
    expected, seen = evaluate(source, given), evaluate(after, given)
    for name, array in expected.items():
        np.testing.assert_array_equal(seen[name], array)
    return after


def _outcomes(after: Program) -> list[tuple[Lowering | None, list[str]]]:
    return [(op.lowering, [reason.rule for reason in op.refused]) for op in after.recurrences()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ConvertOptions(), [(Lowering.FUSED, []), (Lowering.WHILE, ["gru-no-fused-op"])]),
        (ConvertOptions(lowering=Lowering.WHILE), [(Lowering.WHILE, []), (Lowering.WHILE, [])]),
        (ConvertOptions(lowering=Lowering.UNROLLED), [(Lowering.UNROLLED, []), (Lowering.UNROLLED, [])]),
        (
            ConvertOptions(target=Target.LITERT_COMPILED),
            [
                (Lowering.WHILE, ["target-variable-tensors"]),
                (Lowering.WHILE, ["target-variable-tensors", "gru-no-fused-op"]),
            ],
        ),
    ],
    ids=["the best", "loops on request", "unrolled on request", "a target without fused ops"],
)
def test_each_recurrence_keeps_its_lowering_and_what_refused_better_ones(
    options: ConvertOptions, expected: list[tuple[Lowering, list[str]]]
) -> None:
    after = _chosen(stack([lstm_cell(), gru_cell(depth=4)], time=4, batch=2), options)
    assert _outcomes(after) == expected


def test_a_choice_that_was_made_is_made_again() -> None:
    once = _chosen(stack([gru_cell()]), ConvertOptions())
    assert _outcomes(choose_lowering(once, ConvertOptions())) == _outcomes(once)


def test_a_scan_says_why_it_is_no_fused_op() -> None:
    x, y, t = tensor("x", None, None, 3), tensor("y", None, None, 3), tensor("t", dtype=DType.INT32)
    row, squashed = tensor("row", None, 3), tensor("squashed", None, 3)
    step = ScanStep(t, (), (row,), (), (), (squashed,))
    scan = Scan("scan", step.body("step", [new_op("TANH", [row], [squashed])]), (x,), (), (), (y,), ())
    op = recurrence(lstm_cell(), y)
    after = choose_lowering(program([x], [scan, op], [op.output]), ConvertOptions())
    (chosen,) = after.scans()
    assert (chosen.lowering, [reason.rule for reason in chosen.refused]) == (Lowering.WHILE, ["unknown-cell"])


def test_what_no_lowering_computes_ends_the_conversion_with_every_reason() -> None:
    source = stack([gru_cell(), lstm_cell(depth=4, cell_clip=0.0)])
    with pytest.raises(ConversionError) as caught:
        choose_lowering(source, ConvertOptions(lowering=Lowering.FUSED))
    assert [reason.rule for reason in caught.value.rejections] == ["gru-no-fused-op", "lstm-zero-clip"]
