"""The normal form of what a step computes: sums of weighted products of atoms.

A `Form` is a row vector per element of the batch::

    bias + sum over monomials m of scaled[m] * m + sum over monomials m of mixed[m] @ m

where a monomial is an elementwise product of atoms of one width, ``scaled`` holds vectors and ``mixed`` matrices
[width, width of m]. Concatenated and separate kernels, biases added early or late, products multiplied out or not
all have the same form. An `Algebra` makes the atoms, equal ones once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from converter.ir import Activation, Array


class Kind(Enum):
    """The origin of a leaf."""

    OLD = "old"
    """A component of the states, before the step."""
    NEW = "new"
    """A component of the states, after the step."""
    GIVEN = "given"
    """Anything else: a slice of a sequence, an invariant, or the result of an op without a rule."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """An atom without inner structure: number ``index`` of its kind."""

    kind: Kind
    index: int


@dataclass(frozen=True, slots=True)
class Clip:
    """x clipped to [low, high]."""

    low: float
    high: float


Function: TypeAlias = Activation | Clip

ODD_AROUND_A_HALF = frozenset({Activation.SIGMOID, Activation.HARD_SIGMOID})
"""Activations s with s(-z) = 1 - s(z)."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """An elementwise function of a form."""

    function: Function
    argument: Form


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """matrix @ monomial, as a factor of a product."""

    matrix: Array
    monomial: Monomial


@dataclass(frozen=True, slots=True)
class Part:
    """The elements of ``whole`` from ``start``, as many as the atom is wide."""

    whole: Atom
    start: int


Definition: TypeAlias = Leaf | Applied | Mixture | Part


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """One indivisible vector of ``width``; ``leaves`` are all the leaves it is computed from."""

    number: int
    width: int
    definition: Definition
    leaves: frozenset[Leaf]


Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form as in the module's docstring: bias [width], scaled [width], mixed [width, width of the monomial]."""

    bias: Array
    scaled: Mapping[Monomial, Array] = field(default_factory=lambda: MappingProxyType({}))
    mixed: Mapping[Monomial, Array] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def width(self) -> int:
        """Elements of the vector."""
        return int(self.bias.shape[0])

    @property
    def monomials(self) -> tuple[Monomial, ...]:
        """Every monomial of the form."""
        return (*self.scaled, *self.mixed)

    @property
    def leaves(self) -> frozenset[Leaf]:
        """Every leaf that the form is computed from."""
        return frozenset(leaf for monomial in self.monomials for atom in monomial for leaf in atom.leaves)

    def key(self) -> Hashable:
        """Return a hashable key, equal for equal forms."""
        return (
            _digest(self.bias),
            frozenset((monomial, _digest(weights)) for monomial, weights in self.scaled.items()),
            frozenset((monomial, _digest(weights)) for monomial, weights in self.mixed.items()),
        )

    def only_atom(self) -> Atom | None:
        """Return the atom if the form is a single unweighted atom, else None."""
        if len(self.scaled) != 1 or self.mixed or np.any(self.bias):
            return None
        ((monomial, weights),) = self.scaled.items()
        return monomial[0] if len(monomial) == 1 and np.all(weights == 1.0) else None


def _digest(weights: Array) -> tuple[tuple[int, ...], bytes]:
    return weights.shape, hashlib.sha256(weights.tobytes()).digest()


def form(bias: Array, scaled: Mapping[Monomial, Array], mixed: Mapping[Monomial, Array]) -> Form:
    """Return the form without its terms of zero weight; minus zero becomes zero."""
    return Form(bias + 0.0, _nonzero(scaled), _nonzero(mixed))


def _nonzero(terms: Mapping[Monomial, Array]) -> dict[Monomial, Array]:
    return {monomial: np.ascontiguousarray(weights + 0.0) for monomial, weights in terms.items() if weights.any()}


def constant_form(values: Array) -> Form:
    """Return the form of a vector of numbers."""
    return Form(values.astype(np.float64) + 0.0)


def atom_form(atom: Atom) -> Form:
    """Return the form that is one atom."""
    return Form(np.zeros(atom.width), {(atom,): np.ones(atom.width)})


def add(x: Form, y: Form) -> Form:
    """Return x + y."""
    return form(x.bias + y.bias, _sum(x.scaled, y.scaled), _sum(x.mixed, y.mixed))


