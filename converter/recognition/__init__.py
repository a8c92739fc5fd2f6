"""Which cell a step computes: by what it means, whatever it is spelled with, and confirmed by running both.

`unmask` removes the lengths. `symbolic_execution` brings the rest to its `normal_form`, in which activations
are matched by their values (`activation_matching`). `cells` reads the cells off that form. `plan` arranges them
and what is left of the step around them. `translation_validation` runs the original and the result on random
inputs: nothing is trusted before.
"""

from converter.recognition.recognize import recognize

__all__ = ["recognize"]
