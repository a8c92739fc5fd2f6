"""Activation functions as TFLite ops, exact and without overflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converter.emission.emitter import Emitter
from converter.ir import Activation, Value


def activate(emitter: Emitter, activation: Activation, x: Value) -> Value:
    """Emit ``activation(x)`` and return it."""
    return _EMITTERS[activation](emitter, x)


def _op(builtin: str) -> Callable[[Emitter, Value], Value]:
    def emit(emitter: Emitter, x: Value) -> Value:
        return emitter.unary(builtin, x, builtin.lower())

    return emit


def _clipped(emitter: Emitter, x: Value, lower: float, upper: float, name: str) -> Value:
    return emitter.maximum(emitter.minimum(x, emitter.number(upper)), emitter.number(lower), name)


def _ramp(slope: float, name: str) -> Callable[[Emitter, Value], Value]:
    """clip(slope * x + 1/2, 0, 1)."""

    def emit(emitter: Emitter, x: Value) -> Value:
        line = emitter.add(emitter.multiply(x, emitter.number(slope)), emitter.number(0.5))
        return _clipped(emitter, line, 0.0, 1.0, name)

    return emit


_hard_sigmoid = _ramp(1.0 / 6.0, "hard_sigmoid")


def _selu(emitter: Emitter, x: Value) -> Value:
    """scale * (max(x, 0) + alpha * elu(min(x, 0)))."""
    zero = emitter.number(0.0)
    below = _op("ELU")(emitter, emitter.minimum(x, zero))
    total = emitter.add(emitter.maximum(x, zero), emitter.multiply(below, emitter.number(1.6732632423543772)))
    return emitter.multiply(total, emitter.number(1.0507009873554805), "selu")


def _softplus(emitter: Emitter, x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)): exp never overflows."""
    magnitude = emitter.unary("ABS", x, "abs")
    decayed = emitter.unary("EXP", emitter.multiply(magnitude, emitter.number(-1.0)), "exp")
    tail = emitter.unary("LOG", emitter.add(decayed, emitter.number(1.0)), "log")
    return emitter.add(emitter.maximum(x, emitter.number(0.0)), tail, "softplus")


def _softsign(emitter: Emitter, x: Value) -> Value:
    """x / (1 + |x|)."""
    magnitude = emitter.unary("ABS", x, "abs")
    return emitter.binary("DIV", x, emitter.add(magnitude, emitter.number(1.0)), "softsign")


def _silu(emitter: Emitter, x: Value) -> Value:
    """x * sigmoid(x)."""
    return emitter.multiply(x, _op("LOGISTIC")(emitter, x), "silu")


def _hard_silu(emitter: Emitter, x: Value) -> Value:
    """x * hard_sigmoid(x)."""
    return emitter.multiply(x, _hard_sigmoid(emitter, x), "hard_silu")


def _hard_tanh(emitter: Emitter, x: Value) -> Value:
    """clip(x, -1, 1)."""
    return _clipped(emitter, x, -1.0, 1.0, "hard_tanh")


def _leaky_relu(emitter: Emitter, x: Value) -> Value:
    """max(x, x / 5)."""
    return emitter.maximum(x, emitter.multiply(x, emitter.number(0.2)), "leaky_relu")


def _log_sigmoid(emitter: Emitter, x: Value) -> Value:
    """-softplus(-x)."""
    minus = emitter.number(-1.0)
    return emitter.multiply(_softplus(emitter, emitter.multiply(x, minus)), minus, "log_sigmoid")


def _mish(emitter: Emitter, x: Value) -> Value:
    """x * tanh(softplus(x))."""
    return emitter.multiply(x, _op("TANH")(emitter, _softplus(emitter, x)), "mish")


def _soft_shrink(emitter: Emitter, x: Value) -> Value:
    """x - clip(x, -1/2, 1/2)."""
    return emitter.subtract(x, _clipped(emitter, x, -0.5, 0.5, "small"), "soft_shrink")


def _hard_shrink(emitter: Emitter, x: Value) -> Value:
    """x where |x| > 1/2, else 0."""
    magnitude = emitter.unary("ABS", x, "abs")
    is_large = emitter.less(emitter.number(0.5), magnitude, "is_large")
    return emitter.select(is_large, x, emitter.zeros_like(x), "hard_shrink")


def _sparse_plus(emitter: Emitter, x: Value) -> Value:
    """(clip(x, -1, 1) + 1)^2 / 4 + max(x - 1, 0)."""
    one = emitter.number(1.0)
    root = emitter.multiply(emitter.add(_hard_tanh(emitter, x), one), emitter.number(0.5))
    above = emitter.maximum(emitter.subtract(x, one), emitter.number(0.0))
    return emitter.add(emitter.multiply(root, root), above, "sparse_plus")


def _squareplus(emitter: Emitter, x: Value) -> Value:
    """(x + sqrt(x^2 + 4)) / 2."""
    root = emitter.unary("SQRT", emitter.add(emitter.multiply(x, x), emitter.number(4.0)), "root")
    return emitter.multiply(emitter.add(x, root), emitter.number(0.5), "squareplus")


def _tanh_shrink(emitter: Emitter, x: Value) -> Value:
    """x - tanh(x)."""
    return emitter.subtract(x, _op("TANH")(emitter, x), "tanh_shrink")


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
    Activation.GELU: _op("GELU"),
    Activation.EXPONENTIAL: _op("EXP"),
    Activation.KERAS2_HARD_SIGMOID: _ramp(0.2, "hard_sigmoid"),
    Activation.HARD_SHRINK: _hard_shrink,
    Activation.HARD_SILU: _hard_silu,
    Activation.HARD_TANH: _hard_tanh,
    Activation.LEAKY_RELU: _leaky_relu,
    Activation.LOG_SIGMOID: _log_sigmoid,
    Activation.MISH: _mish,
    Activation.SOFT_SHRINK: _soft_shrink,
    Activation.SPARSE_PLUS: _sparse_plus,
    Activation.SPARSE_SIGMOID: _ramp(0.5, "sparse_sigmoid"),
    Activation.SQUAREPLUS: _squareplus,
    Activation.TANH_SHRINK: _tanh_shrink,
}