def _sum(x: Mapping[Monomial, Array], y: Mapping[Monomial, Array]) -> dict[Monomial, Array]:
    total = dict(x)
    for monomial, weights in y.items():
        total[monomial] = total[monomial] + weights if monomial in total else weights
    return total


def scale(x: Form, factor: Array) -> Form:
    """Return factor * x, factor [width]."""
    return form(
        factor * x.bias,
        {monomial: factor * weights for monomial, weights in x.scaled.items()},
        {monomial: factor[:, None] * weights for monomial, weights in x.mixed.items()},
    )


def subtract(x: Form, y: Form) -> Form:
    """Return x - y."""
    return add(x, _negative(y))


def _negative(x: Form) -> Form:
    return scale(x, np.full(x.width, -1.0))


def settle(x: Form) -> Form:
    """Return ``x`` with every `Mixture` that is a whole monomial moved to the ``mixed`` terms."""
    total = Form(x.bias, {}, x.mixed)
    for monomial, weights in x.scaled.items():
        inner = monomial[0].definition
        if len(monomial) == 1 and isinstance(inner, Mixture):
            total = add(total, Form(np.zeros(x.width), {}, {inner.monomial: weights[:, None] * inner.matrix}))
        else:
            total = add(total, Form(np.zeros(x.width), {monomial: weights}))
    return total


def split_by(x: Form, atom: Atom) -> tuple[Form, Form]:
    """Return (q, r) with x = atom * q + r, where r has no product with ``atom``."""
    quotient = Form(np.zeros(x.width))
    rest = Form(x.bias, {}, x.mixed)
    for monomial, weights in x.scaled.items():
        if atom not in monomial:
            rest = add(rest, Form(np.zeros(x.width), {monomial: weights}))
            continue
        others = list(monomial)
        others.remove(atom)
        term = Form(np.zeros(x.width), {tuple(others): weights}) if others else constant_form(weights)
        quotient = add(quotient, term)
    return settle(quotient), settle(rest)


def unmix(x: Form) -> tuple[Array, Form] | None:
    """Return (P, y) with x = P y if all terms share one matrix P, else None."""
    if not x.mixed or x.scaled or np.any(x.bias):
        return None
    matrices = list(x.mixed.values())
    if any(not np.array_equal(matrix, matrices[0]) for matrix in matrices):
        return None
    width = matrices[0].shape[1]
    return matrices[0], Form(np.zeros(width), {monomial: np.ones(width) for monomial in x.mixed})


