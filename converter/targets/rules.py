"""What a program must not have on a target: one record per rule.

Three readers ask them: the judge of whole programs, adapt-to-target for what can be written in another way, and
choose-lowering for the fused op of a recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from converter.errors import Rejection
from converter.ir import DType, Graph, Program, Value, as_tflite
from converter.ir.operands import LstmOperand
from converter.rules import Rule
from converter.targets.limits import Limits
from converter.targets.needs import FUSED_LSTM, Needs


class Rewrite(Enum):
    """An equal form of what breaks a rule; adapt-to-target writes it. They are applied in this order."""

    SELECT_V2 = "SELECT becomes SELECT_V2"
    WHOLE_SLICE = "a STRIDED_SLICE names every axis"
    ARITHMETIC_SELECT = "a SELECT_V2 of integers or flags becomes arithmetic"
    CAST_FLAGS = "an op of flags becomes one of numbers"
    CONCATENATIONS = "a TILE becomes CONCATENATIONs of its operand with itself"
    CONCATENATION_TREE = "a long CONCATENATION becomes a tree of shorter ones"
    COPIED_OUTPUTS = "an output becomes a copy of what it was"


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that breaks a rule: where it is, and what was seen."""

    place: str
    detail: str


Subject = TypeVar("Subject", Program, Graph, Needs)


@dataclass(frozen=True, slots=True)
class TargetRule(Generic[Subject]):
    """One thing that some target does not run.

    ``rule`` is its name, with reason and cure; ``breaches`` yields what breaks it on a target of these limits;
    ``hint`` says what to do about one of them; ``rewrite`` is the equal form that breaks it no longer, if there is
    one.
    """

    rule: Rule
    breaches: Callable[[Subject, Limits], Iterator[Breach]]
    hint: str
    rewrite: Rewrite | None = None

    def rejections(self, subject: Subject, limits: Limits) -> Iterator[Rejection]:
        """Yield what breaks the rule as reasons to refuse a program."""
        for breach in self.breaches(subject, limits):
            yield Rejection(self.rule, breach.place, breach.detail, self.hint)


# --- whole programs ----------------------------------------------------------------------------------------------


def _boundary_types(program: Program, limits: Limits) -> Iterator[Breach]:
    if limits.boundary is None:
        return
    names, main = program.signature, program.main
    types = ", ".join(sorted(dtype.value for dtype in limits.boundary))
    for side, labels, values in (("input", names.inputs, main.inputs), ("output", names.outputs, main.outputs)):
        for name, value in zip(labels, values, strict=True):
            if value.type.dtype not in limits.boundary:
                seen = f"the {side} {name} is {value.type.dtype.value}"
                yield Breach(name, f"{seen}, but {limits.title} only passes {types}")


def _direct_outputs(program: Program, limits: Limits) -> Iterator[Breach]:
    if limits.direct_outputs:
        return
    for value in direct_outputs(program.main):
        yield Breach(
            value.name,
            f"the output {value.name} is the direct result of a WHILE, an input or another output; "
            f"{limits.title} returns garbage for it, or refuses it",
        )


def direct_outputs(graph: Graph) -> Iterator[Value]:
    """Yield the outputs that are no result of their own: of a WHILE, an input, a constant, or named before."""
    taken = {*graph.inputs, *(value for op in graph.ops if as_tflite(op, "WHILE") for value in op.results)}
    for value in graph.outputs:
        if value in taken or value.is_constant:
            yield value
        taken.add(value)


PROGRAM_RULES: tuple[TargetRule[Program], ...] = (
    TargetRule(Rule.TARGET_BOUNDARY_TYPE, _boundary_types, "cast it inside the model"),
    TargetRule(
        Rule.TARGET_DIRECT_OUTPUT,
        _direct_outputs,
        "convert the model for this target, which copies such outputs",
        Rewrite.COPIED_OUTPUTS,
    ),
)


# --- graphs ------------------------------------------------------------------------------------------------------


def _open_shapes(graph: Graph, limits: Limits) -> Iterator[Breach]:
    """Yield the first value of an open shape: others follow from it."""
    if limits.dynamic:
        return
    for value in graph.values():
        if not value.type.is_static:
            yield Breach(
                value.name, f"{value.name} is {value.type}, but {limits.title} needs every dimension fixed"
            )
            return


GRAPH_RULES: tuple[TargetRule[Graph], ...] = (
    TargetRule(
        Rule.TARGET_STATIC_SHAPES,
        _open_shapes,
        "fix the batch and time dimensions of the inputs: input_shapes={'x': (1, 20, 3)}, --input-shapes x:1,20,3",
    ),
)


# --- ops ---------------------------------------------------------------------------------------------------------


