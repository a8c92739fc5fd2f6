"""``tflite-rnn explain``: rules, offline."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from converter.rules import Rule
from tflite_rnn.cli import main


def explain(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["explain", *arguments])
    return result.exit_code, result.output


def test_without_a_rule_all_are_listed_with_one_line_each() -> None:
    status, output = explain()
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == [rule.value for rule in Rule]
    assert max(map(len, output.splitlines())) <= 120


@pytest.mark.parametrize("name", ["lstm-zero-clip", "[lstm-zero-clip]", "LSTM-Zero-Clip"])
def test_a_rule_is_explained_by_its_reason_and_its_cure(name: str) -> None:
    status, output = explain(name)
    assert status == 0
    assert output.startswith("lstm-zero-clip: a clip of 0.0 means no clip to the fused LSTM\n\nWhy: cell_clip=0.0")
    assert " ".join(Rule.LSTM_ZERO_CLIP.cure.split()) in " ".join(output.split())


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("lstm-activtion", "did you mean lstm-activation"),
        ("clip", "did you mean lstm-zero-clip?"),
        ("zebra", "`tflite-rnn explain` lists all rules"),
    ],
)
def test_an_unknown_rule_gets_its_near_matches(name: str, advice: str) -> None:
    status, output = explain(name)
    assert status == 2
    assert f"error: unknown rule '{name}'; {advice}" in output
