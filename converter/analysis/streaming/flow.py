"""Follow time through a program: a fact for each value, a plan for each op, and what cannot run on chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from converter.analysis.dimensions import Dimensions
from converter.analysis.streaming.facts import (
    KEEP,
    MEASURE,
    Action,
    Fact,
    Feed,
    Other,
    Plan,
    Rows,
    Running,
    UnstreamableError,
    needs_the_whole,
    not_supported,
)
from converter.analysis.streaming.images import has_windows
from converter.analysis.streaming.recurrent import recurrence, scan
from converter.analysis.streaming.rules import outcome
from converter.analysis.streaming.view import Outcome, View, complete
from converter.analysis.variables import state_variables
from converter.errors import Rejection
from converter.ir import Bidirectional, Op, Program, Recurrence, Scan, TfliteOp, Value, has_effects
from converter.ir.dimensions import Dimension, Extent, unknown
from converter.rules import Rule


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """How time flows from the inputs of a program, whose axes of time are ``starts``, to its outputs.

    ``plans`` has each op that depends on the sequence, ``outputs`` the rows of each output of the program that has
    some, and how they are fed to it. ``reached`` counts recurrences and scans along this time, ``lost`` those that
    it reaches through ops that cannot run on chunks.
    """

    starts: Mapping[Value, int] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[Value, Fact] = field(default_factory=lambda: MappingProxyType({}))
    plans: Mapping[Op, Plan] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[Value, tuple[Rows, Feed]] = field(default_factory=lambda: MappingProxyType({}))
    rejections: tuple[Rejection, ...] = ()
    reached: int = 0
    lost: int = 0

    @property
    def changes(self) -> bool:
        """Whether some op on chunks differs from the op on the whole sequence, or something is kept for it."""
        return self.rewrites or any(isinstance(op, Recurrence) and op.mask is not None for op in self.plans)

    @property
    def rewrites(self) -> bool:
        """Whether some op on chunks differs from the op on the whole sequence."""
        fed = any(not feed.is_plain for _, feed in self.outputs.values())
        return fed or any(plan.changes for plan in self.plans.values()) or self.delays

    @property
    def delays(self) -> bool:
        """Whether some rows leave later than the steps that they belong to."""
        return any(isinstance(fact, Rows | Running) and fact.delay for fact in self.facts.values())

    @property
    def multiple(self) -> int:
        """The number of input steps of which a chunk must hold a multiple."""
        return math.lcm(*(fact.period for fact in self.facts.values() if isinstance(fact, Rows)))

    @property
    def lengths(self) -> int:
        """The number of input steps of which a whole sequence must hold a multiple."""
        return math.lcm(*(fact.lengths for fact in self.facts.values() if isinstance(fact, Rows)))


def flow_of(program: Program, *, ends: bool = False) -> Flow:
    """Return how time flows through ``program``; an empty flow if each invoke is one step, or without sequences.

    ``ends`` says whether a sequence may end within a chunk: then layers may look ahead.

    Each input's axis of time is the one that reaches most recurrences, and then the one with which fewest ops have
    to be refused. Where recurrences run one step, it can only be an axis of size one behind the batch; if it does
    not lead to them, whatever else the program computes is of one step. So it is if it keeps states in variables.
    """
    recurrent = [op for op in program.main.ops if isinstance(op, Recurrence | Scan | Bidirectional)]
    if state_variables(program):
        return Flow()
    is_one_step = bool(recurrent) and all(_steps(op) == 1 for op in recurrent)
    if any(isinstance(op, TfliteOp) and op.builtin == "SVDF" for op in program.main.ops):
        return Flow()
    sizes = Dimensions.of(program.main.ops)
    best = Flow()
    for value in program.main.inputs:
        axes = _candidates(value, recurrent=bool(recurrent))
        for axis in _of_one_step(value, axes) if is_one_step else axes:
            flow = _followed(program, {**best.starts, value: axis}, sizes, ends=ends)
            if not recurrent and value.type.is_static and flow.rejections:
                continue  # nothing says that this axis is time
            if _cost(flow) < _cost(best) or (value not in best.starts and not recurrent):
                best = flow
    return best if not is_one_step or (best.reached and not best.rejections) else Flow()


def windows_of_one_step(program: Program) -> list[str]:
    """Return the names of convolutions and pools in a program of which each invoke is one step."""
    recurrent = [op for op in program.main.ops if isinstance(op, Recurrence | Scan | Bidirectional)]
    if not recurrent or not all(_steps(op) == 1 for op in recurrent) or flow_of(program).starts:
        return []
    return [op.name for op in program.main.ops if isinstance(op, TfliteOp) and has_windows(op)]


def _of_one_step(value: Value, axes: Sequence[int]) -> list[int]:
    """Return the axes of a sequence of one step that may be time."""
    shape = value.type.shape or ()
    return [axis for axis in axes if axis and shape[axis] == 1 and len(shape) > 2]


def _cost(flow: Flow) -> tuple[int, int, int]:
    return (-flow.reached - flow.lost, -flow.reached, len(flow.rejections) if flow.reached else 0)


def _steps(op: Op) -> int | None:
    if isinstance(op, Bidirectional):
        return op.forward.time
    return op.time if isinstance(op, Recurrence | Scan) else None


def _candidates(value: Value, *, recurrent: bool) -> Sequence[int]:
    """Return the axes that may be time: unknown ones first.

    Without recurrences it is only these, but for the batch; if all sizes are fixed, the one behind the batch of
    something with more axes.
    """
    shape = value.type.shape or ()
    unknown = [axis for axis, size in enumerate(shape) if size is None]
    if not recurrent:
        return [axis for axis in unknown if axis] if unknown else ([1] if len(shape) > 2 else [])
    return sorted(range(len(shape)), key=lambda axis: (axis == 0, axis not in unknown, axis))


class _Walk:
    """Follows time from the inputs to the outputs of a program's main graph."""

    def __init__(self, starts: Mapping[Value, int], sizes: Dimensions, *, ends: bool) -> None:
        self.facts: dict[Value, Fact] = {value: Rows(axis) for value, axis in starts.items()}
        self.plans: dict[Op, Plan] = {}
        self.outputs: dict[Value, tuple[Rows, Feed]] = {}
        self.rejections: list[Rejection] = []
        self.reached = self.lost = 0
        self._sizes, self._ends = sizes, ends
        self._ahead: list[Rejection] = []

    def visit(self, op: Op) -> None:
        """Take note of an op whose operands have been visited."""
        known = [None if value is None else self.facts.get(value) for value in op.operands]
        if not any(known):
            return
        try:
            found, plan = _outcome(op, known, self._sizes, ends=self._ends)
        except UnstreamableError as error:
            self._reject(error, _place(op))
            found, plan = [Other.LOST] * len(op.results), KEEP
        if isinstance(op, Recurrence | Scan | Bidirectional):
            self.reached += plan.action is Action.RECUR
            self.lost += Other.LOST in found
        self.plans[op] = plan
        self.facts.update(
            (value, fact)
            for value, fact in zip(op.results, found, strict=True)
            if fact is not Other.SIZES or self._has_time(op, value)
        )
        self._look_ahead(op, known, found)

    def finish(self, name: str, value: Value) -> None:
        """Take note of an output."""
        fact = self.facts.get(value)
        try:
            if fact is Other.SIZES:
                raise needs_the_whole("the output depends on the length of the sequence")
            if isinstance(fact, Rows):
                self.outputs[value] = complete(fact, ends=self._ends)
                if not self.outputs[value][0].is_alone:
                    raise not_supported("the output joins the sequence with the batch")
        except UnstreamableError as error:
            self._reject(error, name)

    def _has_time(self, op: Op, value: Value) -> bool:
        """Return whether ``value``, which is computed from sizes, depends on how many steps there are."""
        if isinstance(op, TfliteOp) and op.builtin == "FILL":
            numbers = self._sizes.elements(op.operand(0))
            return op.operand(1) in self.facts or numbers is None or any(map(self._is_time, numbers))
        numbers = self._sizes.elements(value)
        opaque = [unknown(result) for result in op.results]  # computed from sizes in a way that is not followed
        return numbers is None or any(number in opaque or self._is_time(number) for number in numbers)

    def _is_time(self, size: Dimension | None) -> bool:
        """Return whether a size depends on how many steps there are, or may do so."""
        if isinstance(size, int):
            return False
        extents = () if size is None else [extent for extent, _ in size.extents]
        return not extents or not all(self._is_other(extent) for extent in extents)

    def _is_other(self, extent: Extent) -> bool:
        """Return whether an unknown size is that of another axis than time."""
        if extent.value not in self.facts:
            return True
        fact = self.facts[extent.value]
        return isinstance(fact, Rows) and extent.axis is not None and extent.axis != fact.axis

    def _look_ahead(self, op: Op, known: Sequence[Fact | None], found: Sequence[Fact]) -> None:
        before, after = max(_missing(known), Fraction(0)), _missing(found)
        if after > before:
            steps = math.ceil(after - before)
            raises_rate = isinstance(op, TfliteOp) and op.builtin == "TRANSPOSE_CONV"
            detail = f"{'its rows reach' if raises_rate else 'it looks'} {steps} step{'s' * (steps != 1)} ahead"
            cure = "cut off its last rows" if raises_rate else "use causal padding"
            hint = f"{cure}, or let the outputs come later (lookahead='delay', --lookahead delay)"
            self._ahead.append(Rejection(Rule.STREAMING_LOOKAHEAD, _place(op), detail, hint))

    def _reject(self, error: UnstreamableError, place: str) -> None:
        if error.rule is Rule.STREAMING_LOOKAHEAD and self._ahead:
            self.rejections += [one for one in self._ahead if one not in self.rejections]
        else:
            self.rejections.append(Rejection(error.rule, place, error.detail, error.hint))


