"""States that a file keeps in resource variables, as the streaming policy makes them, under the other policies.

forget-variables: each invoke starts from what the variables hold at first. expose-variables: what a variable holds
is an input, and what it is to hold an output, both of its name. Under the streaming policy persist-state keeps
these states with all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from converter.analysis.variables import RESET, StateVariable, is_variable_op, state_variables
from converter.ir import Graph, Program, Value, rewire_graph
from converter.raising.subgraphs import drop_unused_graphs


def forget_variables(program: Program) -> Program:
    """Start every invoke from the first values of the variables, and keep nothing."""
    variables = state_variables(program)
    if not variables:
        return program
    names = program.main.names()
    starts = {state.read: replace(state.start, name=names.fresh(state.start.name)) for state in variables}
    return _with_main(program, rewire_graph(without_variables(program.main, variables), starts))


def expose_variables(program: Program) -> Program:
    """Make an input and an output of each variable.

    A variable that is assigned a constant only tells whether an invoke came before: it counts as assigned.
    """
    variables = state_variables(program)
    if not variables:
        return program
    flags = {state.read: state.final for state in variables if state.final.is_constant}
    main, signature = rewire_graph(without_variables(program.main, variables), flags), program.signature
    exposed = [state for state in variables if state.read not in flags]
    known = dict(zip(signature.outputs, main.outputs, strict=True))
    names = [_free_name(state, known, signature.inputs) for state in exposed]
    added = [(name, state) for name, state in zip(names, exposed, strict=True) if name not in known]
    exposing = replace(
        signature,
        inputs=(*signature.inputs, *names),
        outputs=(*signature.outputs, *(name for name, _ in added)),
    )
    main = replace(
        main,
        inputs=(*main.inputs, *(state.read for state in exposed)),
        outputs=(*main.outputs, *(state.final for _, state in added)),
    )
    signatures = tuple(exposing if one is signature else one for one in program.signatures)
    return _with_main(replace(program, signatures=signatures), main)


def _free_name(state: StateVariable, outputs: dict[str, Value], inputs: tuple[str, ...]) -> str:
    name = state.name
    while name in inputs or outputs.get(name, state.final) is not state.final:
        name += "_"
    return name


def without_variables(main: Graph, variables: Iterable[StateVariable]) -> Graph:
    """Return the main graph without the ops that keep states in variables.

    What each of them was ``read`` as stands for all its reads, and nothing defines it.
    """
    copies = {copy: state.read for state in variables for copy in state.copies}
    ops = tuple(op for op in main.ops if not is_variable_op(op))
    return rewire_graph(replace(main, ops=ops), copies)


def without_reset(program: Program) -> Program:
    """Return a program without its signature ``reset``, and without the graphs that nothing runs."""
    signatures = tuple(signature for signature in program.signatures if signature.key != RESET)
    return drop_unused_graphs(replace(program, signatures=signatures))


def _with_main(program: Program, main: Graph) -> Program:
    return without_reset(replace(program, graphs=(main, *program.graphs[1:])))
