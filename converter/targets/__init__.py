"""Targets of a converted model: what each supports, and which of its rules a model breaks."""

from converter.targets.judge import (
    fused_op_rejections,
    has_op,
    needed_rewrites,
    needs_rewrite,
    target_rejections,
)
from converter.targets.limits import LIMITS, TARGETS, Limits, Target
from converter.targets.rules import Rewrite, direct_outputs

__all__ = [
    "LIMITS",
    "TARGETS",
    "Limits",
    "Rewrite",
    "Target",
    "direct_outputs",
    "fused_op_rejections",
    "has_op",
    "needed_rewrites",
    "needs_rewrite",
    "target_rejections",
]
