"""What commands a terminal is written out, what is only shown stays."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from tflite_rnn.terminal import console, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve, 名前, עברית\n\ttext", "plain, naïve, 名前, עברית\n\ttext"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\b", r"over\rwritten\x08"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("model\u202egnp.tflite", r"model\u202egnp.tflite"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(printable(text)) == shown


def test_tables_and_lines_obey_no_name() -> None:
    stream = io.StringIO()
    table = Table("a name that is long enough")
    table.add_row("\x1b[31mred")
    printing = console(file=stream, force_terminal=True, color_system="standard", width=60)
    printing.print(table)
    printing.print("error:", "\x1b]0;title\x07", markup=False)
    printing.print("[bold]ours[/bold]")
    printed = stream.getvalue()
    assert "\x1b[31m" not in printed
    assert "\x1b]0" not in printed
    assert r"\x1b[31mred" in printed
    assert "\x1b[1mours" in printed
