"""Describe a `.tflite` in tables for `tflite-rnn inspect`: its signatures, ops, state tensors and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from converter.analysis.kept_states import kept_states
from converter.errors import SourceError
from converter.flatbuffer import check_wellformed
from converter.ir import Graph, Op, Program, TfliteOp, Value
from converter.passes.bound_loops import open_loops
from converter.targets import LIMITS, Limits, Target
from tflite_rnn.runtime.metadata import ModelMetadata


def describe(program: Program, *, title: str, size: int, metadata: ModelMetadata | str | None = None) -> Group:
    """Return the tables that describe ``program``, read from a file of ``size`` bytes.

    ``metadata`` is that of the file, or the reason why it cannot be read.

    Tensors are numbered as in the last table, where their names and types are.
    """
    weights = sum(_bytes(value) for graph in program.graphs for value in graph.values())
    head = f"[bold]{escape(title)}[/bold]: {size:,} bytes, of which {weights:,} are constants"
    described = f"{head}\n{escape(program.description)}" if program.description else head
    if metadata is not None:
        described += f"\n{escape(_made(metadata))}"
    is_own = isinstance(metadata, ModelMetadata)  # then every loop has an end
    described += "".join(f"\n{escape(line)}" for line in (*_kept(program), *([] if is_own else _open(program))))
    parts: list[str | Table] = [described, *_signatures(program), _counts(program)]
    for graph in program.graphs:
        numbers = {value: number for number, value in enumerate(graph.values())}
        parts += [*_states(graph, numbers), _ops(graph, numbers), _tensors(graph, numbers)]
    return Group(*parts)


def _made(metadata: ModelMetadata | str) -> str:
    if isinstance(metadata, str):
        return metadata
    chunks = "" if metadata.chunks is None else "\n" + "\n".join(metadata.chunks.lines())
    padding = "" if metadata.mask_padding is None else f", masks are padding on the {metadata.mask_padding}"
    bounds = "".join(f", {name} ends after at most {number} steps" for name, number in metadata.max_steps.items())
    made = f"made by tflite-rnn {metadata.compiler} for the target {metadata.target}"
    return f"{made}, state {metadata.state}{padding}{bounds}{chunks}"


def _kept(program: Program) -> Iterator[str]:
    """Yield what recurrent ops keep from one invoke to the next, and what to do about it."""
    by_step = Counter(kept.op.builtin for kept in kept_states(program) if kept.sees_one_step)
    by_sequence = Counter(kept.op.builtin for kept in kept_states(program) if not kept.sees_one_step)
    if by_sequence:
        yield f"state leaks from one invoke to the next ({_listing(by_sequence)}): convert the file to mend it"
    if by_step:
        yield f"state is kept from one invoke to the next, each of which sees one step ({_listing(by_step)})"


def _open(program: Program) -> Iterator[str]:
    """Yield the loops whose steps the user may bound, or why a malformed file cannot be converted."""
    try:
        names = open_loops(check_wellformed(program, source="the file"))
    except SourceError as error:
        yield f"it cannot be converted: {error}"
        return
    if names:
        yield f"loops that end on what they compute, which --max-steps NAME=N can bound: {', '.join(names)}"


def _listing(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def describe_targets() -> Table:
    """Return the legality table, one column per target."""
    table = _table("targets", "", *(target.value for target in Target))
    for what, describe_limit in _LIMITS.items():
        _row(table, what, *(describe_limit(LIMITS[target]) for target in Target))
    return table


def _fused_lstm(limits: Limits) -> str:
    if not limits.variable_tensors:
        return "no, loops"
    return "yes" if limits.fused_features else "plain: no peepholes, projection, coupled gates; tanh only"


def _fused_rnn(limits: Limits) -> str:
    return "yes" if limits.variable_tensors and "UNIDIRECTIONAL_SEQUENCE_RNN" in limits.versions else "no, loops"


def _boundary(limits: Limits) -> str:
    return "any type" if limits.boundary is None else ", ".join(sorted(dtype.value for dtype in limits.boundary))


def _longest(limits: Limits) -> str:
    limit = limits.concatenation_operands
    return "any number of operands" if limit is None else f"at most {limit} operands"


_LIMITS: Mapping[str, Callable[[Limits], str]] = {
    "runs on": lambda limits: limits.title,
    "fused LSTM": _fused_lstm,
    "fused RNN": _fused_rnn,
    "batch and time": lambda limits: "open or fixed" if limits.dynamic else "fixed",
    "inputs and outputs": _boundary,
    "builtin ops": lambda limits: str(len(limits.versions)),
    "CONCATENATION": _longest,
}


def _signatures(program: Program) -> Iterator[Table]:
    for signature in program.signatures:
        graph = program.graphs[signature.graph]
        table = _table(f"signature {signature.key}", "", "name", "type")
        for what, names, values in (
            ("input", signature.inputs, graph.inputs),
            ("output", signature.outputs, graph.outputs),
        ):
            for name, value in zip(names, values, strict=True):
                _row(table, what, name, str(value.type))
        yield table


def _counts(program: Program) -> Table:
    table = _table("op counts", "op", "count")
    for kind, count in program.op_counts().items():
        _row(table, kind, str(count))
    return table


def _states(graph: Graph, numbers: dict[Value, int]) -> Iterator[Table]:
    states = [value for value in graph.values() if value.is_variable]
    if not states:
        return
    table = _table(f"states of graph {graph.name}", "tensor", "name", "type", "starts from")
    producers = graph.producers()
    for value in states:
        writer = producers.get(value)
        start = "what the last invoke left" if writer is None else f"{_kind(writer)}, at every invoke"
        _row(table, str(numbers[value]), value.name, str(value.type), start)
    yield table


def _ops(graph: Graph, numbers: dict[Value, int]) -> Table:
    table = _table(f"ops of graph {graph.name}", "op", "version", "reads", "writes")
    for op in graph.ops:
        reads, writes = _listed(op.operands, numbers), _listed(op.results, numbers)
        _row(table, _kind(op), str(op.version) if isinstance(op, TfliteOp) else "", reads, writes)
    return table


def _tensors(graph: Graph, numbers: dict[Value, int]) -> Table:
    table = _table(f"tensors of graph {graph.name}", "tensor", "name", "type", "constant bytes")
    for value, number in numbers.items():
        _row(table, str(number), value.name, str(value.type), f"{_bytes(value):,}" if value.is_constant else "")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*map(escape, cells))


def _kind(op: Op) -> str:
    return op.kind if isinstance(op, TfliteOp) else type(op).__name__.upper()


def _listed(values: Iterable[Value | None], numbers: dict[Value, int]) -> str:
    return " ".join("-" if value is None else str(numbers[value]) for value in values)


def _bytes(value: Value) -> int:
    return 0 if value.data is None else value.data.nbytes
