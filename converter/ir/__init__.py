"""The typed intermediate representation: cells, recurrences, graphs; verified, printed and evaluated here.

It does not depend on TensorFlow, flatbuffers or targets; it only needs NumPy.
"""

from converter.ir.attributes import FullyConnected, StridedSlice, fused_activation, integers, new_op
from converter.ir.builtins import Trait
from converter.ir.cells import Activation, Cell, GruCell, LayerNormLstmCell, LstmCell, RnnCell
from converter.ir.evaluate import evaluate
from converter.ir.gates import Gate, GateNorm, LayerNorm, Peephole
from converter.ir.matching import as_tflite, made_by
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
    Recurrent,
    Scan,
    ScanStep,
    Signature,
    TfliteOp,
)
from converter.ir.rewire import copied, rewire, rewire_graph, with_results
from converter.ir.traits import facts, has, has_effects, is_list_op, is_pure
from converter.ir.types import Array, DType, Location, Shape, TensorType, Value, constant, dims
from converter.ir.verify import verify

__all__ = [
    "Activation",
    "Array",
    "Bidirectional",
    "Cell",
    "DType",
    "FullyConnected",
    "Gate",
    "GateNorm",
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
    "Recurrent",
    "RnnCell",
    "Scan",
    "ScanStep",
    "Shape",
    "Signature",
    "StridedSlice",
    "TensorType",
    "TfliteOp",
    "Trait",
    "Value",
    "as_tflite",
    "constant",
    "copied",
    "dims",
    "evaluate",
    "facts",
    "format_op",
    "format_program",
    "fused_activation",
    "has",
    "has_effects",
    "integers",
    "is_list_op",
    "is_pure",
    "made_by",
    "new_op",
    "rewire",
    "rewire_graph",
    "verify",
    "with_results",
]
