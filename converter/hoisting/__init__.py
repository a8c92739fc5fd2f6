"""What a step computes without its states, taken out of it; lowerings and passes share this."""

from converter.hoisting.hoist import Remainder, hoist
from converter.hoisting.inlining import inline, resolve

__all__ = ["Remainder", "hoist", "inline", "resolve"]
