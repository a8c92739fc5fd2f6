"""Streaming rules of recurrences and scans: along the sequence they go on where they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.analysis.dimensions import Dimensions
from converter.analysis.streaming.facts import (
    KEEP,
    Action,
    Fact,
    Feed,
    Plan,
    Rows,
    Running,
    UnstreamableError,
    needs_the_whole,
    not_supported,
)
from converter.analysis.streaming.view import Outcome, complete, settled
from converter.ir import Recurrence, Scan, Value
from converter.rules import Rule


def recurrence(op: Recurrence, known: Sequence[Fact | None], sizes: Dimensions, *, ends: bool) -> Outcome:
    """Return what becomes of a recurrence, by the facts of its operands. Raises UnstreamableError."""
    x, lengths, mask, *states = known
    if not isinstance(x, Rows):
        if x is None and not any(isinstance(fact, Rows) for fact in known):
            return [Running.of(known)] * len(op.results), KEEP
        raise needs_the_whole("the recurrence runs over what is computed over all steps")
    if any(states):
        raise needs_the_whole("the recurrence starts from what is computed over all steps")
    if lengths is not None:
        raise needs_the_whole("the lengths are computed from the sequence")
    if op.go_backwards:
        raise UnstreamableError(
            Rule.STREAMING_BACKWARDS,
            "the recurrence runs backwards, so it cannot continue in the next chunk",
            "use state='stateless' with whole sequences",
        )
    x = x.separated()
    if x.axis != op.time_axis or not x.is_alone:
        raise not_supported("the recurrence runs along another axis than the sequence")
    ready, feed = complete(x, ends=ends)
    feeds = {0: feed}
    if mask is not None:
        feeds[2] = _mask(op, mask, ready, ends=ends)
    elif op.mask is not None and sizes.dimension(op.mask, op.time_axis) != 1:
        raise needs_the_whole("the mask is not computed from the sequence")
    final = [Running.of([ready])] * len(op.final_state)
    return [replace(ready, axis=op.time_axis), *final], Plan(Action.RECUR, feeds)


def _mask(op: Recurrence, mask: Fact, x: Rows, *, ends: bool) -> Feed:
    mask = mask.separated() if isinstance(mask, Rows) else mask
    if not isinstance(mask, Rows) or mask.axis != op.time_axis or not mask.is_alone:
        raise needs_the_whole("the mask is computed over all steps")
    ready, feed = settled(mask, ends=ends)
    if _count(ready) != _count(x) or ready.delay > x.delay or not feed.is_plain:
        raise not_supported("the mask has other steps than the sequence")
    late = x.warm_up - ready.warm_up
    return Feed(late, late)


def scan(op: Scan, known: Sequence[Fact | None], sizes: Dimensions, *, ends: bool) -> Outcome:
    """Return what becomes of a loop of an unknown cell, by the facts of its operands. Raises UnstreamableError."""
    sequences, others = known[: len(op.sequences)], known[len(op.sequences) : -2]
    steps = known[-1]
    if not any(isinstance(fact, Rows) for fact in known):
        if any(isinstance(fact, Running) for fact in known):
            return [Running.of(known)] * len(op.results), KEEP
        raise needs_the_whole("the loop runs as many steps as the sequence has, but does not read it")
    if any(others) or isinstance(steps, Rows | Running):
        raise needs_the_whole("each step of the loop reads the whole sequence, or what is computed from it")
    ready = [_sequence(fact) for fact in sequences]
    if ends:
        raise not_supported("a loop of an unknown cell over a sequence that ends within a chunk")
    if len({_count(rows) for rows in ready}) > 1:
        raise not_supported("a loop over sequences of different steps")
    time = sizes.dimension(op.sequences[0], 0)
    for count in (op.length, op.steps):
        if count is not None and sizes.number(count) != time:
            raise not_supported("a loop of another length than the sequence")
    if _is_read(op.step.t, op):
        raise needs_the_whole("the loop reads the number of its step")
    return [*[ready[0]] * len(op.outputs), *[Running.of(ready)] * len(op.final_state)], Plan(Action.RECUR)


def _count(rows: Rows) -> tuple[object, ...]:
    """Return what says how many rows there are."""
    return rows.stride, rows.block, rows.first, rows.short


def _sequence(fact: Fact | None) -> Rows:
    fact = fact.separated() if isinstance(fact, Rows) else fact
    if not isinstance(fact, Rows) or fact.axis != 0 or not fact.is_alone:
        raise needs_the_whole("the loop reads something else along with the steps of the sequence")
    if fact.left or fact.right or fact.delay or fact.missing:
        raise not_supported("a loop of an unknown cell over a sequence that is padded or delayed")
    return fact


def _is_read(value: Value, op: Scan) -> bool:
    return value in op.body.outputs or any(value in inner.operands for inner in op.body.ops)
