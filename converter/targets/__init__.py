"""Where a converted model is to run: what each target has, lacks and limits, and what of it a model breaks."""

from converter.targets.judge import direct_outputs, target_rejections
from converter.targets.rules import RULES, TARGETS, Rules, Target

__all__ = ["RULES", "TARGETS", "Rules", "Target", "direct_outputs", "target_rejections"]
