"""How a command ends: one of five exit statuses, with at most one message."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final

import click

from converter.errors import InternalError, TfliteRnnError
from tflite_rnn.cli.crash import write_crash_report
from tflite_rnn.interrupts import INTERRUPTED
from tflite_rnn.terminal import PrintingConsole, console, discard, printable

FILE_WIDTH = 120
"""The width of a table that is written to a file or a pipe."""

COMPLETION = "_TFLITE_RNN_COMPLETE"
"""The environment variable by which a shell asks Click what could follow."""


class Status(IntEnum):
    """The exit statuses."""

    GOOD = 0
    FAILED = 1
    """The model failed the check or the judgement."""
    BAD_INPUT = 2
    """Bad input or usage, a missing extra or runtime, a full disk."""
    INTERNAL = 70
    """A fault of tflite-rnn; 70 is EX_SOFTWARE."""
    INTERRUPTED = INTERRUPTED


_EXTRAS: Final[Mapping[str, str]] = {
    "h5py": "tensorflow",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
    "tf_keras": "tf-keras",
    "tflite_micro": "tflm",
    "tflite_runtime": "tflite-runtime",
}
"""Which extra brings a package."""

_LIMITS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""How the system says that it has no more of something."""


class CommandLine(click.Group):
    """A group of commands that ends the process with a `Status`. A command returns one, or None if all is good."""

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that ``args`` names, by default those of the process, and end the process."""
        if not standalone_mode or COMPLETION in os.environ:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        words = sys.argv[1:] if args is None else list(args)

        def run() -> Any:
            with self.make_context(prog_name or "tflite-rnn", words, **extra) as context:
                return self.invoke(context)

        sys.exit(ended(run))


def ended(run: Callable[[], Any]) -> int:
    """Run a command and return the exit status that fits how it ended; say what went wrong, if anything did."""
    try:
        status = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(printable(shown.getvalue()), err=True, nl=False)
        return Status.BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return Status.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough: what the command did is done all the same.
        discard(sys.stdout)
        return Status.GOOD
    # Whatever else is raised is a fault of ours, or a limit of the machine.
    except Exception as error:
        return _explained(error)
    return status if isinstance(status, Status) else Status.GOOD


def _explained(error: Exception) -> Status:
    message = _message(error)
    if message is not None:
        _say("error:", message)
        return Status.BAD_INPUT
    # One line: what else there is to say is in the file.
    seen = (str(error).splitlines() or [""])[0][:300]
    _say(f"internal error: {type(error).__name__}: {seen}; {write_crash_report(error)}")
    return Status.INTERNAL


def _message(error: Exception) -> str | None:
    """Return what is to be said about an error that is not a fault of ours; None for one that is."""
    if isinstance(error, TfliteRnnError):
        return None if isinstance(error, InternalError) else str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this model"
    if isinstance(error, OSError) and error.errno in _LIMITS:
        return f"the system refused: {error}"
    if os.strerror(errno.ENOSPC) in str(error):  # as TensorFlow says it
        return (
            f"no space left for temporary files, which are in {tempfile.gettempdir()} (TMPDIR names another place)"
        )
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(package)
        return extra and f"this needs {package}, which is not installed: pip install 'tflite-rnn[{extra}]'"
    return None


def _say(*words: str) -> None:
    """Print a message to standard error."""
    try:
        console(stderr=True, soft_wrap=True).print(*words, markup=False)
    except TfliteRnnError:
        return  # there is nowhere to say it; the status is left


def table_console() -> PrintingConsole:
    """Return a console for tables, as wide as the terminal."""
    table = console()
    if not table.is_terminal:
        table.width = FILE_WIDTH
    return table
