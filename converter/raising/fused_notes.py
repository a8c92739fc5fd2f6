"""What the report says of the fused recurrent ops that a model brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from converter.analysis.kept_states import kept_states
from converter.analysis.variables import state_variables
from converter.ir import DType, Program, TfliteOp
from converter.options import StatePolicy
from converter.raising.fused_ops import is_raised
from converter.raising.fused_weights import stored_types

_NOW: Mapping[StatePolicy, str] = {
    StatePolicy.STATELESS: "every invoke starts here like the first one of the original",
    StatePolicy.EXPLICIT: "it is given and returned here",
    StatePolicy.STREAMING: "it is kept here too, until the signature reset is run",
}


def fused_notes(program: Program, policy: StatePolicy) -> tuple[str, ...]:
    """Return what the user should know of the fused recurrent ops of a model before they are raised."""
    return (*_found(program), *_states(program, policy), *_weights(program))


def _found(program: Program) -> Iterator[str]:
    raised = [op for op in program.ops() if isinstance(op, TfliteOp) and is_raised(op)]
    if raised:
        yield f"the model brought fused recurrent ops, which were read as recurrences: {_count(raised)}"


def _states(program: Program, policy: StatePolicy) -> Iterator[str]:
    kept = [state.op for state in kept_states(program)]
    recurrences = [op for op in kept if is_raised(op)]
    filters = [op for op in kept if op.builtin == "SVDF"]
    if recurrences:
        yield f"the state of {_count(recurrences)} survived every invoke of the original; {_NOW[policy]}"
    variables = [state.name for state in state_variables(program)]
    if variables:
        yield f"the original kept {', '.join(variables)} until its reset; {_NOW[policy]}"
    if filters:
        now = _NOW[StatePolicy.STREAMING]
        yield f"the state of {_count(filters)} survived every invoke of the original; {now}"


def _weights(program: Program) -> Iterator[str]:
    types: Counter[DType] = Counter()
    for graph in program.graphs:
        producers = graph.producers()
        for op in graph.ops:
            if isinstance(op, TfliteOp) and is_raised(op):
                types.update(stored_types(op, producers))
    for dtype, count in types.items():
        rounded = dtype in {DType.INT8, DType.UINT8}
        more = (
            ", and so is what its kernels rounded to int8: results differ from the original's" if rounded else ""
        )
        yield f"the {dtype.value} weights of {count} recurrent op{'s' * (count > 1)} are float32 now{more}"


def _count(ops: Iterable[TfliteOp]) -> str:
    return ", ".join(f"{count} {builtin}" for builtin, count in Counter(op.builtin for op in ops).items())
