"""Random networks of the frontend, converted: what the runtimes give against the evaluator and TensorFlow.

The reference of the runtimes is the float64 evaluator on the converted program, wherever it knows every op; and
TensorFlow's own run of the function has to agree with it. Where it does not, TensorFlow's run is the reference.

`make test` runs some; ``make fuzz N=5000`` a twentieth of N. Every failure that was found has a named test.
"""

from __future__ import annotations

import os

import numpy as np
from hypothesis import HealthCheck, Phase, event, given, settings

import tflite_rnn as rnn
from converter.errors import InvalidProgramError
from converter.ir import evaluate
from converter.opening import open_source
from tests.nn.random_networks import CellPlan, LayerPlan, Network, NetworkPlan, networks
from tests.runtimes import INSTALLED, QUICK
from tflite_rnn.runtime import WorkerPool, compare

SAMPLE = 8
EXAMPLES = int(os.environ.get("TFLITE_RNN_EXAMPLES", "0")) // 20 or SAMPLE
IS_SAMPLE = EXAMPLES <= SAMPLE
SIZES = ((5, 2), (3, 4))
INTERPRETERS = QUICK if IS_SAMPLE else INSTALLED


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=IS_SAMPLE,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(plan=networks())
def test_random_networks_are_exact(plan: NetworkPlan, pool: WorkerPool) -> None:
    network = Network(plan)
    source = open_source(network.function())
    converted = rnn.convert(source)
    event(f"lowerings {', '.join(sorted({record.lowering for record in converted.report.lowerings}))}")
    cases = network.cases(SIZES)
    computed = [source(case) for case in cases]
    try:
        expected = [evaluate(converted.program, case) for case in cases]
    except InvalidProgramError as unknown:
        event(f"reference TensorFlow: {str(unknown).split(',')[0]}")
        report = compare(converted.model, source, cases, pool=pool, runtimes=INTERPRETERS, atol=2e-5, rtol=2e-5)
    else:
        event("reference evaluator")
        for seen, wanted in zip(computed, expected, strict=True):
            for name, array in wanted.items():
                np.testing.assert_allclose(seen[name], array, rtol=2e-5, atol=2e-5, err_msg=name)
        report = compare(
            converted.model,
            lambda inputs: evaluate(converted.program, inputs),
            cases,
            pool=pool,
            runtimes=INTERPRETERS,
        )
    assert report.ok, str(report)


def test_a_static_rnn_follows_others_of_as_many_steps(pool: WorkerPool) -> None:
    """How many steps there are must outlive the saving of the function: the list of steps is of that length."""
    layers = tuple(LayerPlan(call, CellPlan("rnn", 2)) for call in ("dynamic", "dynamic", "static"))
    network = Network(NetworkPlan(True, 4, None, words=False, before="", layers=layers, seed=0))
    source = open_source(network.function())
    report = compare(
        rnn.convert(source).model, source, network.cases(SIZES), pool=pool, runtimes=INTERPRETERS, atol=2e-5
    )
    assert report.ok, str(report)
