"""The passes in their order. A pass is a pure function from program to program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from converter.analysis.open_states import all_given
from converter.errors import InvalidProgramError
from converter.ir import Program, verify
from converter.options import ConvertOptions, StatePolicy
from converter.passes.absorb_reversals import absorb_reversals
from converter.passes.absorb_transposes import absorb_transposes
from converter.passes.adapt_to_target import adapt_to_target, adapted
from converter.passes.bound_loops import bound_loops
from converter.passes.choose_lowering import choose_lowering, lowerings_chosen
from converter.passes.constant_reshapes import constant_reshapes
from converter.passes.copy_sliced_outputs import copy_sliced_outputs
from converter.passes.dead_code import dead_code
from converter.passes.expose_state import expose_state
from converter.passes.fold_dilation import fold_dilation
from converter.passes.fold_dropout import fold_dropout
from converter.passes.fold_forget_bias import fold_forget_bias, forget_biases_folded
from converter.passes.fuse_bidirectional import fuse_bidirectional
from converter.passes.keep_axes import keep_axes
from converter.passes.lower_lists import lower_lists
from converter.passes.masks_to_lengths import masks_to_lengths
from converter.passes.persist_state import persist_state
from converter.passes.raise_fused_ops import fused_ops_raised, raise_fused_ops
from converter.passes.raise_loops import raise_loops
from converter.passes.read_final_state import read_final_state
from converter.passes.recognize_cells import cells_recognized, recognize_cells
from converter.passes.refine_shapes import refine_shapes, shapes_refined
from converter.passes.rename import rename, renamed
from converter.passes.require_state_policy import require_state_policy
from converter.passes.resolve_state import resolve_state, zero_states_resolved
from converter.passes.trim_scans import scans_trimmed, trim_scans
from converter.passes.variable_states import expose_variables, forget_variables
from converter.passes.vectorize_scans import vectorize_scans
from converter.targets import LIMITS


@dataclass(frozen=True, slots=True)
class Pass:
    """A named pass over programs. ``ensures`` is a property of every result, checked after the pass, if any."""

    name: str
    run: Callable[[Program], Program]
    ensures: Callable[[Program], bool] | None = None


RAISE_FUSED_OPS = Pass("raise-fused-ops", raise_fused_ops, fused_ops_raised)
RAISE_LOOPS = Pass("raise-loops", raise_loops)
TRIM_SCANS = Pass("trim-scans", trim_scans, scans_trimmed)
KEEP_AXES = Pass("keep-axes", keep_axes)
FOLD_DILATION = Pass("fold-dilation", fold_dilation)
CONSTANT_RESHAPES = Pass("constant-reshapes", constant_reshapes)
FOLD_DROPOUT = Pass("fold-dropout", fold_dropout)
RECOGNIZE_CELLS = Pass("recognize-cells", recognize_cells, cells_recognized)
VECTORIZE_SCANS = Pass("vectorize-scans", vectorize_scans)
ABSORB_REVERSALS = Pass("absorb-reversals", absorb_reversals)
ABSORB_TRANSPOSES = Pass("absorb-transposes", absorb_transposes)
FOLD_FORGET_BIAS = Pass("fold-forget-bias", fold_forget_bias, forget_biases_folded)
RESOLVE_STATE = Pass("resolve-state", resolve_state, zero_states_resolved)
REFINE_SHAPES = Pass("refine-shapes", refine_shapes, shapes_refined)
DEAD_CODE = Pass("dead-code", dead_code)

CANONICALIZE = (
    RAISE_FUSED_OPS,  # first: no other pass knows that an op may write its operands
    KEEP_AXES,  # before RAISE_LOOPS: the inputs of loops keep their shapes
    FOLD_DILATION,  # before CONSTANT_RESHAPES: parts have a batch of their own
    CONSTANT_RESHAPES,  # after KEEP_AXES, which needs no RESHAPE where there was a computed one
    RAISE_LOOPS,
    TRIM_SCANS,  # after RAISE_LOOPS: loops carry values that are not read
    FOLD_DROPOUT,  # after RAISE_LOOPS: the probability of keeping is carried around a loop
    RECOGNIZE_CELLS,  # after FOLD_DROPOUT: random numbers are not part of a cell
    VECTORIZE_SCANS,  # after RECOGNIZE_CELLS: the rest of a step has no state
    ABSORB_REVERSALS,  # before ABSORB_TRANSPOSES: a reversal would hide the transpose before it
    ABSORB_TRANSPOSES,
    ABSORB_REVERSALS,  # after ABSORB_TRANSPOSES: TensorFlow 1 reverses before it transposes
    FOLD_FORGET_BIAS,
    RESOLVE_STATE,
    REFINE_SHAPES,  # after RESOLVE_STATE, which recognises zeros by how their shapes are computed
    DEAD_CODE,  # after RESOLVE_STATE: the ops that computed a zero state are unused
)


def loop_passes(options: ConvertOptions) -> tuple[Pass, ...]:
    """Return the passes that bound the loops that are no scans, and lower their lists."""
    steps, is_dynamic = dict(options.max_steps), LIMITS[options.target].dynamic
    bounded = Pass("bound-loops", lambda program: bound_loops(program, steps))
    lowered = Pass("lower-lists", lambda program: lower_lists(program, steps, is_dynamic=is_dynamic))
    return (bounded, lowered, DEAD_CODE)


VARIABLE_PASSES: Mapping[StatePolicy, tuple[Pass, ...]] = {
    StatePolicy.STATELESS: (Pass("forget-variables", forget_variables),),
    StatePolicy.EXPLICIT: (Pass("expose-variables", expose_variables),),
    StatePolicy.STREAMING: (),
}


def accept(options: ConvertOptions) -> tuple[Pass, ...]:
    """Return the passes that refuse what the options leave open."""
    # Before RAISE_FUSED_OPS, which makes the same of ops that leak and of ops that go on on purpose.
    required = Pass("require-state-policy", lambda program: require_state_policy(program, options.state))
    return (required, *VARIABLE_PASSES[options.policy])


def prepare(options: ConvertOptions) -> tuple[Pass, ...]:
    """Return the passes that determine the signature and the lowering of each recurrence."""
    names = dict(options.rename)
    masks = () if options.mask_padding is None else (Pass("masks-to-lengths", masks_to_lengths), DEAD_CODE)
    return (
        *masks,
        *_state_passes(options),
        # After the states, which can be renamed, too.
        Pass("rename", lambda program: rename(program, names), lambda program: renamed(program, names)),
        # After DEAD_CODE: an unused recurrence must not stop a conversion.
        Pass("choose-lowering", lambda program: choose_lowering(program, options), lowerings_chosen),
    )


def _state_passes(options: ConvertOptions) -> tuple[Pass, ...]:
    ends, signatures = options.lookahead is not None, LIMITS[options.target].signatures
    match options.policy:
        case StatePolicy.STATELESS:
            return ()
        case StatePolicy.EXPLICIT:
            run = partial(expose_state, ends=ends, signatures=signatures)
            return (Pass("expose-state", run, all_given),)
        case StatePolicy.STREAMING:
            run = partial(persist_state, ends=ends, signatures=signatures)
            return (Pass("persist-state", run, all_given),)


READ_FINAL_STATE = Pass("read-final-state", read_final_state)


def pairing(options: ConvertOptions) -> tuple[Pass, ...]:
    """Return the passes over recurrences with chosen lowerings."""
    last_outputs = (READ_FINAL_STATE, DEAD_CODE)  # the slices of the outputs are unused now
    if not options.pair_directions:
        return last_outputs
    return (
        *last_outputs,
        Pass("fuse-bidirectional", lambda program: fuse_bidirectional(program, options.target)),
    )


def clean_up(options: ConvertOptions) -> tuple[Pass, ...]:
    """Return the passes after the lowering."""
    copies = (Pass("copy-sliced-outputs", copy_sliced_outputs),) if LIMITS[options.target].dynamic else ()
    return (
        DEAD_CODE,  # lowering emits readers of all final states, used or not
        *copies,
        Pass(
            "adapt-to-target",
            lambda program: adapt_to_target(program, options.target),
            lambda program: adapted(program, options.target),
        ),
    )


def run_passes(program: Program, passes: Iterable[Pass]) -> Program:
    """Run ``passes`` in order; after each, verify the program and what the pass ensures.

    Raises InvalidProgramError, naming the pass, if either does not hold.
    """
    for one in passes:
        program = verify(one.run(program), after=one.name)
        if one.ensures is not None and not one.ensures(program):
            raise InvalidProgramError(
                f"after {one.name}, the program does not have the property that the pass ensures"
            )
    return program
