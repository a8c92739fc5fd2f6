"""A pass that is run again changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from converter.ir import Program, format_program


def assert_settled(run: Callable[[Program], Program], program: Program) -> None:
    """Assert that ``run`` leaves ``program``, which it returned itself, as it is."""
    assert format_program(run(program)) == format_program(program)
