"""``tflite-rnn targets``."""

from __future__ import annotations

import click

from tflite_rnn.cli.status import table_console


@click.command("targets")
def targets_command() -> None:
    """List the targets of models, and what each supports and limits."""
    from tflite_rnn.inspection import describe_targets

    table_console().print(describe_targets())
