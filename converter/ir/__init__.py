"""The typed intermediate representation: cells, recurrences, graphs; verified, printed and evaluated here.

Nothing below this package knows TensorFlow, flatbuffers or any target; NumPy is all it needs.
"""

from converter.ir.builtins import Trait
from converter.ir.cells import (
    Activation,
    Cell,
    Gate,
    GruCell,
    LayerNorm,
    LayerNormLstmCell,
    LstmCell,
    Peephole,
    RnnCell,
)
from converter.ir.evaluate import evaluate
from converter.ir.names import Names
from converter.ir.printer import format_op, format_program
from converter.ir.program import (
    Bidirectional,
    Graph,
    Lowering,
    MaskedOutput,
    Op,
    Producers,
    Program,
    Recurrence,
    Scan,
    Signature,
    Steps,
    TfliteOp,
)
from converter.ir.rewire import rewire, rewire_graph
from converter.ir.traits import facts, has, has_effects, is_list_op, is_pure
from converter.ir.types import Array, DType, Location, Shape, TensorType, Value, constant, dims
from converter.ir.verify import verify

__all__ = [
    "Activation",
    "Array",
    "Bidirectional",
    "Cell",
    "DType",
    "Gate",
    "Graph",
    "GruCell",
    "LayerNorm",
    "LayerNormLstmCell",
    "Location",
    "Lowering",
    "LstmCell",
    "MaskedOutput",
    "Names",
    "Op",
    "Peephole",
    "Producers",
    "Program",
    "Recurrence",
    "RnnCell",
    "Scan",
    "Shape",
    "Signature",
    "Steps",
    "TensorType",
    "TfliteOp",
    "Trait",
    "Value",
    "constant",
    "dims",
    "evaluate",
    "facts",
    "format_op",
    "format_program",
    "has",
    "has_effects",
    "is_list_op",
    "is_pure",
    "rewire",
    "rewire_graph",
    "verify",
]
