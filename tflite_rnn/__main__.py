"""Where the command line starts: ``tflite-rnn``, or ``python -m tflite_rnn``."""

from __future__ import annotations

from tflite_rnn.interrupts import interrupts_end_the_process


def main() -> None:
    """Run the command line; it ends the process with one of the statuses of `tflite_rnn.cli.status`."""
    with interrupts_end_the_process():
        from tflite_rnn.cli import main as command
    command()


if __name__ == "__main__":
    main()
