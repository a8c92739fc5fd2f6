"""Products of sizes that are known only when the model runs."""

from __future__ import annotations

from converter.ir.dimensions import divide, multiply, unknown
from tests.programs import tensor

X = tensor("x", None, None, 8)
A, B = unknown(X, 0), unknown(X, 1)


def test_products_are_equal_in_any_order() -> None:
    assert multiply([A, 3, B, A]) == multiply([multiply([A, A]), multiply([B, 3])])
    assert multiply([A, B]) != multiply([A, A])
    assert unknown(X, 0) == A


def test_products_without_unknown_sizes_are_numbers() -> None:
    assert multiply([2, 3, 4]) == 24
    assert multiply([]) == 1
    assert multiply([A, 0]) == 0
    assert multiply([A, None]) is None


def test_a_quotient_is_known_if_it_is_whole() -> None:
    assert divide(multiply([A, B, 6]), multiply([B, 2])) == multiply([A, 3])
    assert divide(A, A) == 1
    assert divide(6, 4) is None
    assert divide(A, B) is None
    assert divide(A, 0) is None
    assert divide(None, 2) is None
