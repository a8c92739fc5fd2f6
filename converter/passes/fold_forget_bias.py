"""fold-forget-bias: add the scalar forget_bias of TensorFlow's cells to the bias of the forget gate."""

from __future__ import annotations

from dataclasses import replace

from converter.ir import LstmCell, Op, Program, Recurrence


def fold_forget_bias(program: Program) -> Program:
    """Add each LSTM's scalar forget_bias into its forget gate's bias vector."""
    return program.map_ops(_fold)


def forget_biases_folded(program: Program) -> bool:
    """True if no cell has a scalar forget_bias left."""
    return not any(isinstance(op.cell, LstmCell) and op.cell.forget_bias != 0.0 for op in program.recurrences())


def _fold(op: Op) -> Op:
    if not isinstance(op, Recurrence) or not isinstance(op.cell, LstmCell) or op.cell.forget_bias == 0.0:
        return op
    gate = op.cell.forget_gate
    bias = gate.bias + gate.bias.dtype.type(op.cell.forget_bias)
    cell = replace(op.cell, forget_gate=replace(gate, bias=bias), forget_bias=0.0)
    return replace(op, cell=cell)
