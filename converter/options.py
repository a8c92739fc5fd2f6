"""The options of a conversion, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from converter.errors import OptionError
from converter.ir import Lowering
from converter.targets import TARGETS, Target

AUTO = "auto"
LOWERINGS = (AUTO, *(lowering.value for lowering in Lowering))


class StatePolicy(Enum):
    """Where the state of recurrences lives between invokes."""

    STATELESS = "stateless"
    """Nowhere: every invoke starts from zero, or from the network's initial state."""

    EXPLICIT = "explicit"
    """With the caller: initial and final states are named inputs and outputs."""

    STREAMING = "streaming"
    """In the model, between invokes, until the signature ``reset`` is run."""


class Lookahead(Enum):
    """What becomes of layers that look ahead, in a model that runs on chunks."""

    DELAY = "delay"
    """Their outputs come later, and the last ones when the end of the sequence is flushed."""


class MaskPadding(Enum):
    """Where the masked steps of a row are, on the user's word."""

    RIGHT = "right"
    """Behind the unmasked ones, without gaps."""


MASK_PADDINGS = tuple(padding.value for padding in MaskPadding)
LOOKAHEADS = tuple(lookahead.value for lookahead in Lookahead)
STATE_POLICIES = tuple(policy.value for policy in StatePolicy)
DEFAULT_POLICY = StatePolicy.STATELESS


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Options of a conversion.

    ``lowering`` is the form that every recurrence takes, None the best exact one for each. ``pair_directions``
    makes one op of two fused recurrences that run over a sequence in both directions. ``rename`` holds new names
    of inputs and outputs, each after the old one. ``state`` is None if it was not given: then ``policy`` is
    stateless, but a file that keeps its state on purpose is refused. ``lookahead`` is None to refuse layers that
    look ahead in a model that runs on chunks. ``mask_padding`` is None if masks may have gaps.
    ``max_steps`` bounds the steps of loops by their names.
    """

    lowering: Lowering | None = None
    state: StatePolicy | None = None
    target: Target = Target.LITERT
    pair_directions: bool = True
    rename: tuple[tuple[str, str], ...] = ()
    lookahead: Lookahead | None = None
    mask_padding: MaskPadding | None = None
    max_steps: tuple[tuple[str, int], ...] = ()

    @property
    def policy(self) -> StatePolicy:
        """The state policy, given or not."""
        return self.state or DEFAULT_POLICY

    @classmethod
    def parse(
        cls,
        *,
        lowering: str = AUTO,
        state: str | None = None,
        target: str = Target.LITERT.value,
        pair_directions: bool = True,
        rename: Mapping[str, str] | None = None,
        lookahead: str | None = None,
        mask_padding: str | None = None,
    ) -> ConvertOptions:
        """Return the options of these values. Raises OptionError for an invalid value."""
        for option, word, words in (
            ("lowering", lowering, LOWERINGS),
            ("state", state or DEFAULT_POLICY.value, STATE_POLICIES),
            ("target", target, TARGETS),
            ("lookahead", lookahead or Lookahead.DELAY.value, LOOKAHEADS),
            ("mask_padding", mask_padding or MaskPadding.RIGHT.value, MASK_PADDINGS),
        ):
            if word not in words:
                raise OptionError(f"{option}: expected one of {', '.join(words)}, got {word!r}")
        if not isinstance(pair_directions, bool):
            raise OptionError(f"pair_directions: expected True or False, got {pair_directions!r}")
        if rename is not None and not _are_renames(rename):
            raise OptionError(
                f"rename: expected new names by old ones, such as {{'output_0': 'y'}}, got {rename!r}"
            )
        form = None if lowering == AUTO else Lowering(lowering)
        policy = None if state is None else StatePolicy(state)
        ahead = None if lookahead is None else Lookahead(lookahead)
        if ahead is not None and policy in {None, StatePolicy.STATELESS}:
            raise OptionError(
                f"lookahead: {lookahead!r} is for models that run on chunks; give state='streaming' or 'explicit' "
                "(--state), too"
            )
        padding = None if mask_padding is None else MaskPadding(mask_padding)
        if padding is not None and policy not in {None, StatePolicy.STATELESS}:
            raise OptionError(
                f"mask_padding: {mask_padding!r} makes lengths of masks, for whole sequences; leave it out with "
                f"state={state!r}"
            )
        new_names = tuple((rename or {}).items())
        return cls(form, policy, Target(target), pair_directions, new_names, ahead, padding)


def _are_renames(rename: object) -> bool:
    return isinstance(rename, Mapping) and all(
        isinstance(name, str) and name for pair in rename.items() for name in pair
    )
