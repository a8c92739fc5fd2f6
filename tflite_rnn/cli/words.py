"""Parse the values of options."""

from __future__ import annotations

import re

import click

_SIZE = re.compile(r"\d+|\?|-1")
_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def names_of(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read ``a,b``."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def shapes_of(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, tuple[int | None, ...]]:
    """Read ``x:2,?,80;n:2``; ``?`` and -1 are unknown sizes."""
    shapes: dict[str, tuple[int | None, ...]] = {}
    for part in (text or "").split(";"):
        name, colon, dims = part.strip().rpartition(":")
        sizes = [dim.strip() for dim in dims.split(",") if dim.strip()]
        if not part.strip():
            continue
        if not colon or not name or not all(_SIZE.fullmatch(size) for size in sizes):
            raise click.BadParameter(f"expected NAME:SIZE,SIZE,… with ? for open sizes, got {part.strip()!r}")
        shapes[name] = tuple(None if size in {"?", "-1"} else int(size) for size in sizes)
    return shapes


def constants_of(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    """Read each ``name=number``."""
    constants: dict[str, float] = {}
    for text in texts:
        name, _equals, number = text.partition("=")
        try:
            constants[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"expected NAME=NUMBER, got {text!r}") from None
    return constants


def steps_of(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    """Read each ``loop=steps``."""
    steps: dict[str, int] = {}
    for text in texts:
        name, _equals, number = text.rpartition("=")
        if not name.strip() or not number.strip().isdecimal() or not 1 <= int(number) < 1 << 31:
            raise click.BadParameter(f"expected NAME=N with N from 1 on, got {text!r}")
        steps[name.strip()] = int(number)
    return steps


def renames_of(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read each ``old=new``."""
    pairs = [text.partition("=") for text in texts]
    for text, (old, _equals, new) in zip(texts, pairs, strict=True):
        if not old.strip() or not new.strip():
            raise click.BadParameter(f"expected OLD=NEW, got {text!r}")
    return {old.strip(): new.strip() for old, _equals, new in pairs}


def objects_of(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read each ``name=module:attribute``; the module is not imported yet."""
    objects: dict[str, str] = {}
    for text in texts:
        name, _equals, place = text.partition("=")
        if not name.strip() or not _PLACE.fullmatch(place.strip()):
            raise click.BadParameter(f"expected NAME=MODULE:ATTR, got {text!r}")
        objects[name.strip()] = place.strip()
    return objects
