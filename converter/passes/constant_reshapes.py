"""constant-reshapes: name the sizes of a RESHAPE by numbers if at most one of them is unknown.

Keras' Reshape, Flatten and others read the batch from their operand and compute a shape with it. The kernel finds
one size by itself. Behind a computed shape all tensors are sized at run time, and no fused op with an unknown
batch may follow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.analysis.dimensions import Dimensions
from converter.ir import Graph, Op, Program, TfliteOp, constant, new_op
from converter.ir.dimensions import divide, multiply


def constant_reshapes(program: Program) -> Program:
    """Replace computed shapes of RESHAPE ops by constants, with -1 for the unknown size."""
    return program.map_graphs(_with_constants)


def _with_constants(graph: Graph) -> Graph:
    sizes = Dimensions.of(graph.ops)
    shapes = {op: shape for op in graph.ops if (shape := _shape(op, sizes)) is not None}
    if not shapes:
        return graph
    names = graph.names()
    ops: list[Op] = []
    for op in graph.ops:
        if op in shapes and isinstance(op, TfliteOp):
            numbers = constant(names.fresh(f"{op.name}/shape"), np.array(shapes[op], np.int32))
            ops.append(new_op("RESHAPE", [op.operand(0), numbers], op.results))
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops))


def _shape(op: Op, sizes: Dimensions) -> list[int] | None:
    """Return the shape that a RESHAPE computes, None if it is a constant already or two sizes are unknown."""
    if not isinstance(op, TfliteOp) or op.builtin != "RESHAPE" or len(op.operands) < 2:
        return None
    if op.operand(1).is_constant or op.operand(0).type.rank is None:
        return None
    elements = sizes.elements(op.operand(1))
    if elements is None:
        return None
    rest = divide(
        multiply(sizes.shape(op.operand(0)) or (None,)), multiply(size for size in elements if size != -1)
    )
    if elements.count(-1) == 1 and isinstance(rest, int):
        elements = tuple(rest if size == -1 else size for size in elements)
    numbers = [size if isinstance(size, int) else -1 for size in elements]
    # Zero elements leave the unknown size open: the kernel cannot find it.
    return numbers if numbers.count(-1) <= 1 and 0 not in numbers else None
