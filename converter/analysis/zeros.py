"""Which values are known to be zero, however that is spelled."""

from __future__ import annotations

import numpy as np

from converter.ir import Producers, TfliteOp, Trait, Value, has


def is_zero(value: Value, producers: Producers) -> bool:
    """True if every element of ``value`` is known to be zero."""
    if value.data is not None:
        return value.type.dtype.numpy is not None and not np.any(value.data)
    producer = producers.get(value)
    if not isinstance(producer, TfliteOp):
        return False
    if producer.builtin == "ZEROS_LIKE":
        return True
    if producer.builtin == "FILL":
        filled = producer.operands[1]
    elif producer.builtin == "TRANSPOSE" or has(producer, Trait.RESHAPES | Trait.REPEATS):
        filled = producer.operands[0]
    else:
        return False
    return filled is not None and is_zero(filled, producers)
