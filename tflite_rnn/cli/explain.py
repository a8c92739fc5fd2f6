"""``tflite-rnn explain``."""

from __future__ import annotations

import difflib
import textwrap

import click

from converter.errors import OptionError
from converter.rules import Rule
from tflite_rnn.terminal import console

WIDTH = 100
"""The width of an explanation in columns."""


@click.command("explain")
@click.argument("name", metavar="[RULE]", required=False)
def explain_command(name: str | None) -> None:
    """Explain the rule in brackets after a refusal, or list all rules.

    \b
    Example:
      tflite-rnn explain lstm-activation
    """
    show = console(soft_wrap=True)
    if name is None:
        longest = max(len(rule.value) for rule in Rule)
        for rule in Rule:
            show.print(f"{rule.value:{longest}}  {rule.summary}", markup=False)
    else:
        show.print(_explanation(_rule_called(name)), markup=False)


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
