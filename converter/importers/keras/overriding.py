"""Temporarily override attributes of Keras layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def overridden(layer: Any, name: str, value: object) -> Iterator[None]:
    """Override one attribute of a layer while the context lasts, then restore it.

    Keras' own ``__setattr__`` is bypassed, so that nothing is tracked.
    """
    attributes = vars(layer)
    had, before = name in attributes, attributes.get(name)
    object.__setattr__(layer, name, value)
    try:
        yield
    finally:
        if had:
            object.__setattr__(layer, name, before)
        else:
            object.__delattr__(layer, name)
