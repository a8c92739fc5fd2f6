"""The reference of a model whose loops were bounded: TensorFlow's own graph, its loops ending after as many steps.

TensorFlow's `while_loop` gives each While op a counter of its steps as the first value that it carries, whether
or not there are maximum_iterations. The condition of a loop that is named asks for it, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from converter.ir import Array
from converter.raising.scans import name_of_loop

_CALLS = re.compile(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+")
_LOOPS = frozenset({"While", "StatelessWhile"})
_SCOPE = "max_steps"


def bounded_function(concrete: Any, max_steps: Mapping[str, int]) -> Callable[[Sequence[Array]], list[Array]]:
    """Return a concrete function with its loops ending after ``max_steps``, of arrays to its results in a row."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    bounded = bounded_graph(frozen.graph.as_graph_def(), max_steps)
    names, results = ([tensor.name for tensor in side] for side in (frozen.inputs, frozen.outputs))

    def run(arrays: Sequence[Array]) -> list[Array]:
        # A graph of its own: functions of these names are there already, with other conditions.
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            tf.compat.v1.import_graph_def(bounded, name="")
            found: list[Array] = session.run(results, dict(zip(names, arrays, strict=True)))
            return found

    return run


def bounded_graph(graph: Any, max_steps: Mapping[str, int]) -> Any:
    """Return a GraphDef whose While ops end after ``max_steps``, by the names of their layers."""
    if not max_steps:
        return graph
    bounded = type(graph)()
    bounded.CopyFrom(graph)
    functions = {function.signature.name: function for function in bounded.library.function}
    conditions = {
        node.attr["cond"].func.name: max_steps[name]
        for node in _nodes(bounded)
        if node.op in _LOOPS and (name := name_of_loop(_CALLS.sub("", node.name))) in max_steps
    }
    for name, steps in conditions.items():
        if _has_counter(functions[name]):
            _bound(functions[name], steps)
    return bounded


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _has_counter(condition: Any) -> bool:
    """Return whether the first value of a condition counts steps: a While op made by hand may have none."""
    first = condition.signature.input_arg[0] if condition.signature.input_arg else None
    return first is not None and first.name.endswith("loop_counter")


def _bound(condition: Any, steps: int) -> None:
    """Let a condition, a FunctionDef, also ask whether the counter of steps is below ``steps``."""
    import tensorflow as tf

    types = tf.dtypes.as_dtype(condition.signature.input_arg[0].type)
    limit = condition.node_def.add(name=f"{_SCOPE}/limit", op="Const")
    limit.attr["dtype"].type = types.as_datatype_enum
    limit.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(steps, types))
    counter = condition.signature.input_arg[0].name
    below = condition.node_def.add(name=f"{_SCOPE}/below", op="Less", input=[counter, f"{limit.name}:output:0"])
    below.attr["T"].type = types.as_datatype_enum
    result = condition.signature.output_arg[0].name
    goes_on = condition.node_def.add(name=f"{_SCOPE}/goes_on", op="LogicalAnd")
    goes_on.input.extend([condition.ret[result], f"{below.name}:z:0"])
    condition.ret[result] = f"{goes_on.name}:z:0"
