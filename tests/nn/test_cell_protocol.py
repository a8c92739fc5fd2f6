"""What dynamic_rnn asks of a cell: parts, never a class."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.nn.cases import B, Duck, Sum, T, U, X
from tflite_rnn import nn


@pytest.fixture(params=[nn.dynamic_rnn, nn.lite.dynamic_rnn], ids=["nn", "lite"])
def dynamic_rnn(request):
    return lambda *args, **options: request.param(*args, **{"time_major": True, "dtype": tf.float32, **options})


PARTS = {
    "output_size": "'output_size' property is missing",
    "state_size": "'state_size' property is missing",
    "zero_state": "either 'zero_state' or 'get_initial_state' method is required",
    "__call__": "is not callable",
}


@pytest.mark.parametrize("missing", [["output_size"], ["state_size", "__call__"], ["zero_state"], list(PARTS)])
def test_every_missing_part_is_listed(dynamic_rnn, missing):
    members = {"output_size": 3, "state_size": 3, "zero_state": len, "__call__": len, "__repr__": lambda _: "it"}
    cell = type("Part", (), {name: value for name, value in members.items() if name not in missing})()
    with pytest.raises(TypeError) as error:
        dynamic_rnn(cell, X)
    listed = ", ".join(message for part, message in PARTS.items() if part in missing)
    assert str(error.value) == f"The argument 'cell' (it) is not an RNNCell: {listed}."


def test_a_duck_is_a_cell(dynamic_rnn):
    outputs, state = dynamic_rnn(Sum(3), X)
    np.testing.assert_allclose(outputs, np.cumsum(X, axis=0), 1e-5, 1e-6)
    np.testing.assert_allclose(state, X.sum(axis=0), 1e-5, 1e-6)


class Starting(Sum):
    """Knows two initial states, and records how it was asked for one."""

    def get_initial_state(self, **arguments):
        self.asked = arguments
        return tf.ones([B, self.state_size])


def test_get_initial_state_is_called_by_keyword_and_preferred_over_zero_state(dynamic_rnn):
    cell = Starting(3)
    outputs, _ = dynamic_rnn(cell, X)
    np.testing.assert_allclose(outputs, np.cumsum(X, axis=0) + 1, 1e-5, 1e-6)
    assert cell.asked == {"inputs": None, "batch_size": B, "dtype": tf.float32}


def test_zero_state_is_called_where_there_is_no_get_initial_state(dynamic_rnn):
    cell = Starting(3)
    cell.get_initial_state = None
    np.testing.assert_allclose(dynamic_rnn(cell, X)[0], np.cumsum(X, axis=0), 1e-5, 1e-6)


def test_neither_is_called_with_an_initial_state(dynamic_rnn):
    cell = Starting(3)
    dynamic_rnn(cell, X, initial_state=np.zeros([B, 3], np.float32))
    assert not hasattr(cell, "asked")


def test_the_batch_size_a_cell_is_asked_for_is_a_tensor_where_it_is_not_known():
    cell = Starting(3)
    function = tf.function(lambda x: nn.dynamic_rnn(cell, x, dtype=tf.float32)[0])
    function.get_concrete_function(tf.TensorSpec([None, T, 3]))
    assert tf.is_tensor(cell.asked["batch_size"])


class Wrong(Duck):
    """A duck that returns another structure than it promised."""

    def __init__(self, output=None, state=None):
        super().__init__()
        self.wrong_output, self.wrong_state = output, state

    def __call__(self, inputs, state):
        output, state = super().__call__(inputs, state)
        return self.wrong_output or output, self.wrong_state or state


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
def test_a_cell_that_breaks_its_promise_is_refused(dynamic_rnn, graph):
    inputs = {"a": X[:, :, :2], "b": X[:, :, :2]}

    def build(cell):
        call = lambda: dynamic_rnn(cell, inputs)  # noqa: E731 - the very same call, traced or not
        return tf.function(call, autograph=False)() if graph else call()

    with pytest.raises(ValueError, match="the output of the cell must have the structure"):
        build(Wrong(output=(tf.zeros([B, 2]),)))
    with pytest.raises(ValueError, match="the new state of the cell must have the structure"):
        build(Wrong(state={"rows": tf.zeros([B]), "other": tf.zeros([])}))


def test_a_subclass_of_rnncell_is_an_ordinary_cell(dynamic_rnn):
    class Scaled(nn.RNNCell):
        state_size = output_size = U

        def build(self, inputs_shape):
            self.scale = self.add_variable("scale", [inputs_shape[1], U], tf.compat.v1.ones_initializer())

        def call(self, inputs, state):
            output = tf.matmul(inputs, self.scale) + state
            return output, output

    cell = Scaled()
    outputs, _ = dynamic_rnn(cell, X)
    np.testing.assert_allclose(outputs, np.cumsum(X @ np.ones([3, U]), axis=0), 1e-5, 1e-5)
    assert [variable.name for variable in cell.variables] == ["rnn/scaled/scale:0"]


def test_a_keras_3_cell_does_not_speak_the_protocol(dynamic_rnn):
    with pytest.raises(TypeError, match="inputs"):
        dynamic_rnn(tf.keras.layers.LSTMCell(U), X)
