"""A sample of the attack, and a few files that came out of it."""

from __future__ import annotations

import pytest

from tests.attack.__main__ import VIOLATIONS, attack
from tests.attack.mutants import mutant

pytestmark = pytest.mark.runtime


def test_mutants_are_refused_or_give_what_the_runtime_makes_of_them() -> None:
    outcomes = list(attack(seed=7, start=0, count=60))
    assert [found for found in outcomes if found[1] in VIOLATIONS] == []
    parsed = [kind for _, kind, _ in outcomes if kind != "not a model"]
    assert len(parsed) > len(outcomes) / 5


def test_a_mutant_is_the_same_for_its_number() -> None:
    assert mutant(3, 5) == mutant(3, 5) != mutant(3, 6)
