"""Plan the ops that replace a scan whose cells are known.

The cells become recurrences, one after another. What the step computes before, between and after them becomes
scans without states.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from converter.analysis.uses import backward_slice
from converter.analysis.zeros import is_zero
from converter.emission.emitter import Emitter
from converter.emission.masks import zero_padding
from converter.ir import (
    Cell,
    DType,
    Names,
    Op,
    Producers,
    Recurrence,
    Scan,
    ScanStep,
    TensorType,
    Value,
)
from converter.recognition.cells import Found
from converter.recognition.components import Component, depth
from converter.recognition.normal_form import Form, Kind, Leaf, Monomial
from converter.recognition.symbolic_execution import SymbolicStep
from converter.recognition.unmask import Unmasked


class NoPlanError(Exception):
    """The scan cannot be replaced by its cells; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A recognised step: without its lengths, as forms, and as cells in execution order."""

    unmasked: Unmasked
    symbolic: SymbolicStep
    cells: tuple[Found, ...]


def in_order(cells: Sequence[Found]) -> tuple[Found, ...]:
    """Return the cells, each after those whose outputs it reads. Raises NoPlanError if that is impossible."""
    pending, ordered = list(cells), list[Found]()
    while pending:
        made = {component for cell in ordered for component in cell.components}
        ready = [cell for cell in pending if _read_by(cell) <= made]
        if not ready:
            raise NoPlanError("its cells depend on each other's outputs of the same step")
        ordered.append(ready[0])
        pending.remove(ready[0])
    return tuple(ordered)


def _read_by(cell: Found) -> set[int]:
    leaves = (leaf for monomial in cell.inputs for atom in monomial for leaf in atom.leaves)
    return {leaf.index for leaf in leaves if leaf.kind is Kind.NEW}


def plan(scan: Scan, step: Step, around: Producers, names: Names) -> list[Op]:
    """Return the ops that replace ``scan``. Raises NoPlanError.

    ``around`` and ``names`` are the producers and the names of the graph that holds the scan.
    """
    return _Planner(scan, step, around, names).ops()


class _Planner:
    def __init__(self, scan: Scan, step: Step, around: Producers, names: Names) -> None:
        self._scan = scan
        self._step = step
        self._around = around
        self._emitter = Emitter(scan.name, names)
        self._inside = scan.step
        self._invariants = dict(zip(self._inside.invariants, scan.invariants, strict=True))
        self._sequences = dict(zip(self._inside.slices, scan.sequences, strict=True))
        """The sequences that exist so far, by the value of the step."""
        self._finals: dict[int, Value] = {}

    def ops(self) -> list[Op]:
        """Return the ops, in their order."""
        for index, found in enumerate(self._step.cells):
            self._recur(found, f"cell_{index}" if len(self._step.cells) > 1 else "")
        self._write_outputs()
        self._write_states()
        return self._emitter.ops

    # --- recurrences ---------------------------------------------------------------------------------------------

    def _recur(self, found: Found, suffix: str) -> None:
        x, cell = self._input(found)
        components = [self._step.symbolic.components[k] for k in found.components]
        output = self._output(components[-1], x, cell)
        finals = tuple(self._final(component, x) for component in components)
        self._finals.update(zip(found.components, finals, strict=True))
        self._emitter.ops.append(
            Recurrence(
                name=f"{self._scan.name}/{suffix}" if suffix else self._scan.name,
                cell=cell,
                x=x,
                output=output,
                initial_state=tuple(self._initial(component) for component in components),
                final_state=finals,
                time_major=True,
                sequence_length=self._lengths(),
                location=self._scan.location,
            )
        )
        self._sequences[components[-1].value] = output

    def _input(self, found: Found) -> tuple[Value, Cell]:
        """Return the cell's input sequence, and the cell with its kernels for it.

        Monomials with equal kernels are added, the others concatenated.
        """
        starts = np.cumsum([0, *(monomial[0].width for monomial in found.inputs)]).tolist()
        slices = [slice(start, stop) for start, stop in pairwise(starts)]
        kernels = np.concatenate([gate.kernel for _, gate in found.cell.gates()])
        groups: list[tuple[slice, list[Monomial]]] = []
        for columns, monomial in zip(slices, found.inputs, strict=True):
            same = [group for where, group in groups if np.array_equal(kernels[:, where], kernels[:, columns])]
            if same:
                same[0].append(monomial)
            else:
                groups.append((columns, [monomial]))
        parts = [self._sum([self._sequence_of(monomial) for monomial in group]) for _, group in groups]
        kept = np.concatenate([np.arange(kernels.shape[1])[where] for where, _ in groups])
        cell = found.cell.map_gates(lambda _, gate: replace(gate, kernel=gate.kernel[:, kept]))
        return (parts[0] if len(parts) == 1 else self._emitter.concatenation(parts, 2, "inputs")), cell

    def _sum(self, sequences: Sequence[Value]) -> Value:
        total = sequences[0]
        for sequence in sequences[1:]:
            total = self._emitter.add(total, sequence, "input")
        return total

    def _sequence_of(self, monomial: Monomial) -> Value:
        """Return the sequence of a monomial's values."""
        width = monomial[0].width
        key = Form(np.zeros(width), {monomial: np.ones(width)}).key()
        leaf = monomial[0].definition
        if len(monomial) == 1 and isinstance(leaf, Leaf) and leaf.kind is Kind.NEW:
            value = self._step.symbolic.components[leaf.index].value
        elif key in self._step.symbolic.spelled:
            value = self._step.symbolic.spelled[key]
        else:
            raise NoPlanError("the input of a cell is spread over several values of the step")
        return self._sequence(value)

    def _sequence(self, value: Value) -> Value:
        if value not in self._sequences:
            shape = _stacked(value, self._leading())
            (self._sequences[value],) = self._map([value], [Value(self._emitter.name("mapped"), shape)])
        return self._sequences[value]

    def _leading(self) -> tuple[int | None, ...]:
        for sequence in self._scan.sequences:
            if sequence.type.shape is not None:
                return sequence.type.shape[:1]
        return (None,)

    def _output(self, component: Component, x: Value, cell: Cell) -> Value:
        for place, value in enumerate(self._step.unmasked.outputs):
            if value is component.value:
                return self._scan.outputs[place]
        leading = (None, None) if x.type.shape is None else x.type.shape[:2]
        return Value(self._emitter.name("output"), TensorType(DType.FLOAT32, (*leading, cell.output_size)))

    def _lengths(self) -> Value | None:
        lengths = self._step.unmasked.lengths
        if lengths is None:
            return None
        given = self._invariants.get(lengths, lengths)
        if given is lengths:
            given = replace(given, name=self._emitter.name("lengths"))
        return given if given.type.dtype is DType.INT32 else self._emitter.cast(given, DType.INT32, "lengths")

    # --- states --------------------------------------------------------------------------------------------------

    def _is_whole(self, component: Component) -> bool:
        return component.width == depth(self._inside.states[component.state])

    def _initial(self, component: Component) -> Value | None:
        state = self._scan.initial_state[component.state]
        if is_zero(state, self._around):
            return None
        if self._is_whole(component):
            return state
        stop = component.start + component.width
        if state.data is not None:
            return self._emitter.constant(
                "initial_state", np.ascontiguousarray(state.data[:, component.start : stop])
            )
        return self._emitter.columns(state, component.start, stop, "initial_state")

    def _final(self, component: Component, x: Value) -> Value:
        if self._is_whole(component):
            return self._scan.final_state[component.state]
        batch = None if x.type.shape is None else x.type.shape[1]
        return Value(self._emitter.name("final_state"), TensorType(DType.FLOAT32, (batch, component.width)))

    def _write_states(self) -> None:
        components = self._step.symbolic.components
        for index, state in enumerate(self._scan.final_state):
            own = [k for k, component in enumerate(components) if component.state == index]
            if len(own) > 1:
                self._emitter.concatenation([self._finals[k] for k in own], 1, state)

    # --- the rest of the step ------------------------------------------------------------------------------------

    def _write_outputs(self) -> None:
        made = {result for op in self._emitter.ops for result in op.results}
        pending = [place for place, output in enumerate(self._scan.outputs) if output not in made]
        padded = [place for place in pending if self._is_zero_padded(place)]
        for place in padded:
            self._write_padded(place)
        rest = [place for place in pending if place not in padded]
        if rest:
            values = [self._inside.elements[place] for place in rest]
            self._map(values, [self._scan.outputs[place] for place in rest], steps=self._steps())

    def _is_zero_padded(self, place: int) -> bool:
        """Whether an output is zero where its row has ended, and independent of lengths elsewhere."""
        value = self._step.unmasked.outputs[place]
        return self._step.unmasked.lengths is not None and value is not None and depth(value) is not None

    def _write_padded(self, place: int) -> None:
        value, lengths = self._step.unmasked.outputs[place], self._lengths()
        if value is None or lengths is None:
            raise ValueError(f"output {place} of {self._scan.name} is not padded")
        zero_padding(
            self._sequence(value), lengths, self._scan.outputs[place], time_major=True, emitter=self._emitter
        )

    def _steps(self) -> Value | None:
        """Return the number of steps after which outputs are zero, None without lengths: all steps run."""
        return None if self._step.unmasked.lengths is None else self._scan.steps

    def _map(
        self, values: Sequence[Value], into: Sequence[Value], *, steps: Value | None = None
    ) -> tuple[Value, ...]:
        """Emit a scan without states that computes ``values`` at each of its ``steps``, None for all."""
        known = {self._inside.t, *self._invariants, *self._sequences}
        step = backward_slice(self._scan.body.ops, values, given=known)
        self._refuse_states(step.values)
        slices = [value for value in self._sequences if value in step.values]
        if not slices and self._scan.length is None:
            slices = list(self._sequences)[:1]
        invariants = [value for value in self._invariants if value in step.values]
        inside = ScanStep(self._inside.t, (), tuple(slices), tuple(invariants), (), tuple(values))
        self._emitter.ops.append(
            Scan(
                name=f"{self._scan.name}/{into[0].name}",
                body=inside.body(f"{self._scan.body.name}/{into[0].name}", step.ops),
                sequences=tuple(self._sequences[value] for value in slices),
                initial_state=(),
                invariants=tuple(self._invariants[value] for value in invariants),
                outputs=tuple(into),
                final_state=(),
                length=self._scan.length,
                steps=steps,
                location=self._scan.location,
            )
        )
        return tuple(into)

    def _refuse_states(self, needed: Set[Value]) -> None:
        for component in self._step.symbolic.components:
            if component.value in needed and component.value not in self._sequences:
                raise NoPlanError("it reads the memory of a cell at every step, which the cell does not output")
        if not needed.isdisjoint(self._inside.states):
            raise NoPlanError("it reads a state outside of the cell that updates it")


def _stacked(value: Value, leading: tuple[int | None, ...]) -> TensorType:
    shape = value.type.shape
    return TensorType(value.type.dtype, None if shape is None else (*leading, *shape))


def in_float32(cell: Cell) -> Cell:
    """Return the cell with its weights in float32, as in every program."""
    return cell.map_weights(lambda weights: np.ascontiguousarray(weights, np.float32))
