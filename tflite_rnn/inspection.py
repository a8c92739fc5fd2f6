"""A `.tflite` as tables: its signatures, ops, state tensors and sizes, for `tflite-rnn inspect`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from converter.ir import Graph, Op, Program, Recurrence, TfliteOp, Value


def describe(program: Program, *, title: str, size: int) -> Group:
    """Return the tables that describe ``program``, read from a file of ``size`` bytes."""
    weights = sum(_bytes(value) for graph in program.graphs for value in graph.values())
    head = f"[bold]{escape(title)}[/bold]: {size:,} bytes, of which {weights:,} are constants"
    described = f"{head}\n{escape(program.description)}" if program.description else head
    return Group(described, *_signature_tables(program), *_graph_tables(program), _counts(program))


def _signature_tables(program: Program) -> Iterator[Table]:
    for signature in program.signatures:
        graph = program.graphs[signature.graph]
        table = _table(f"signature {signature.key}", "", "name", "type", "tensor")
        for what, names, values in (
            ("input", signature.inputs, graph.inputs),
            ("output", signature.outputs, graph.outputs),
        ):
            for name, value in zip(names, values, strict=True):
                _row(table, what, name, str(value.type), value.name)
        yield table


def _graph_tables(program: Program) -> Iterator[Table]:
    for graph in program.graphs:
        ops = _table(f"ops of graph {graph.name}", "#", "op", "version", "reads", "writes")
        for number, op in enumerate(graph.ops):
            _row(ops, str(number), _kind(op), _version(op), _names(op.operands), _names(op.results))
        yield ops
        tensors = _table(f"tensors of graph {graph.name}", "name", "type", "bytes", "")
        for value in graph.values():
            _row(
                tensors,
                value.name,
                str(value.type),
                f"{_bytes(value):,}" if value.is_constant else "",
                _role(value),
            )
        yield tensors
        if any(value.is_variable for value in graph.values()):
            yield _states(graph)


def _states(graph: Graph) -> Table:
    table = _table(f"state tensors of graph {graph.name}", "name", "type", "starts from", "used by")
    producers = graph.producers()
    for value in graph.values():
        if not value.is_variable:
            continue
        writer = producers.get(value)
        start = "the last invoke" if writer is None else f"{_kind(writer)} at every invoke"
        users = (_kind(op) for op in graph.ops if value in op.operands)
        _row(table, value.name, str(value.type), start, ", ".join(users))
    return table


def _counts(program: Program) -> Table:
    table = _table("op counts", "op", "count")
    for kind, count in program.op_counts().items():
        _row(table, kind, str(count))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*map(escape, cells))


def _kind(op: Op) -> str:
    return "RECURRENCE" if isinstance(op, Recurrence) else op.kind


def _version(op: Op) -> str:
    return str(op.version) if isinstance(op, TfliteOp) else ""


def _names(values: Iterable[Value | None]) -> str:
    """Return the names of the values that flow: constants are in the table of tensors."""
    return "\n".join(value.name for value in values if value is not None and not value.is_constant)


def _role(value: Value) -> str:
    if value.is_constant:
        return "constant"
    return "state" if value.is_variable else ""


def _bytes(value: Value) -> int:
    return 0 if value.data is None else value.data.nbytes
