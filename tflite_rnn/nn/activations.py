"""Activation functions by their Keras names, as TensorFlow computes them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import tensorflow as tf

Tensor: TypeAlias = Any
Activation: TypeAlias = Callable[[Tensor], Tensor]


def _hard_sigmoid(x: Tensor) -> Tensor:
    """Return relu6(x + 3) / 6, the definition of Keras 3."""
    return tf.nn.relu6(x + 3.0) / 6.0


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "linear": tf.identity,
        "tanh": tf.math.tanh,
        "sigmoid": tf.math.sigmoid,
        "hard_sigmoid": _hard_sigmoid,
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "elu": tf.nn.elu,
        "selu": tf.nn.selu,
        "softplus": tf.math.softplus,
        "softsign": tf.math.softsign,
        "silu": tf.nn.silu,
        "gelu": tf.nn.gelu,
        "exponential": tf.math.exp,
    }
)


def activation_function(activation: str | Activation | None) -> Activation:
    """Return the activation function: ``activation`` is a Keras name, a callable, or None for tanh.

    Raises ValueError for an unknown name, TypeError for anything that is neither a name nor callable.
    """
    if not activation:
        return ACTIVATIONS["tanh"]
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            known = ", ".join(sorted(ACTIVATIONS))
            raise ValueError(f"unknown activation {activation!r}; use one of {known}, or pass a function")
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise TypeError(f"activation: expected a Keras name or a function, got {activation!r}")
    return activation


def activation_name(function: Activation) -> str | None:
    """Return the Keras name of ``function``, or None if it is not one of the named activations."""
    for name, named in ACTIVATIONS.items():
        if function is named or function is _keras_function(name):
            return name
    return None


def _keras_function(name: str) -> object:
    """Return Keras 3's function of that name, None unless Keras is imported: otherwise no caller can have passed
    it.
    """
    module = sys.modules.get("keras.activations")
    return getattr(module, name, None) if module is not None else None