def _followed(program: Program, starts: Mapping[Value, int], sizes: Dimensions, *, ends: bool) -> Flow:
    walk = _Walk(starts, sizes, ends=ends)
    for op in program.main.ops:
        walk.visit(op)
    for name, value in zip(program.signature.outputs, program.main.outputs, strict=True):
        walk.finish(name, value)
    return Flow(
        MappingProxyType(dict(starts)),
        walk.facts,
        walk.plans,
        walk.outputs,
        tuple(walk.rejections),
        walk.reached,
        walk.lost,
    )


def _missing(facts: Sequence[Fact | None]) -> Fraction:
    """Return how many steps the rows that are still to come after the last step cover, of the latest value."""
    return max((fact.missing * fact.stride for fact in facts if isinstance(fact, Rows)), default=Fraction(0))


def _place(op: Op) -> str:
    return op.place if isinstance(op, Recurrence | Scan) else op.name


def _outcome(op: Op, known: Sequence[Fact | None], sizes: Dimensions, *, ends: bool) -> Outcome:
    if Other.LOST in known:
        return [Other.LOST] * len(op.results), KEEP
    if isinstance(op, Recurrence):
        return recurrence(op, known, sizes, ends=ends)
    if isinstance(op, Scan):
        return scan(op, known, sizes, ends=ends)
    if isinstance(op, Bidirectional):
        raise needs_the_whole("one direction of the recurrence begins at the end of the sequence")
    if has_effects(op):
        raise not_supported(f"{op.kind} along the sequence is not known")
    if any(isinstance(fact, Rows) for fact in known):
        return outcome(View(op, known, sizes.shape, sizes.elements, sizes.sum_of, ends))
    if Other.SIZES in known:
        return [Other.SIZES] * len(op.results), MEASURE
    return [Running.of(known)] * len(op.results), KEEP
