"""Random networks, described apart from any library: one description builds ours and TensorFlow's.

A configuration depends on its number alone, so a failure is reproduced by that number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell: a class name with its options, and the cells inside it. `depth` is the depth of its output."""

    kind: str
    options: tuple[tuple[str, Any], ...] = ()
    inner: tuple[CellPlan, ...] = ()
    depth: int = 0

    def build(self, cells: Any) -> Any:
        """Make the cell of the module ``cells``."""
        inner = [plan.build(cells) for plan in self.inner]
        if self.kind == "Nested":
            return NestedCell(*inner)
        if self.kind == "MultiRNNCell":
            return cells.MultiRNNCell(inner, **dict(self.options))
        return getattr(cells, self.kind)(*inner, **dict(self.options))

    def kinds(self) -> set[str]:
        """Names of the classes and options in this cell."""
        names = {self.kind, *(f"{self.kind}.{name}" for name, value in self.options if value is not None)}
        return names.union(*(plan.kinds() for plan in self.inner))


@dataclass(frozen=True, slots=True)
class Configuration:
    """One call of dynamic_rnn. ``lengths`` is None or one number per row; arrays are drawn from ``number``."""

    number: int
    cell: CellPlan
    batch: int
    steps: int
    depth: int
    lengths: tuple[int, ...] | None
    stateful: bool
    dtype: tf.DType
    time_major: bool
    unknown_sizes: bool
    swap_memory: bool
    lite: bool

    @property
    def is_nested(self) -> bool:
        """Whether inputs and outputs are nests."""
        return self.cell.kind == "Nested"

    def rng(self) -> np.random.Generator:
        """Return the generator of this configuration's arrays."""
        return np.random.default_rng([1, self.number])


class NestedCell:
    """Another cell, fed by a nest and emitting one; beside the state of that cell it counts its steps, row by row.

    Inputs {"x": [B, D], "more": ([B, 2, 2],)}; outputs (output [B, O], {"image": [B, 2, 2]}).
    """

    def __init__(self, cell: Any) -> None:
        self.cell = cell
        self.state_size = [cell.state_size, {"steps": 1}]
        self.output_size = (cell.output_size, {"image": tf.TensorShape([2, 2])})

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return [self.cell.zero_state(batch_size, dtype), {"steps": tf.zeros([batch_size, 1], dtype)}]

    def __call__(self, inputs: Any, state: Any) -> Any:
        inner_state, counter = state
        image = inputs["more"][0]
        x = tf.concat([inputs["x"], tf.reshape(image, [-1, 4])], axis=1)
        output, new_state = self.cell(x, inner_state)
        steps = counter["steps"] + 1
        return (output, {"image": image * steps[:, :, tf.newaxis]}), [new_state, {"steps": steps}]


KINDS = ("BasicRNNCell", "BasicLSTMCell", "LSTMCell", "GRUCell", "MultiRNNCell", "Wrapper", "Nested")
LEAVES = KINDS[:4]


def half(x: Any) -> Any:
    """No activation the compiler knows."""
    return 0.5 * tf.tanh(x)


def configuration(number: int) -> Configuration:
    """Return configuration ``number``: the kinds of cell take turns, everything else is drawn."""
    rng = np.random.default_rng([0, number])
    batch, steps, depth = (int(rng.integers(1, high)) for high in (4, 6, 5))
    lengths = [None, None, (steps,) * batch, "drawn", "drawn", "drawn"][rng.integers(6)]
    if lengths == "drawn":
        lengths = tuple(int(length) for length in rng.integers(-1, steps + 2, size=batch))
    return Configuration(
        number=number,
        cell=_cell(rng, KINDS[number % len(KINDS)], depth),
        batch=batch,
        steps=steps,
        depth=depth,
        lengths=lengths,
        stateful=bool(rng.integers(2)),
        dtype=tf.float64 if rng.integers(2) else tf.float32,
        time_major=bool(rng.integers(2)),
        unknown_sizes=bool(rng.integers(2)),
        swap_memory=bool(rng.integers(2)),
        lite=bool(rng.integers(2)),
    )


def _cell(rng: np.random.Generator, kind: str, depth: int) -> CellPlan:
    if kind == "MultiRNNCell":
        return _stack(rng, depth)
    if kind == "Wrapper":
        return _wrapped(rng, _leaf(rng, str(rng.choice(LEAVES)), depth), depth)
    if kind == "Nested":
        inner = _leaf(rng, str(rng.choice(LEAVES)), depth + 4)
        return CellPlan("Nested", inner=(inner,), depth=inner.depth)
    return _leaf(rng, kind, None)


def _leaf(rng: np.random.Generator, kind: str, output: int | None) -> CellPlan:
    """Draw the options of a leaf; ``output`` is a depth that a residual connection may want."""
    units = int(rng.integers(1, 5)) if output is None or rng.integers(2) else output
    options: dict[str, Any] = {
        "num_units": units,
        "activation": _draw(rng, None, None, tf.nn.relu, "sigmoid", half),
    }
    if kind in {"BasicLSTMCell", "LSTMCell"}:
        options["forget_bias"] = _draw(rng, None, 0.0, 2.5)
        options["state_is_tuple"] = _draw(rng, None, None, None, False)
    size = units
    if kind == "LSTMCell":
        options["use_peepholes"] = _draw(rng, None, True)
        options["cell_clip"] = _draw(rng, None, None, 0.3, 0.0)
        options["num_proj"] = _draw(rng, None, 2, 3)
        options["proj_clip"] = _draw(rng, None, 0.2)
        options["num_unit_shards"] = _draw(rng, None, None, None, 2)
        size = options["num_proj"] or units
    return CellPlan(kind, tuple((name, value) for name, value in options.items() if value is not None), depth=size)


def _wrapped(rng: np.random.Generator, plan: CellPlan, depth: int) -> CellPlan:
    kept = tuple((f"{part}_keep_prob", 1.0) for part in ("input", "output", "state") if rng.integers(2))
    wrapped = CellPlan("DropoutWrapper", kept, (plan,), plan.depth)
    if plan.depth == depth:
        return CellPlan("ResidualWrapper", (), (wrapped if rng.integers(2) else plan,), depth)
    return wrapped


def _stack(rng: np.random.Generator, depth: int) -> CellPlan:
    plans: list[CellPlan] = []
    for _ in range(rng.integers(1, 4)):
        leaf = _leaf(rng, str(rng.choice(LEAVES)), depth)
        plans.append(_wrapped(rng, leaf, depth) if rng.integers(3) == 0 else leaf)
        depth = plans[-1].depth
    one_tensor = all(_state_is_one_tensor(plan) for plan in plans)
    options = (("state_is_tuple", False),) if one_tensor and rng.integers(2) else ()
    return CellPlan("MultiRNNCell", options, tuple(plans), depth)


def _state_is_one_tensor(plan: CellPlan) -> bool:
    if plan.inner:
        return _state_is_one_tensor(plan.inner[0])
    return plan.kind in {"BasicRNNCell", "GRUCell"} or ("state_is_tuple", False) in plan.options


def _draw(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]
