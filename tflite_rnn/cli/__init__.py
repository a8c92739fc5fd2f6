"""The command line: ``tflite-rnn convert``, ``check``, ``inspect``, ``targets`` and ``explain``.

Exit status: 0 if all is good, 1 if the model fails the check or the judgement, 2 for bad input or usage, or if
something is not installed, 70 for an internal error, 130 if interrupted; see `tflite_rnn.cli.status`.
"""

from __future__ import annotations

import click

import tflite_rnn
from tflite_rnn.cli.check import check_command
from tflite_rnn.cli.convert import convert_command
from tflite_rnn.cli.explain import explain_command
from tflite_rnn.cli.inspect import inspect_command
from tflite_rnn.cli.status import CommandLine
from tflite_rnn.cli.targets import targets_command


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tflite_rnn.__version__, prog_name="tflite-rnn")
def main() -> None:
    """Compile recurrent networks to TensorFlow Lite, exactly, and prove it."""


main.add_command(convert_command)
main.add_command(check_command)
main.add_command(inspect_command)
main.add_command(targets_command)
main.add_command(explain_command)
