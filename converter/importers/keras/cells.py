"""Describe Keras' cells as cells of `converter.marker`, from their weights and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from converter.ir import Activation
from converter.marker import Attribute, CellSpec

ALIASES: Mapping[str, Activation] = {
    "celu": Activation.ELU,
    "hard_swish": Activation.HARD_SILU,
    "swish": Activation.SILU,
}
"""Keras' names of functions that have another name in `Activation`."""

OF_TENSORFLOW = (
    "elu",
    "gelu",
    "leaky_relu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
)
"""Functions of ``tf.nn`` that equal those of the same name in Keras."""


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The cells and activation functions of one generation of Keras.

    ``kinds`` maps each class of cells to its kind in `converter.marker`. Subclasses are excluded, because they may
    compute anything. ``stacks`` are the classes that run several cells one after another.
    """

    kinds: Mapping[type, str]
    stacks: tuple[type, ...]
    activations: Mapping[Callable[..., Any], Activation]


@dataclass(frozen=True, slots=True, eq=False)
class MarkedCell:
    """A cell that a marked op can run: its specification, and its weights in the order of the leaves."""

    spec: CellSpec
    weights: tuple[Any, ...]


def describe(cell: Any, library: Library) -> MarkedCell | None:
    """Return ``cell`` as a marked op runs it, None if no cell of the marker computes the same."""
    if type(cell) in library.stacks:
        return _stack(cell, library)
    kind = library.kinds.get(type(cell))
    attributes = None if kind is None else _attributes(cell, kind, library)
    if kind is None or attributes is None:
        return None
    names = ("kernel", "recurrent_kernel", "bias") if cell.use_bias else ("kernel", "recurrent_kernel")
    weights = tuple(getattr(cell, name) for name in names)
    return MarkedCell(CellSpec(kind, cell.name, tuple(attributes.items()), names), weights)


def is_lstm(leaf: CellSpec) -> bool:
    """Return whether a leaf's state is (h, c) in Keras and (c, h) in a marked op."""
    return leaf.kind == "keras_lstm"


def _stack(cell: Any, library: Library) -> MarkedCell | None:
    if getattr(cell, "reverse_state_order", False):
        return None
    inner = [describe(part, library) for part in cell.cells]
    known = [part for part in inner if part is not None]
    if len(known) != len(inner):
        return None
    spec = CellSpec("stack", cell.name, cells=tuple(part.spec for part in known))
    return MarkedCell(spec, tuple(weight for part in known for weight in part.weights))


def _attributes(cell: Any, kind: str, library: Library) -> dict[str, Attribute] | None:
    """Return the attributes of a leaf, None if the compiler does not know one of its functions."""
    names = ["activation"] if kind == "keras_rnn" else ["activation", "recurrent_activation"]
    functions = [_known(getattr(cell, name), library) for name in names]
    attributes: dict[str, Attribute] = {"units": int(cell.units)}
    for name, function in zip(names, functions, strict=True):
        if function is None:
            return None
        attributes[name] = function.value
    if kind == "keras_gru":
        attributes["reset_after"] = bool(cell.reset_after)
    return attributes


def _known(function: Any, library: Library) -> Activation | None:
    try:
        return library.activations.get(function)
    except TypeError:  # an unhashable callable of the user's
        return None


def activation_functions(
    module: Any, renamed: Mapping[str, Activation], *, names: Iterable[str] = ()
) -> dict[Callable[..., Any], Activation]:
    """Return the activation functions of a module, and TensorFlow's, that the compiler has.

    They are identified by their names in ``module``, all or only ``names``, translated by ``renamed``.
    """
    import tensorflow as tf

    known = {**{entry.value: entry for entry in Activation}, **ALIASES, **renamed}
    wanted = set(names) or set(known)
    found = {getattr(module, name): known[name] for name in sorted(wanted) if hasattr(module, name)}
    of_tensorflow = {getattr(tf.nn, name): known[name] for name in OF_TENSORFLOW}
    return found | of_tensorflow | {tf.identity: Activation.LINEAR, tf.exp: Activation.EXPONENTIAL}