def _state_tensors(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.state_tensors and not limits.variable_tensors:
        detail = f"{limits.title} has no state tensors, which every fused recurrent op needs"
        yield Breach(needs.place, detail)


def _custom_ops(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.custom_code is not None:
        detail = f"{limits.title} does not have the custom op {needs.custom_code}"
        yield Breach(needs.place, detail)


def _selects(needs: Needs, limits: Limits) -> Iterator[Breach]:
    """Yield a SELECT of operands of one shape: of others, SELECT_V2 broadcasts what SELECT spreads over rows."""
    is_even = len(set(needs.shapes)) == 1 and None not in needs.shapes
    if needs.builtin == "SELECT" and is_even and "SELECT_V2" in limits.versions:
        yield from _missing_ops(needs, limits)


def _tiles(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.repeats:
        yield from _missing_ops(needs, limits)


def _missing_ops(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.custom_code is None and needs.builtin not in limits.versions:
        yield Breach(needs.place, f"{limits.title} has no {needs.builtin}")


def _flags_moved(needs: Needs, limits: Limits) -> Iterator[Breach]:
    """Yield an op of flags that has a form over numbers: one that moves elements, or asks if any is true."""
    if needs.type is DType.BOOL and needs.builtin != "SELECT_V2":
        yield from _missing_types(needs, limits)
    if needs.builtin == "REDUCE_ANY":
        yield from _missing_ops(needs, limits)


def _selects_of_integers(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.builtin == "SELECT_V2" and needs.type in {DType.BOOL, DType.INT32}:
        yield from _missing_types(needs, limits)


def _short_slices(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.axes_left_out and not limits.short_slices:
        yield Breach(needs.place, f"STRIDED_SLICE leaves out axes, which {limits.title} does not allow")


def _missing_types(needs: Needs, limits: Limits) -> Iterator[Breach]:
    missing = limits.missing_types.get(needs.builtin, frozenset())
    for dtype in sorted(missing & ({needs.type} | (needs.types & {DType.INT64})), key=lambda one: one.value):
        yield Breach(needs.place, f"{needs.builtin} has {dtype.value}, for which {limits.title} has no kernel")


def _new_versions(needs: Needs, limits: Limits) -> Iterator[Breach]:
    newest = limits.versions.get(needs.builtin, needs.version)
    if needs.custom_code is None and needs.version > newest:
        seen = f"{needs.builtin} has version {needs.version}"
        yield Breach(needs.place, f"{seen}, but {limits.title} supports it up to version {newest}")


def _long_concatenations(needs: Needs, limits: Limits) -> Iterator[Breach]:
    limit, count = limits.concatenation_operands, len(needs.shapes)
    if needs.builtin == "CONCATENATION" and limit is not None and count > limit:
        yield Breach(needs.place, f"CONCATENATION has {count} operands, but {limits.title} takes at most {limit}")


def _short_lstms(needs: Needs, limits: Limits) -> Iterator[Breach]:
    expected, count = len(LstmOperand), len(needs.shapes)
    if needs.builtin == FUSED_LSTM and not limits.fused_features and count != expected:
        seen = f"{needs.place} has {count} operands"
        yield Breach(needs.place, f"{seen}, but the fused LSTM of {limits.title} takes {expected}")


def _fused_features(needs: Needs, limits: Limits) -> Iterator[Breach]:
    if needs.builtin == FUSED_LSTM and not limits.fused_features:
        for feature in needs.features:
            yield Breach(needs.place, f"the fused LSTM of {limits.title} does not support {feature}")


OP_RULES: tuple[TargetRule[Needs], ...] = (
    TargetRule(
        Rule.TARGET_VARIABLE_TENSORS,
        _state_tensors,
        "convert the model for this target: its recurrences become loops",
    ),
    TargetRule(Rule.TARGET_OP, _custom_ops, "replace the layer that it comes from"),
    TargetRule(Rule.TARGET_OP, _selects, "convert the model for this target", Rewrite.SELECT_V2),
    TargetRule(Rule.TARGET_OP, _tiles, "convert the model for this target", Rewrite.CONCATENATIONS),
    TargetRule(Rule.TARGET_OP, _short_slices, "convert the model for this target", Rewrite.WHOLE_SLICE),
    TargetRule(
        Rule.TARGET_OP, _selects_of_integers, "convert the model for this target", Rewrite.ARITHMETIC_SELECT
    ),
    TargetRule(Rule.TARGET_OP, _flags_moved, "convert the model for this target", Rewrite.CAST_FLAGS),
    TargetRule(Rule.TARGET_OP, _missing_ops, "replace the layer it comes from"),
    TargetRule(Rule.TARGET_OP, _missing_types, "use float32 or int32 there, or replace the layer"),
    TargetRule(
        Rule.TARGET_OP_VERSION, _new_versions, "use a newer runtime, or replace the layer that it comes from"
    ),
    TargetRule(
        Rule.TARGET_CONCATENATION,
        _long_concatenations,
        "convert the model for this target, or concatenate in several steps",
        Rewrite.CONCATENATION_TREE,
    ),
    TargetRule(Rule.TARGET_FUSED_LSTM, _short_lstms, "convert the model for this target"),
    TargetRule(
        Rule.TARGET_FUSED_LSTM,
        _fused_features,
        "convert the model for this target: the recurrence becomes a loop",
    ),
)
