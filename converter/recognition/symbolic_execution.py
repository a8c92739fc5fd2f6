"""Execute a step symbolically: express each new state in the old states and the inputs of the step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from converter.errors import InvalidProgramError
from converter.ir import (
    Array,
    DType,
    FullyConnected,
    Graph,
    Scan,
    StridedSlice,
    TfliteOp,
    Value,
    attributes,
    fused_activation,
)
from converter.ir.evaluate import evaluate_graph
from converter.ir.kernels import FUSED
from converter.recognition.activation_matching import Matched, match_activations
from converter.recognition.components import Component, depth, joins_columns
from converter.recognition.normal_form import (
    Algebra,
    Form,
    Kind,
    Leaf,
    Vector,
    add,
    aligned,
    atom_form,
    columns,
    constant_form,
    mix_vector,
    scale,
    subtract,
    width_of,
)

_PLAIN = frozenset({DType.FLOAT32, DType.FLOAT16, DType.INT32, DType.INT64, DType.BOOL})
"""Element types whose constants are plain numbers; 8-bit integers may be quantized."""


@dataclass(frozen=True, slots=True, eq=False)
class SymbolicStep:
    """A step as forms: ``new[k]`` is component k after the step, None if no form describes it.

    ``spelled`` maps the keys of forms to values of the step that compute them.
    """

    algebra: Algebra
    components: tuple[Component, ...]
    new: tuple[Form | None, ...]
    spelled: Mapping[Hashable, Value]


def execute_symbolically(scan: Scan, components: Sequence[Component]) -> SymbolicStep:
    """Return the forms of the body of ``scan``, which has TFLite ops only."""
    return _Executor(scan, components).run()


class _Executor:
    """One pass over the ops of a step."""

    def __init__(self, scan: Scan, components: Sequence[Component]) -> None:
        body, states = scan.body, scan.step.states
        self.algebra = Algebra()
        self._components = tuple(components)
        self._ops = _split_activations([op for op in body.ops if isinstance(op, TfliteOp)])
        self._vectors: dict[Value, Vector] = {}
        self._folded: dict[Value, Array] = {}
        self._leaves: dict[Value, frozenset[Leaf]] = {}
        self._definitions: dict[Value, Form] = {}
        self._spelled: dict[Hashable, Value] = {}
        self._given = 0
        self._new = {component.value: k for k, component in reversed(list(enumerate(components)))}
        self._matches = match_activations(self._ops, self._new)
        for value in body.inputs:
            self._enter(value, [k for k, component in enumerate(components) if states[component.state] is value])

    def _enter(self, value: Value, own: Sequence[int]) -> None:
        """Set the vector of an input of the body: its components if it is a state."""
        old = [self.algebra.leaf(Kind.OLD, k, self._components[k].width) for k in own]
        self._leaves[value] = frozenset(leaf for atom in old for leaf in atom.leaves)
        if old:
            self._vectors[value] = tuple(atom_form(atom) for atom in old)
        else:
            self._unexplained(value)

    def run(self) -> SymbolicStep:
        for op in self._ops:
            self._execute(op)
        new = tuple(self._definition(component) for component in self._components)
        return SymbolicStep(self.algebra, self._components, new, MappingProxyType(self._spelled))

    def _definition(self, component: Component) -> Form | None:
        if component.value in self._definitions:
            return self._definitions[component.value]
        return _whole(self._vectors.get(component.value))

    def _execute(self, op: TfliteOp) -> None:
        if self._fold(op):
            return
        leaves = [self._leaves.get(operand, frozenset()) for operand in op.operands if operand is not None]
        computed_from = frozenset(leaf for of_operand in leaves for leaf in of_operand)
        for value, vector in zip(op.results, self._results(op), strict=True):
            self._leaves[value] = computed_from
            if vector is None:
                self._unexplained(value)
            else:
                self._vectors[value] = vector
            self._settle(value)

    def _settle(self, value: Value) -> None:
        """Start a new leaf at a new component, and record which value computes a form."""
        whole = _whole(self._vectors.get(value))
        k = self._new.get(value)
        if k is not None and whole is not None:
            self._definitions[value] = whole
            atom = self.algebra.leaf(Kind.NEW, k, self._components[k].width)
            self._leaves[value] = atom.leaves
            self._vectors[value] = (atom_form(atom),)
        elif whole is not None:
            self._spelled.setdefault(whole.key(), value)

    def _unexplained(self, value: Value) -> None:
        width = depth(value)
        if width is None:
            return
        atom = self.algebra.leaf(Kind.GIVEN, self._given, width, self._leaves[value])
        self._given += 1
        self._vectors[value] = (atom_form(atom),)
        self._spelled.setdefault(atom_form(atom).key(), value)

    def _fold(self, op: TfliteOp) -> bool:
        operands = [operand for operand in op.operands if operand is not None]
        if not operands or any(self.numbers(operand) is None for operand in operands):
            return False
        inputs = tuple(replace(operand, data=None) for operand in operands)
        renamed = dict(zip(operands, inputs, strict=True))
        again = replace(op, operands=tuple(None if o is None else renamed[o] for o in op.operands))
        graph = Graph("folded", inputs, op.results, (again,))
        given = [number for operand in operands if (number := self.numbers(operand)) is not None]
        try:
            self._folded.update(zip(op.results, evaluate_graph(graph, given), strict=True))
        except InvalidProgramError:
            return False
        return True

    def numbers(self, value: Value | None) -> Array | None:
        """Return the content of a constant or of a value folded from constants, None for any other value."""
        if value is None or value in self._folded:
            return None if value is None else self._folded[value]
        if value.data is None or value.type.dtype not in _PLAIN:
            return None
        wide = np.issubdtype(value.data.dtype, np.floating)
        return value.data.astype(np.float64) if wide else value.data

    def vector(self, value: Value | None, width: int | None) -> Vector | None:
        """Return the vector of an operand; a constant is broadcast to ``width``."""
        if value is None:
            return None
        numbers = self.numbers(value)
        if numbers is None:
            return self._vectors.get(value)
        if width is None or numbers.ndim > 2 or (numbers.ndim and numbers.shape[-1] not in {1, width}):
            return None
        rows = np.broadcast_to(numbers, (*numbers.shape[:-1], width)) if numbers.ndim else np.full(width, numbers)
        rows = rows.reshape(-1, width)
        return (constant_form(rows[0]),) if (rows == rows[0]).all() else None

    def _results(self, op: TfliteOp) -> Sequence[Vector | None]:
        value = op.results[0] if op.results else None
        matched = None if value is None else self._matches.get(value)
        if matched is not None:
            return [self._apply(matched)]
        rule = _RULES.get(op.builtin)
        nothing = [None] * len(op.results)
        if rule is None or fused_activation(op) != "NONE":
            return nothing
        found = rule(self, op)
        return nothing if found is None else found

    def _apply(self, matched: Matched) -> Vector | None:
        vector = self._vectors.get(matched.root)
        if vector is None:
            return None
        lines = (
            add(scale(part, np.full(part.width, matched.scale)), constant_form(np.full(part.width, matched.shift)))
            for part in vector
        )
        return tuple(self.algebra.apply(matched.function, line) for line in lines)


_Rule: TypeAlias = Callable[[_Executor, TfliteOp], "Sequence[Vector | None] | None"]


def _whole(vector: Vector | None) -> Form | None:
    return vector[0] if vector is not None and len(vector) == 1 else None


def _split_activations(ops: Sequence[TfliteOp]) -> list[TfliteOp]:
    """Return the ops with every fused activation as a separate op."""
    split: list[TfliteOp] = []
    for op in ops:
        name = fused_activation(op)
        if name == "NONE" or name not in FUSED or len(op.results) != 1:
            split.append(op)
            continue
        (result,) = op.results
        before = replace(result, name=f"{result.name}/before_activation")
        split.append(replace(attributes.without_activation(op), results=(before,)))
        split.append(TfliteOp(name, (before,), (result,)))
    return split


# --- rules: the vectors of an op's results, None for an op of unknown meaning ------------------------------------


def _elementwise(combine: Callable[[Algebra, Form, Form], Form | None]) -> _Rule:
    def rule(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
        width = depth(op.results[0])
        left, right = (executor.vector(operand, width) for operand in op.operands)
        if left is None or right is None or width is None or {width_of(left), width_of(right)} != {width}:
            return None
        parts = [combine(executor.algebra, x, y) for x, y in aligned(executor.algebra, [left, right])]
        known = tuple(part for part in parts if part is not None)
        return [known] if len(known) == len(parts) else None

    return rule


def _divide(_: Algebra, x: Form, y: Form) -> Form | None:
    return None if y.monomials or not y.bias.all() else scale(x, 1.0 / y.bias)


def _negate(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    vector = executor.vector(op.operands[0], None)
    return None if vector is None else [tuple(scale(part, np.full(part.width, -1.0)) for part in vector)]


def _fully_connected(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    dense = FullyConnected.of(op)
    if dense.shuffled:
        return None
    numbers, added = executor.numbers(dense.weights), executor.numbers(dense.bias)
    if numbers is None or (dense.bias is not None and added is None):
        return None
    return _mixed(executor, dense.x, numbers, added)


def _batch_matmul(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    x, weights = op.operands
    numbers = executor.numbers(weights)
    adjoint_x, adjoint_y = attributes.adjoints(op)
    if numbers is None or numbers.ndim != 2 or adjoint_x:
        return None
    return _mixed(executor, x, numbers if adjoint_y else numbers.T, None)


def _mixed(
    executor: _Executor, x: Value | None, matrix: Array, bias: Array | None
) -> Sequence[Vector | None] | None:
    vector = executor.vector(x, None)
    if vector is None or width_of(vector) != matrix.shape[1]:
        return None
    product = mix_vector(executor.algebra, matrix, vector)
    return [(product if bias is None else add(product, constant_form(bias.reshape(-1))),)]


def _concatenation(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    if not joins_columns(op):
        return None
    vectors = [executor.vector(operand, _last(operand)) for operand in op.operands]
    known = [vector for vector in vectors if vector is not None]
    return [tuple(part for vector in known for part in vector)] if len(known) == len(vectors) else None


def _last(value: Value | None) -> int | None:
    return None if value is None or not value.type.shape else value.type.shape[-1]


def _split(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    axis, x = op.operands
    vector = executor.vector(x, None)
    if vector is None or _scalar(executor, axis) not in (1, -1):
        return None
    size = width_of(vector) // len(op.results)
    return _pieces(executor, vector, [size] * len(op.results))


def _split_v(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    x, sizes, axis = op.operands
    vector, numbers = executor.vector(x, None), executor.numbers(sizes)
    if vector is None or numbers is None or _scalar(executor, axis) not in (1, -1):
        return None
    known = [int(size) for size in numbers]
    rest = width_of(vector) - sum(size for size in known if size >= 0)
    return _pieces(executor, vector, [rest if size < 0 else size for size in known])


def _pieces(executor: _Executor, vector: Vector, sizes: Sequence[int]) -> Sequence[Vector | None]:
    stops = np.cumsum(sizes).tolist()
    pieces = zip([0, *stops], stops, strict=False)
    return [columns(executor.algebra, vector, start, stop) or None for start, stop in pieces]


def _scalar(executor: _Executor, value: Value | None) -> int | None:
    numbers = executor.numbers(value)
    return None if numbers is None or numbers.size != 1 else int(numbers.reshape(()))


def _slice(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    x, begin, size = op.operands
    vector, first, count = executor.vector(x, None), executor.numbers(begin), executor.numbers(size)
    if vector is None or first is None or count is None or first[0] != 0 or count[0] not in (-1, _rows(x)):
        return None
    stop = width_of(vector) if count[1] < 0 else int(first[1] + count[1])
    return [columns(executor.algebra, vector, int(first[1]), stop) or None]


def _rows(x: Value | None) -> int | None:
    return None if x is None or not x.type.shape else x.type.shape[0]


def _strided_slice(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    sliced = StridedSlice.of(op)
    if not sliced.is_plain or sliced.drops(0) or sliced.drops(1):
        return None
    vector = executor.vector(sliced.x, None)
    bounds = (executor.numbers(bound) for bound in (sliced.begin, sliced.end, sliced.strides))
    numbers = [known for known in bounds if known is not None and known.size == 2]
    if vector is None or len(numbers) != 3 or depth(op.results[0]) is None:
        return None
    begin, end, strides = numbers
    from_first = sliced.has_open_begin(0) or begin[0] == 0
    to_last = sliced.has_open_end(0) or end[0] == _rows(sliced.x)
    if not (from_first and to_last) or (strides != 1).any():
        return None
    first = None if sliced.has_open_begin(1) else int(begin[1])
    last = None if sliced.has_open_end(1) else int(end[1])
    start, stop, _ = slice(first, last).indices(width_of(vector))
    return [columns(executor.algebra, vector, start, stop) or None]


def _same(executor: _Executor, op: TfliteOp) -> Sequence[Vector | None] | None:
    """A change of shape that leaves [batch, n] as it is."""
    x, result = op.operands[0], op.results[0]
    if x is None:
        return None
    is_one_row = x.type.is_static and result.type.is_static and _is_one_row(x) and _is_one_row(result)
    if not is_one_row and (depth(result) is None or depth(x) != depth(result)):
        return None
    return [executor.vector(x, None)]


def _is_one_row(value: Value) -> bool:
    """Return whether a value is [1, n] or [n], between which a batch of one may change."""
    return value.type.rank == 1 or (value.type.rank == 2 and _rows(value) == 1)


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "ADD": _elementwise(lambda _, x, y: add(x, y)),
        "BATCH_MATMUL": _batch_matmul,
        "CONCATENATION": _concatenation,
        "DIV": _elementwise(_divide),
        "FULLY_CONNECTED": _fully_connected,
        "MUL": _elementwise(lambda algebra, x, y: algebra.multiply(x, y)),
        "NEG": _negate,
        "RESHAPE": _same,
        "SLICE": _slice,
        "SPLIT": _split,
        "SPLIT_V": _split_v,
        "SQUEEZE": _same,
        "STRIDED_SLICE": _strided_slice,
        "SUB": _elementwise(lambda _, x, y: subtract(x, y)),
    }
)
