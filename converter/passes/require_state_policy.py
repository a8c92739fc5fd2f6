"""require-state-policy: a file that keeps its state on purpose is converted only if the policy was given.

Most fused ops of a file leak: each invoke sees a whole sequence, and goes on where the last one ended. Starting
from zero mends them. But an op that sees one step at each invoke has to go on.
"""

from __future__ import annotations

from collections.abc import Iterator

from converter.analysis.kept_states import KeptState, kept_states
from converter.analysis.variables import state_variables
from converter.errors import ConversionError, Rejection
from converter.ir import Op, Program, as_tflite
from converter.options import StatePolicy
from converter.rules import Rule


def require_state_policy(program: Program, policy: StatePolicy | None) -> Program:
    """Return ``program``. ``policy`` is None if it was not given.

    Raises ConversionError if the program keeps the state of ops that see one step at each invoke and no policy was
    given, or one that those ops do not know.
    """
    rejections = [*_of_variables(program, policy)]
    rejections += [reason for kept in kept_states(program) for reason in _rejections(kept, program, policy)]
    if rejections:
        raise ConversionError("the model keeps its state from one invoke to the next", rejections)
    return program


def _of_variables(program: Program, policy: StatePolicy | None) -> Iterator[Rejection]:
    states = state_variables(program)
    if states and policy is None:
        yield Rejection(
            Rule.STATE_UNDECIDED,
            program.main.name,
            f"it keeps {', '.join(state.name for state in states)} until its signature reset is run",
            "say state='streaming' (--state streaming) to keep it so, or state='stateless' to start every invoke "
            "from the first state",
        )
    elif states and policy is not StatePolicy.STREAMING:
        # What is written into the memory of an SVDF must not be a constant: the runtimes write that only once.
        yield from (_svdf(op) for op in program.main.ops if as_tflite(op, "SVDF"))


def _rejections(kept: KeptState, program: Program, policy: StatePolicy | None) -> Iterator[Rejection]:
    op = kept.op
    if op.builtin == "SVDF":
        if policy is not StatePolicy.STREAMING or kept.graph is not program.main:
            yield _svdf(op)
    elif policy is None and kept.sees_one_step:
        yield Rejection(
            Rule.STATE_UNDECIDED,
            op.name,
            f"{op.builtin} sees one step at each invoke, so the file goes on where the last invoke ended",
            "say state='streaming' (--state streaming) to keep it so, with a reset, or state='stateless' to start "
            "every invoke from zero",
        )


def _svdf(op: Op) -> Rejection:
    return Rejection(
        Rule.SVDF_STATE,
        op.name,
        "SVDF sees one step at each invoke and keeps those before in the model",
        "use state='streaming' (--state streaming), with the op in the main graph",
    )
