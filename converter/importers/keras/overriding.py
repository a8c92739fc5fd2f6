"""Attributes of layers that are others for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def overridden(layer: Any, name: str, value: object) -> Iterator[None]:
    """Give one layer another attribute while the context lasts, and then back what it had.

    Keras' own ``__setattr__`` is passed over, so that it tracks nothing.
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
