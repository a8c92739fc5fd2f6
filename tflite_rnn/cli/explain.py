"""``tflite-rnn explain``."""

from __future__ import annotations

import difflib
import textwrap

import click

from converter.errors import OptionError
from converter.rules import Rule
from tflite_rnn.cli.status import reports_errors

WIDTH = 100
"""Columns of an explanation, wherever it is printed."""


@click.command("explain")
@click.argument("name", metavar="[RULE]", required=False)
@reports_errors
def explain_command(name: str | None) -> None:
    """Explain the rule in brackets after a refusal, or list all rules.

    \b
    Example:
      tflite-rnn explain lstm-activation
    """
    if name is None:
        longest = max(len(rule.value) for rule in Rule)
        for rule in Rule:
            click.echo(f"{rule.value:{longest}}  {rule.summary}")
    else:
        click.echo(_explanation(_rule_called(name)))


def _rule_called(name: str) -> Rule:
    rules = {rule.value: rule for rule in Rule}
    wanted = name.strip("[]").lower()
    if wanted in rules:
        return rules[wanted]
    near = difflib.get_close_matches(wanted, rules)
    near += [known for known in rules if wanted and wanted in known and known not in near]
    advice = f"did you mean {', '.join(near)}?" if near else "`tflite-rnn explain` lists all rules"
    raise OptionError(f"unknown rule {name!r}; {advice}")


def _explanation(rule: Rule) -> str:
    sections = (("Why", rule.reason), ("What to do", rule.cure))
    paragraphs = [textwrap.fill(f"{title}: {text}", WIDTH, break_on_hyphens=False) for title, text in sections]
    return "\n\n".join([f"{rule.value}: {rule.summary}", *paragraphs])
