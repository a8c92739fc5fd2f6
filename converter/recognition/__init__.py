"""Which cell a step computes: by what it means, whatever it is spelled with, and confirmed by running both.

`peel` takes the lengths off, `dataflow` brings what is left to the normal form of `forms`, with activations known
by their values (`functions`), `cells` reads the cells off that form, and `plan` arranges them and what is left of
the step around them. `confirm` runs the original and the outcome on random inputs: nothing is trusted before.
"""

from converter.recognition.recognize import recognize

__all__ = ["recognize"]
