"""Shape inference: the shapes of an op's results from those of its operands, its options and its constants.

Each rule follows the kernel when it sizes its results. Sizes are numbers or symbols (see `dimensions`). An unknown
size is None, and so is a shape of unknown rank.
"""

from converter.ir.shapes.inference import (
    infer_shapes,
    known_of,
    listed_per_axis,
    operands_fit,
    refined_value,
    result_shapes,
    sizing,
)
from converter.ir.shapes.known import Known

__all__ = [
    "Known",
    "infer_shapes",
    "known_of",
    "listed_per_axis",
    "operands_fit",
    "refined_value",
    "result_shapes",
    "sizing",
]
