"""The README's table of options: every flag that there is, beside the Python word that there is; and its links."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import tflite_rnn as rnn
from tflite_rnn.cli import main

ROOT = Path(rnn.__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in README.split("| on the command line | in Python |")[1].split("\n\n")[0].splitlines()[2:]
]
NOT_OPTIONS_OF_PYTHON = {"--output", "--against", "--help"}


def _flags() -> set[str]:
    """Every option of convert and check, by its first long name."""
    found = set()
    for command in ("convert", "check"):
        for parameter in main.commands[command].params:
            names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
            found.update(name for name in names[-1:] if parameter.secondary_opts)
            found.update(names[:1] if not parameter.secondary_opts else ())
    return found


def test_every_option_of_convert_and_check_is_in_the_table() -> None:
    listed = {flag for row in ROWS for flag in re.findall(r"--[a-z-]+", row[0])}
    assert listed == _flags() - NOT_OPTIONS_OF_PYTHON


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_python_word_exists(row: list[str]) -> None:
    calls = re.findall(r"(\w+)\(((?:[^()]|\([^()]*\))*)\)", row[1])
    for name, arguments in calls:
        if name in {"to_dict", "Runtime"}:
            continue
        parameters = inspect.signature(getattr(rnn, name)).parameters
        for word in re.findall(r"(\w+)=", arguments):
            assert word in parameters, (name, word)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^()#:\s]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_links_to_every_page() -> None:
    links = re.findall(r"\]\(([^()#:\s]+)\)", README)
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES} - {"README.md"}
    assert pages - set(links) == set()
