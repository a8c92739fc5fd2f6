"""Recognise the cells that a step computes, by their meaning and not by their ops.

`unmask` removes the lengths. `symbolic_execution` brings the rest to its `normal_form`, in which activations are
matched by their values (`activation_matching`). `cells` reads the cells off that form. `plan` arranges them and
the remaining ops of the step around them. `translation_validation` runs the original and the result on random
inputs before it is accepted.
"""

from converter.recognition.recognize import recognize

__all__ = ["recognize"]
