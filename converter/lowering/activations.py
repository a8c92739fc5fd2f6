"""Activation functions as TFLite ops, exact and without overflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converter.emit import Emitter
from converter.ir import Activation, Value


def activate(emitter: Emitter, activation: Activation, x: Value) -> Value:
    """Emit ``activation(x)`` and return it."""
    return _EMITTERS[activation](emitter, x)


def _op(builtin: str, options_type: str | None = None) -> Callable[[Emitter, Value], Value]:
    def emit(emitter: Emitter, x: Value) -> Value:
        return emitter.unary(builtin, x, builtin.lower(), options_type=options_type)

    return emit


def _hard_sigmoid(emitter: Emitter, x: Value) -> Value:
    """clip(x / 6 + 1/2, 0, 1)."""
    line = emitter.add(emitter.multiply(x, emitter.number(1.0 / 6.0)), emitter.number(0.5))
    return emitter.maximum(emitter.minimum(line, emitter.number(1.0)), emitter.number(0.0), "hard_sigmoid")


def _selu(emitter: Emitter, x: Value) -> Value:
    """scale * (max(x, 0) + alpha * elu(min(x, 0)))."""
    zero = emitter.number(0.0)
    below = _op("ELU")(emitter, emitter.minimum(x, zero))
    total = emitter.add(emitter.maximum(x, zero), emitter.multiply(below, emitter.number(1.6732632423543772)))
    return emitter.multiply(total, emitter.number(1.0507009873554805), "selu")


def _softplus(emitter: Emitter, x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)): exp never overflows."""
    magnitude = emitter.unary("ABS", x, "abs", options_type="AbsOptions")
    decayed = emitter.unary(
        "EXP", emitter.multiply(magnitude, emitter.number(-1.0)), "exp", options_type="ExpOptions"
    )
    tail = emitter.unary("LOG", emitter.add(decayed, emitter.number(1.0)), "log")
    return emitter.add(emitter.maximum(x, emitter.number(0.0)), tail, "softplus")


def _softsign(emitter: Emitter, x: Value) -> Value:
    """x / (1 + |x|)."""
    magnitude = emitter.unary("ABS", x, "abs", options_type="AbsOptions")
    return emitter.binary(
        "DIV", x, emitter.add(magnitude, emitter.number(1.0)), "softsign", options_type="DivOptions"
    )


def _silu(emitter: Emitter, x: Value) -> Value:
    """x * sigmoid(x)."""
    return emitter.multiply(x, _op("LOGISTIC")(emitter, x), "silu")


_EMITTERS: Mapping[Activation, Callable[[Emitter, Value], Value]] = {
    Activation.LINEAR: lambda _, x: x,
    Activation.TANH: _op("TANH"),
    Activation.SIGMOID: _op("LOGISTIC"),
    Activation.HARD_SIGMOID: _hard_sigmoid,
    Activation.RELU: _op("RELU"),
    Activation.RELU6: _op("RELU6"),
    Activation.ELU: _op("ELU"),
    Activation.SELU: _selu,
    Activation.SOFTPLUS: _softplus,
    Activation.SOFTSIGN: _softsign,
    Activation.SILU: _silu,
    Activation.GELU: _op("GELU", "GeluOptions"),
    Activation.EXPONENTIAL: _op("EXP", "ExpOptions"),
}
