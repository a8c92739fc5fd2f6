from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from converter.errors import SourceError
from models import safe_pickle


class _Payload:
    """Pickles as the call ``os.mkdir(path)``: harmless, and visible if it ever runs."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


PLAIN = ([50, {"a": 0, "é": 1}], ("x", None, True, 1.5, 2**70), {1: [{}, [()]]})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN)
def test_plain_containers_are_read_at_every_protocol(value: object, protocol: int) -> None:
    assert safe_pickle.loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made"
    with pytest.raises(safe_pickle.UnsafePickleError, match="mkdir"):
        safe_pickle.loads(pickle.dumps([50, _Payload(target)], protocol))
    assert not target.exists()


def test_even_a_harmless_class_is_refused() -> None:
    with pytest.raises(safe_pickle.UnsafePickleError, match="OrderedDict"):
        safe_pickle.loads(pickle.dumps(OrderedDict(a=1)))


def test_a_reference_outside_the_pickle_is_refused() -> None:
    with pytest.raises(safe_pickle.UnsafePickleError, match="outside object"):
        safe_pickle.loads(b"Pwhatever\n.")


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", b"\x80\x02]", b".", b"a.", pickle.dumps([1])[:-1], b"I1\n}b.", b"I1\n(tR."]
)
def test_damaged_bytes_are_one_clear_error(data: bytes) -> None:
    with pytest.raises(SourceError, match="not a readable pickle"):
        safe_pickle.loads(data)
