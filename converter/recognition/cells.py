"""Find the cells that update the components of the states, as hypotheses read off the normal form.

Gates are identified by how the rest of the step uses them, never by their position in a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from converter.ir import Activation, Array, Cell, Gate, GruCell, LstmCell, Peephole, RnnCell
from converter.recognition.normal_form import (
    ODD_AROUND_A_HALF,
    Applied,
    Atom,
    Clip,
    Form,
    Kind,
    Leaf,
    Monomial,
    add,
    atom_form,
    scale,
    split_by,
    unmix,
)
from converter.recognition.symbolic_execution import SymbolicStep


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A cell, the components that are its states, in the cell's order, and its inputs.

    ``inputs`` are monomials, concatenated in the order of the kernels' columns.
    """

    cell: Cell
    components: tuple[int, ...]
    inputs: tuple[Monomial, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Preactivation:
    """inputs[m] @ m summed over monomials m, + recurrent @ h + diagonals * c (old or new) + bias."""

    inputs: dict[Monomial, Array]
    recurrent: Array
    diagonals: dict[Atom, Array]
    bias: Array


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The gates of a hypothesis by name, before they are known to form a cell."""

    gates: dict[str, Preactivation] = field(default_factory=dict)

    def inputs(self) -> tuple[Monomial, ...]:
        """Return every monomial that feeds a gate."""
        found = dict.fromkeys(monomial for gate in self.gates.values() for monomial in gate.inputs)
        return tuple(sorted(found, key=lambda monomial: [atom.number for atom in monomial]))

    def gate(self, name: str) -> Gate:
        """Return one gate over all inputs."""
        gate = self.gates[name]
        units = len(gate.bias)
        kernels = [gate.inputs.get(monomial, np.zeros((units, monomial[0].width))) for monomial in self.inputs()]
        return Gate(np.concatenate(kernels, axis=1), gate.recurrent, gate.bias)


def find_cells(step: SymbolicStep) -> list[Found] | str:
    """Return cells that update every component of the states, or why a component has no cell."""
    found: list[Found] = []
    for finder in (_lstm, _gru, _rnn):
        for k in range(len(step.components)):
            taken = {component for cell in found for component in cell.components}
            if k in taken:
                continue
            match = finder(step, k)
            if match is not None and not taken.intersection(match.components):
                found.append(match)
    taken = {component for cell in found for component in cell.components}
    for k, component in enumerate(step.components):
        if k not in taken:
            return f"the new value of its state {component.state} ({component.value.name}) matches no known cell"
    return found


# --- reading forms -----------------------------------------------------------------------------------------------


def _old(step: SymbolicStep, k: int) -> Atom:
    return step.algebra.leaf(Kind.OLD, k, step.components[k].width)


def _new(step: SymbolicStep, k: int) -> Atom:
    return step.algebra.leaf(Kind.NEW, k, step.components[k].width)


def _applied(atom: Atom | None) -> tuple[Activation, Form] | None:
    """Return the activation and the argument of an atom that has them."""
    if atom is None or not isinstance(atom.definition, Applied):
        return None
    function = atom.definition.function
    return (function, atom.definition.argument) if isinstance(function, Activation) else None


def _activated(x: Form) -> tuple[Activation, Form]:
    """Return (activation, z) with x = activation(z), linear with z = x if there is no other."""
    return _applied(x.only_atom()) or (Activation.LINEAR, x)


def _unclipped(x: Form) -> tuple[float | None, Form]:
    """Return (bound, y) with x = y clipped to [-bound, bound], the bound None if x is not clipped."""
    atom = x.only_atom()
    if atom is None or not isinstance(atom.definition, Applied) or not isinstance(atom.definition.function, Clip):
        return None, x
    clip = atom.definition.function
    return (clip.high, atom.definition.argument) if clip.low == -clip.high else (None, x)


def _gates_in(x: Form) -> Iterator[Atom]:
    """Iterate over the activated atoms in the elementwise products of ``x``."""
    atoms = dict.fromkeys(atom for monomial in x.scaled for atom in monomial)
    return (atom for atom in atoms if _applied(atom) is not None)


def _is_nothing(x: Form) -> bool:
    return not x.monomials and not x.bias.any()


def _equal(x: Form, y: Form) -> bool:
    return x.key() == y.key()


def _preactivation(step: SymbolicStep, z: Form, h: int, diagonal: Sequence[Atom] = ()) -> Preactivation | None:
    """Return the terms of ``z``; ``h`` is the component with the cell's output, ``diagonal`` its memory."""
    own = _old(step, h)
    recurrent: Array = np.zeros((z.width, own.width))
    inputs: dict[Monomial, Array] = {}
    diagonals: dict[Atom, Array] = {}
    dense = replace(z, scaled={})
    for monomial, weights in z.scaled.items():
        if len(monomial) == 1 and monomial[0] in diagonal:
            diagonals[monomial[0]] = weights
            continue
        term = Form(np.zeros(z.width), {monomial: weights})
        dense = add(dense, step.algebra.mix(np.eye(z.width), term))
    for monomial, matrix in dense.mixed.items():
        if monomial == (own,):
            recurrent = recurrent + matrix
        elif _is_input(monomial):
            inputs[monomial] = matrix
        else:
            return None
    return Preactivation(inputs, recurrent, diagonals, z.bias)


def _is_input(monomial: Monomial) -> bool:
    """True if it depends on no old state, so that it can be computed before the cell runs."""
    return not any(leaf.kind is Kind.OLD for atom in monomial for leaf in atom.leaves)


def _candidate(gates: Iterable[tuple[str, Preactivation | None]]) -> Candidate | None:
    known: dict[str, Preactivation] = {}
    for name, gate in gates:
        if gate is None:
            return None
        known[name] = gate
    candidate = Candidate(known)
    return candidate if candidate.inputs() else None


# --- simple RNN --------------------------------------------------------------------------------------------------


def _rnn(step: SymbolicStep, k: int) -> Found | None:
    """h' = activation(W x + R h + b)."""
    new = step.new[k]
    if new is None:
        return None
    activation, z = _activated(new)
    candidate = _candidate([("gate", _preactivation(step, z, k))])
    if candidate is None or _reads_new(candidate, (k,)):
        return None
    return Found(RnnCell(candidate.gate("gate"), activation), (k,), candidate.inputs())


def _reads_new(candidate: Candidate, components: Sequence[int]) -> bool:
    """True if an input depends on a new state of the cell itself."""
    made = {Leaf(Kind.NEW, k) for k in components}
    return any(made & atom.leaves for monomial in candidate.inputs() for atom in monomial)


# --- LSTM --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Emission:
    """h' = clip(P (o * activation(c'))), P and the clip None if absent; ``memory`` is the component of c."""

    output_gate: tuple[Activation, Form]
    activation: Activation
    memory: int
    projection: Array | None
    clip: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """c' = clip(f * c + i * g); without an input gate i = 1 - f."""

    forget_gate: tuple[Activation, Form]
    input_gate: tuple[Activation, Form] | None
    cell_gate: tuple[Activation, Form]
    clip: float | None


def _lstm(step: SymbolicStep, h: int) -> Found | None:
    emission = _emission(step, h)
    if emission is None or emission.memory == h:
        return None
    for memory in _memories(step, emission.memory):
        found = _assembled(step, h, emission, memory)
        if found is not None:
            return found
    return None


def _emission(step: SymbolicStep, h: int) -> _Emission | None:
    new = step.new[h]
    if new is None:
        return None
    clip, unclipped = _unclipped(new)
    projected = unmix(unclipped)
    projection, product = (None, new) if projected is None else projected
    for gate in _gates_in(product):
        emitted, rest = split_by(product, gate)
        output_gate = _applied(gate)
        activation, z = _activated(emitted)
        memory = z.only_atom()
        if output_gate is None or memory is None or not _is_nothing(rest):
            continue
        leaf = memory.definition
        if isinstance(leaf, Leaf) and leaf.kind is Kind.NEW:
            bound = None if projection is None else clip
            return _Emission(output_gate, activation, leaf.index, projection, bound)
    return None


def _memories(step: SymbolicStep, c: int) -> Iterator[_Memory]:
    new = step.new[c]
    if new is None:
        return
    clip, total = _unclipped(new)
    kept, admitted = split_by(total, _old(step, c))
    forget = kept.only_atom()
    forget_gate = _applied(forget)
    if forget is None or forget_gate is None:
        return
    coupled, candidate = split_by(admitted, forget)
    if not _is_nothing(coupled):
        if _equal(coupled, scale(candidate, np.full(candidate.width, -1.0))):
            yield _Memory(forget_gate, None, _activated(candidate), clip)
        return
    for gate in _gates_in(admitted):
        candidate, rest = split_by(admitted, gate)
        input_gate = _applied(gate)
        if input_gate is not None and _is_nothing(rest):
            yield _Memory(forget_gate, input_gate, _activated(candidate), clip)


def _assembled(step: SymbolicStep, h: int, emission: _Emission, memory: _Memory) -> Found | None:
    c = emission.memory
    old, new = _old(step, c), _new(step, c)
    named = {
        "input_gate": (memory.input_gate, (old,)),
        "forget_gate": (memory.forget_gate, (old,)),
        "cell_gate": (memory.cell_gate, ()),
        "output_gate": (emission.output_gate, (new,)),
    }
    present = {name: (*gate, diagonal) for name, (gate, diagonal) in named.items() if gate is not None}
    functions = {function for name, (function, _, _) in present.items() if name != "cell_gate"}
    if len(functions) != 1 or memory.cell_gate[0] is not emission.activation:
        return None
    candidate = _candidate(
        (name, _preactivation(step, z, h, diagonal)) for name, (_, z, diagonal) in present.items()
    )
    if candidate is None or _reads_new(candidate, (c, h)):
        return None
    cell = LstmCell(
        input_gate=candidate.gate("input_gate") if "input_gate" in present else None,
        forget_gate=candidate.gate("forget_gate"),
        cell_gate=candidate.gate("cell_gate"),
        output_gate=candidate.gate("output_gate"),
        peephole=_peephole(candidate),
        projection=emission.projection,
        activation=emission.activation,
        recurrent_activation=functions.pop(),
        cell_clip=memory.clip,
        projection_clip=emission.clip,
    )
    return Found(cell, (c, h), candidate.inputs())


def _peephole(candidate: Candidate) -> Peephole | None:
    if not any(gate.diagonals for gate in candidate.gates.values()):
        return None

    def weights(name: str) -> Array:
        gate = candidate.gates[name]
        return next(iter(gate.diagonals.values()), np.zeros_like(gate.bias))

    coupled = "input_gate" not in candidate.gates
    return Peephole(None if coupled else weights("input_gate"), weights("forget_gate"), weights("output_gate"))


# --- GRU ---------------------------------------------------------------------------------------------------------


def _gru(step: SymbolicStep, h: int) -> Found | None:
    """h' = u * h + (1 - u) * g, or with u and 1 - u exchanged."""
    new = step.new[h]
    if new is None:
        return None
    before = atom_form(_old(step, h))
    for gate in _gates_in(new):
        update = _applied(gate)
        weighted, rest = split_by(new, gate)
        if update is None:
            continue
        if _equal(add(weighted, rest), before):
            found = _with_reset(step, h, update, rest)
        elif _equal(rest, before) and update[0] in ODD_AROUND_A_HALF:
            negative = (update[0], scale(update[1], np.full(new.width, -1.0)))
            found = _with_reset(step, h, negative, add(weighted, before))
        else:
            continue
        if found is not None:
            return found
    return None


def _with_reset(step: SymbolicStep, h: int, update: tuple[Activation, Form], candidate: Form) -> Found | None:
    activation, z = _activated(candidate)
    for reset, terms, bias in (*_reset_before(step, h, z), *_reset_after(step, h, z)):
        if reset[0] is not update[0]:
            continue
        gates = _candidate(
            (
                ("update", _preactivation(step, update[1], h)),
                ("reset", _preactivation(step, reset[1], h)),
                ("candidate", terms),
            )
        )
        if gates is None or _reads_new(gates, (h,)):
            continue
        cell = GruCell(
            gates.gate("update"), gates.gate("reset"), gates.gate("candidate"), bias, activation, update[0]
        )
        return Found(cell, (h,), gates.inputs())
    return None


def _reset_before(
    step: SymbolicStep, h: int, z: Form
) -> Iterator[tuple[tuple[Activation, Form], Preactivation, Array | None]]:
    """Iterate over readings of z as W x + R (r * h) + b."""
    own = _old(step, h)
    for monomial, matrix in z.mixed.items():
        if len(monomial) != 2 or own not in monomial:
            continue
        (gate,) = (atom for atom in monomial if atom is not own)
        reset = _applied(gate)
        others = {other: weights for other, weights in z.mixed.items() if other != monomial}
        terms = _preactivation(step, replace(z, mixed=others), h)
        if reset is not None and terms is not None and not terms.recurrent.any():
            yield reset, replace(terms, recurrent=matrix), None


def _reset_after(
    step: SymbolicStep, h: int, z: Form
) -> Iterator[tuple[tuple[Activation, Form], Preactivation, Array | None]]:
    """Iterate over readings of z as W x + b + r * (R h + b')."""
    for gate in _gates_in(z):
        remembered, rest = split_by(z, gate)
        reset = _applied(gate)
        inner, terms = _preactivation(step, remembered, h), _preactivation(step, rest, h)
        if reset is None or inner is None or terms is None or inner.inputs or terms.recurrent.any():
            continue
        yield reset, replace(terms, recurrent=inner.recurrent), inner.bias
