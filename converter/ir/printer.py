"""Print programs as text, to read and for error messages."""

from __future__ import annotations

import textwrap

from converter.ir.program import Bidirectional, Graph, Op, Program, Recurrence, Scan, TfliteOp
from converter.ir.types import Value


def format_program(program: Program) -> str:
    """Return the program as text: a line per input, op and output; constants only by type."""
    return "\n".join(f"graph @{graph.name}{_block(graph)}" for graph in program.graphs)


def _block(graph: Graph) -> str:
    """Return the inputs, ops and outputs of a graph: a body in braces, a line per op, indented."""
    inputs = ", ".join(f"%{value.name}: {value.type}" for value in graph.inputs)
    outputs = ", ".join(_operand(value) for value in graph.outputs)
    lines = "".join(f"{format_op(op)}\n" for op in graph.ops) + f"return {outputs}\n"
    return f"({inputs}) {{\n{textwrap.indent(lines, '  ')}}}"


def format_op(op: Op) -> str:
    """Return one op as text: a line, and below that of a scan the ops of its step."""
    results = ", ".join(f"%{value.name}: {value.type}" for value in op.results)
    if isinstance(op, Recurrence):
        return f"{results} = {_recurrence(op)}"
    if isinstance(op, Bidirectional):
        return f"{results} = bidirectional({_recurrence(op.forward)}, {_recurrence(op.backward)})"
    return f"{results} = {_call(op.kind, op.operands) if isinstance(op, TfliteOp) else _scan(op)}"


def _scan(op: Scan) -> str:
    parts = [
        f"{what}=({', '.join(_operand(value) for value in values)})"
        for what, values in (
            ("sequences", op.sequences),
            ("initial_state", op.initial_state),
            ("invariants", op.invariants),
        )
        if values
    ]
    parts += [f"{what}={_operand(value)}" for what, value in (("length", op.length), ("steps", op.steps)) if value]
    return f"scan({', '.join(parts)}) {_block(op.body)}"


def _recurrence(op: Recurrence) -> str:
    parts = [f"%{op.x.name}", str(op.cell), "time_major" if op.time_major else "batch_major"]
    if op.go_backwards:
        parts.append("go_backwards")
    if any(op.initial_state):
        states = ", ".join("zero" if value is None else f"%{value.name}" for value in op.initial_state)
        parts.append(f"initial_state=({states})")
    if op.sequence_length is not None:
        parts.append(f"sequence_length=%{op.sequence_length.name}")
    if op.mask is not None:
        parts.append(f"mask=%{op.mask.name}, masked_output={op.masked_output.value}")
    if op.lowering is not None:
        parts.append(f"lowering={op.lowering.value}")
    return f"recurrence({', '.join(parts)})"


def _call(kind: str, operands: tuple[Value | None, ...]) -> str:
    return f"{kind}({', '.join(_operand(value) for value in operands)})"


def _operand(value: Value | None) -> str:
    if value is None:
        return "-"
    if value.is_constant:
        return f"const {value.type}"
    return f"%{value.name}"
