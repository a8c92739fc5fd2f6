"""Whether a model runs on a target: every rule of the target that the model breaks."""

from __future__ import annotations

from collections.abc import Iterator

from converter.errors import Rejection
from converter.ir import Graph, Program, TfliteOp, Value, as_tflite, fused_activation
from converter.ir.operands import LstmOperand
from converter.rules import Rule
from converter.targets.rules import RULES, Rules, Target

_STATEFUL = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_FEATURES = {  # operands of the fused LSTM, and whether it is their presence or their absence that counts
    "coupled gates": (LstmOperand.INPUT_TO_INPUT_WEIGHTS, False),
    "peepholes": (LstmOperand.CELL_TO_FORGET_WEIGHTS, True),
    "projection": (LstmOperand.PROJECTION_WEIGHTS, True),
    "layer normalisation": (LstmOperand.FORGET_LAYER_NORM_COEFFICIENTS, True),
}


def target_rejections(program: Program, target: Target) -> Iterator[Rejection]:
    """Yield everything that keeps a program of TFLite ops from running on ``target``, each reason once."""
    rules = RULES[target]
    seen: set[tuple[str, str]] = set()
    for rejection in _rejections(program, rules):
        key = (rejection.rule, rejection.detail)
        if key not in seen:
            seen.add(key)
            yield rejection


def _rejections(program: Program, rules: Rules) -> Iterator[Rejection]:
    yield from _boundary_rejections(program, rules)
    for graph in program.graphs:
        yield from _tensor_rejections(graph, rules)
        for op in graph.ops:
            if isinstance(op, TfliteOp):
                yield from _op_rejections(op, rules)


def _boundary_rejections(program: Program, rules: Rules) -> Iterator[Rejection]:
    names = program.signature
    sides = (
        ("input", names.inputs, program.main.inputs),
        ("output", names.outputs, program.main.outputs),
    )
    for side, labels, values in sides:
        for name, value in zip(labels, values, strict=True):
            if rules.boundary is not None and value.type.dtype not in rules.boundary:
                types = ", ".join(sorted(dtype.value for dtype in rules.boundary))
                yield Rejection(
                    Rule.TARGET_BOUNDARY_TYPE,
                    name,
                    f"the {side} {name} is {value.type.dtype.value}, but {rules.title} only passes {types}",
                    "cast it inside the model",
                )
    if not rules.direct_outputs:
        yield from _output_rejections(program, rules)


def _output_rejections(program: Program, rules: Rules) -> Iterator[Rejection]:
    for name in direct_outputs(program.main):
        yield Rejection(
            Rule.TARGET_DIRECT_OUTPUT,
            name.name,
            f"the output {name.name} is the direct result of a WHILE, an input or another output; "
            f"{rules.title} returns garbage for it, or refuses it",
            "convert the model for this target, which copies such outputs",
        )


def direct_outputs(graph: Graph) -> Iterator[Value]:
    """Yield the outputs that are no result of their own: of a WHILE, an input, a constant, or named before."""
    taken = {*graph.inputs, *(value for op in graph.ops if as_tflite(op, "WHILE") for value in op.results)}
    for value in graph.outputs:
        if value in taken or value.is_constant:
            yield value
        taken.add(value)


def _tensor_rejections(graph: Graph, rules: Rules) -> Iterator[Rejection]:
    for value in graph.values():
        if value.is_variable and not rules.variable_tensors:
            yield Rejection(
                Rule.TARGET_VARIABLE_TENSORS,
                value.name,
                f"{rules.title} has no state tensors, which every fused recurrent op needs",
                "convert the model for this target: its recurrences become loops",
            )
            break
    if rules.dynamic:
        return
    for value in graph.values():
        if not value.type.is_static:
            yield Rejection(
                Rule.TARGET_STATIC_SHAPES,
                value.name,
                f"{value.name} is {value.type}, but {rules.title} needs every dimension fixed",
                "fix the batch and time dimensions of the inputs",
            )
            return


def _op_rejections(op: TfliteOp, rules: Rules) -> Iterator[Rejection]:
    newest = rules.versions.get(op.builtin, 0)
    if op.custom_code is not None:
        yield Rejection(
            Rule.TARGET_OP,
            op.name,
            f"{rules.title} does not have the custom op {op.custom_code}",
            "replace the layer that it comes from",
        )
    elif newest == 0:
        yield Rejection(
            Rule.TARGET_OP, op.name, f"{rules.title} has no {op.builtin}", "replace the layer it comes from"
        )
    elif op.version > newest:
        yield Rejection(
            Rule.TARGET_OP_VERSION,
            op.name,
            f"{op.builtin} has version {op.version}, but {rules.title} supports it up to version {newest}",
            "use a newer runtime, or replace the layer that it comes from",
        )
    limit = rules.concatenation_operands
    if limit is not None and op.builtin == "CONCATENATION" and len(op.operands) > limit:
        yield Rejection(
            Rule.TARGET_CONCATENATION,
            op.name,
            f"CONCATENATION has {len(op.operands)} operands, but {rules.title} takes at most {limit}",
            "convert the model for this target, or concatenate in several steps",
        )
    if not rules.fused_features and op.builtin == _STATEFUL:
        yield from _fused_rejections(op, rules)


def _fused_rejections(op: TfliteOp, rules: Rules) -> Iterator[Rejection]:
    if len(op.operands) != len(LstmOperand):
        yield Rejection(
            Rule.TARGET_FUSED_LSTM,
            op.name,
            f"{op.name} has {len(op.operands)} operands, but the fused LSTM of {rules.title} takes "
            f"{len(LstmOperand)}",
            "convert the model for this target",
        )
        return
    found = [what for what, (place, present) in _FEATURES.items() if (op.operands[place] is not None) is present]
    if fused_activation(op) != "TANH":
        found.append("activation but tanh")
    for what in found:
        yield Rejection(
            Rule.TARGET_FUSED_LSTM,
            op.name,
            f"the fused LSTM of {rules.title} does not support {what}",
            "convert the model for this target: the recurrence becomes a loop",
        )