class Algebra:
    """Makes atoms, equal ones once, and has the operations that need new atoms."""

    def __init__(self) -> None:
        self._atoms: dict[Hashable, Atom] = {}

    def _atom(self, key: Hashable, width: int, definition: Definition, leaves: frozenset[Leaf]) -> Atom:
        if key not in self._atoms:
            self._atoms[key] = Atom(len(self._atoms), width, definition, leaves)
        return self._atoms[key]

    def leaf(self, kind: Kind, index: int, width: int, computed_from: frozenset[Leaf] = frozenset()) -> Atom:
        """Return a leaf, which may be computed from other leaves."""
        leaf = Leaf(kind, index)
        return self._atom(leaf, width, leaf, frozenset({leaf}) | computed_from)

    def apply(self, function: Function, argument: Form) -> Form:
        """Return function(argument), elementwise; 1 - s(-argument) where s(-argument) is an atom already."""
        key = (function, argument.key())
        if function in ODD_AROUND_A_HALF and key not in self._atoms:
            mirrored = self._atoms.get((function, _negative(argument).key()))
            if mirrored is not None:
                return subtract(constant_form(np.ones(argument.width)), atom_form(mirrored))
        return atom_form(self._applied(function, argument))

    def _applied(self, function: Function, argument: Form) -> Atom:
        key = (function, argument.key())
        return self._atom(key, argument.width, Applied(function, argument), argument.leaves)

    def mix(self, matrix: Array, x: Form) -> Form:
        """Return matrix @ x, matrix [n, width of x]."""
        total = Form(matrix @ x.bias)
        for monomial, weights in x.scaled.items():
            whole, columns = self._widened(monomial, matrix * weights[None, :])
            total = add(total, form(np.zeros(len(matrix)), {}, {whole: columns}))
        for monomial, weights in x.mixed.items():
            total = add(total, form(np.zeros(len(matrix)), {}, {monomial: matrix @ weights}))
        return total

    def _widened(self, monomial: Monomial, matrix: Array) -> tuple[Monomial, Array]:
        """Return ``matrix`` @ ``monomial``, padded with zero columns from a part of an atom to the whole atom."""
        part = monomial[0].definition
        if len(monomial) != 1 or not isinstance(part, Part):
            return monomial, matrix
        columns = np.zeros((matrix.shape[0], part.whole.width))
        columns[:, part.start : part.start + matrix.shape[1]] = matrix
        return (part.whole,), columns

    def multiply(self, x: Form, y: Form) -> Form:
        """Return x * y, elementwise, multiplied out."""
        left, right = self._unmixed(x), self._unmixed(y)
        total = add(scale(left, right.bias), scale(right, left.bias))
        total = Form(left.bias * right.bias, total.scaled)
        for a, of_a in left.scaled.items():
            for b, of_b in right.scaled.items():
                product = tuple(sorted((*a, *b), key=lambda atom: atom.number))
                total = add(total, form(np.zeros(x.width), {product: of_a * of_b}, {}))
        return settle(total)

    def _unmixed(self, x: Form) -> Form:
        total = Form(x.bias, x.scaled)
        for monomial, matrix in x.mixed.items():
            key = (Mixture, _digest(matrix), monomial)
            leaves = frozenset(leaf for atom in monomial for leaf in atom.leaves)
            atom = self._atom(key, x.width, Mixture(matrix, monomial), leaves)
            total = add(total, atom_form(atom))
        return total

    def rows(self, x: Form, start: int, stop: int) -> Form:
        """Return elements ``start`` to ``stop`` of ``x``."""
        if (start, stop) == (0, x.width):
            return x
        scaled = {
            tuple(self._part(atom, start, stop) for atom in monomial): weights[start:stop]
            for monomial, weights in x.scaled.items()
        }
        ordered = {tuple(sorted(m, key=lambda atom: atom.number)): weights for m, weights in scaled.items()}
        return form(x.bias[start:stop], ordered, {m: weights[start:stop] for m, weights in x.mixed.items()})

    def _part(self, atom: Atom, start: int, stop: int) -> Atom:
        match atom.definition:
            case Applied(function, argument):
                return self._applied(function, self.rows(argument, start, stop))
            case Mixture(matrix, monomial):
                key = (Mixture, _digest(matrix[start:stop]), monomial)
                return self._atom(key, stop - start, Mixture(matrix[start:stop], monomial), atom.leaves)
            case Part(whole, offset):
                return self._part_of(whole, offset + start, stop - start)
            case _:
                return self._part_of(atom, start, stop - start)

    def _part_of(self, whole: Atom, start: int, width: int) -> Atom:
        if (start, width) == (0, whole.width):
            return whole
        return self._atom((Part, whole, start, width), width, Part(whole, start), whole.leaves)


Vector: TypeAlias = tuple[Form, ...]
"""Concatenated forms, which describe a value [batch, n]; n is the sum of their widths."""


def width_of(vector: Vector) -> int:
    """Return the width of a vector."""
    return sum(part.width for part in vector)


def columns(algebra: Algebra, vector: Vector, start: int, stop: int) -> Vector:
    """Return the columns from ``start`` to ``stop``."""
    found: list[Form] = []
    offset = 0
    for part in vector:
        first, last = max(start - offset, 0), min(stop - offset, part.width)
        if first < last:
            found.append(algebra.rows(part, first, last))
        offset += part.width
    return tuple(found)


def aligned(algebra: Algebra, vectors: Sequence[Vector]) -> list[tuple[Form, ...]]:
    """Split vectors of the same width wherever one of them is split; return a tuple of forms per piece."""
    cuts = sorted({cut for vector in vectors for cut in np.cumsum([part.width for part in vector]).tolist()})
    pieces: list[tuple[Form, ...]] = []
    for start, stop in zip([0, *cuts], cuts, strict=False):
        pieces.append(tuple(columns(algebra, vector, start, stop)[0] for vector in vectors))
    return pieces


def mix_vector(algebra: Algebra, matrix: Array, vector: Vector) -> Form:
    """Return matrix @ vector, matrix [n, width]."""
    total = Form(np.zeros(len(matrix)))
    offset = 0
    for part in vector:
        total = add(total, algebra.mix(matrix[:, offset : offset + part.width], part))
        offset += part.width
    return total
