"""Judge whether a model runs on a target: find every rule of the target that it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converter.errors import Rejection
from converter.ir import Program, Recurrence, TfliteOp
from converter.targets.limits import LIMITS, Target
from converter.targets.needs import Needs, needs_of, needs_of_fused
from converter.targets.rules import GRAPH_RULES, OP_RULES, PROGRAM_RULES, Rewrite


def target_rejections(program: Program, target: Target) -> Iterator[Rejection]:
    """Yield everything that keeps a program of TFLite ops from running on ``target``, each reason once."""
    seen: set[tuple[str, str]] = set()
    for rejection, _ in _rejections(program, target):
        key = (rejection.rule, rejection.detail)
        if key not in seen:
            seen.add(key)
            yield rejection


def needed_rewrites(program: Program, target: Target) -> tuple[Rewrite, ...]:
    """Return the rewrites that a program of TFLite ops needs to run on ``target``, in their order."""
    needed = {rewrite for _, rewrite in _rejections(program, target)}
    return tuple(rewrite for rewrite in Rewrite if rewrite in needed)


def needs_rewrite(op: TfliteOp, rewrite: Rewrite, target: Target) -> bool:
    """Return whether ``op`` breaks a rule of ``target`` that ``rewrite`` is for."""
    return any(needed is rewrite for _, needed in _of_op(needs_of(op), target))


def fused_op_rejections(op: Recurrence, target: Target) -> Iterator[Rejection]:
    """Yield every reason why ``target`` does not run the fused op that would compute ``op``."""
    for rejection, _ in _of_op(needs_of_fused(op), target):
        yield replace(rejection, hint="a loop computes it there")


def has_op(builtin: str, target: Target) -> bool:
    """Return whether ``target`` has a builtin op."""
    return builtin in LIMITS[target].versions


def _rejections(program: Program, target: Target) -> Iterator[tuple[Rejection, Rewrite | None]]:
    """Yield what breaks the rules of ``target``, each with the rewrite that helps."""
    limits = LIMITS[target]
    for of_programs in PROGRAM_RULES:
        for rejection in of_programs.rejections(program, limits):
            yield rejection, of_programs.rewrite
    for graph in program.graphs:
        for of_graphs in GRAPH_RULES:
            for rejection in of_graphs.rejections(graph, limits):
                yield rejection, of_graphs.rewrite
        for op in graph.ops:
            if isinstance(op, TfliteOp):
                yield from _of_op(needs_of(op), target)


def _of_op(needs: Needs, target: Target) -> Iterator[tuple[Rejection, Rewrite | None]]:
    for rule in OP_RULES:
        for rejection in rule.rejections(needs, LIMITS[target]):
            yield rejection, rule.rewrite
