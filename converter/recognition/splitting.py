"""Split a scan into a chain of scans: loop fission, by the states that depend on each other.

A stack of cells in one loop is as many loops, one after another, if no cell reads the states of a later one. Each
loop gives the values that later ones read, step by step, as outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from converter.analysis.uses import backward_slice
from converter.ir import Names, Op, Scan, ScanStep, TensorType, Value

Groups = Sequence[tuple[int, ...]]
"""The positions of the states of each part, in the order of the parts."""


def groups_of(scan: Scan) -> list[tuple[int, ...]]:
    """Return the positions of states that depend on each other, each group after those that it depends on."""
    step = scan.step
    reads = [_states_read(scan, [new]) for new in step.new_states]
    while True:
        closed = [seen.union(*(reads[place] for place in seen)) for seen in reads]
        if closed == reads:
            break
        reads = closed
    groups = {
        tuple(sorted({place, *(other for other in reads[place] if place in reads[other])}))
        for place in range(len(reads))
    }
    return sorted(groups, key=lambda group: (len(reads[group[0]] - {*group}), group))


def split(scan: Scan, groups: Groups, names: Names) -> list[Scan] | None:
    """Return a scan for each of the ``groups``, in their order, which together compute ``scan``.

    ``names`` are those of the graph that holds the scan. Returns None if a group reads the states of another one
    as they are before the step, or values of unknown rank.
    """
    parts = _parts(scan, groups)
    if parts is None:
        return None
    passed = {value for part in parts for value in part.passed}
    if any(value.type.shape is None for value in passed):
        return None
    outside = {
        value: Value(
            names.fresh(f"{scan.name}/{value.name.rsplit('/', 1)[-1]}"),
            TensorType(value.type.dtype, (scan.time, *(value.type.shape or ()))),
        )
        for value in sorted(passed, key=lambda value: value.name)
    }
    return [_scan(scan, part, outside, names.fresh(f"{scan.name}/cells_{k}")) for k, part in enumerate(parts)]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a step: its states, its ops, the elements of outputs that it computes, and what it passes on."""

    states: tuple[int, ...]
    ops: tuple[Op, ...]
    elements: tuple[int, ...]
    passed: tuple[Value, ...]
    given: frozenset[Value]
    """What it reads of earlier parts."""


def _states_read(scan: Scan, values: Iterable[Value]) -> set[int]:
    """Return the positions of the states that ``values`` of the step depend on."""
    read = backward_slice(scan.body.ops, values).values
    return {place for place, state in enumerate(scan.step.states) if state in read}


def _parts(scan: Scan, groups: Groups) -> list[_Part] | None:
    step, owners = scan.step, _owners(scan, groups)
    home = {place: number for number, group in enumerate(groups) for place in group}
    last = len(groups) - 1
    of_element = [owners.get(element, last) for element in step.elements]
    read: list[set[Value]] = [set() for _ in groups]
    for op in scan.body.ops:
        readers = {owners[result] for result in op.results if result in owners}
        for number in readers:
            read[number].update(value for value in op.operands if value is not None)
    for number, group in enumerate(groups):
        read[number].update(step.new_states[place] for place in group)
        read[number].update(e for e, owner in zip(step.elements, of_element, strict=True) if owner == number)
    for number, values in enumerate(read):
        if any(state in values and home[place] != number for place, state in enumerate(step.states)):
            return None
    parts = []
    for number, group in enumerate(groups):
        given = frozenset(value for value in read[number] if owners.get(value, number) != number)
        passed = [
            value
            for value, owner in owners.items()
            if owner == number and any(value in read[later] for later in range(number + 1, len(groups)))
        ]
        elements = [place for place, owner in enumerate(of_element) if owner == number]
        wanted = [
            *(step.new_states[place] for place in group),
            *(step.elements[place] for place in elements),
            *passed,
        ]
        ops = backward_slice(scan.body.ops, wanted, given=given).ops
        parts.append(_Part(group, ops, tuple(elements), tuple(passed), given))
    return parts


def _owners(scan: Scan, groups: Groups) -> dict[Value, int]:
    """Return the part that computes each value that depends on a state; all others are computed where needed."""
    step = scan.step
    depends, owners = set(step.states), dict[Value, int]()
    for op in scan.body.ops:
        if any(value in depends for value in op.operands):
            depends.update(op.results)
    for number, group in enumerate(groups):
        for op in backward_slice(scan.body.ops, [step.new_states[place] for place in group]).ops:
            for result in op.results:
                if result in depends:
                    owners.setdefault(result, number)
    for op in backward_slice(scan.body.ops, step.elements).ops:
        for result in op.results:
            if result in depends:
                owners.setdefault(result, len(groups) - 1)
    return owners


def _scan(scan: Scan, part: _Part, outside: dict[Value, Value], name: str) -> Scan:
    step = scan.step
    read = {value for op in part.ops for value in op.operands}
    read |= {
        *(step.new_states[place] for place in part.states),
        *(step.elements[place] for place in part.elements),
    }
    given = [value for value in outside if value in part.given]
    slices = [place for place, value in enumerate(step.slices) if value in read]
    if scan.length is None and not given and 0 not in slices:
        slices.insert(0, 0)  # the first sequence says how many steps there are
    invariants = [place for place, value in enumerate(step.invariants) if value in read]
    new = ScanStep(
        step.t,
        tuple(step.states[place] for place in part.states),
        (*given, *(step.slices[place] for place in slices)),
        tuple(step.invariants[place] for place in invariants),
        tuple(step.new_states[place] for place in part.states),
        (*(step.elements[place] for place in part.elements), *part.passed),
    )
    return replace(
        scan,
        name=name,
        body=new.body(f"{scan.body.name}/{name.rsplit('/', 1)[-1]}", part.ops),
        sequences=(*(outside[value] for value in given), *(scan.sequences[place] for place in slices)),
        initial_state=tuple(scan.initial_state[place] for place in part.states),
        invariants=tuple(scan.invariants[place] for place in invariants),
        outputs=(*(scan.outputs[place] for place in part.elements), *(outside[value] for value in part.passed)),
        final_state=tuple(scan.final_state[place] for place in part.states),
    )
