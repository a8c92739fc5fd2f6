from __future__ import annotations

import time

import pytest

from tests.models.worker_processes import Command, cluster, run_together

SLEEP = Command(("-c", "import time; print('asleep', flush=True); time.sleep(60)"))
FAIL = Command(("-c", "import time; time.sleep(0.5); raise SystemExit('no peer')"))


def test_processes_that_end_well_are_no_problem() -> None:
    run_together([Command(("-c", "import os; assert os.environ['A'] == '1'"), {"A": "1"})] * 2, limit=20)


def test_one_that_fails_ends_the_others_and_the_message_has_its_last_words() -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"process 1 of 2 ended with status 1(.|\n)*no peer"):
        run_together([SLEEP, FAIL], limit=50)
    assert time.monotonic() - started < 30


def test_one_that_hangs_is_ended_and_the_message_has_its_last_words() -> None:
    with pytest.raises(AssertionError, match=r"processes \[0\] of 1 did not end within 1 s(.|\n)*asleep"):
        run_together([SLEEP], limit=1)


def test_the_workers_of_a_cluster_differ_in_their_index_only() -> None:
    first, second = cluster(2, "-m", "module")
    assert first.arguments == second.arguments == ("-m", "module")
    configs = [command.environment["TF_CONFIG"] for command in (first, second)]
    assert configs[0] != configs[1]
    assert configs[0].replace('"index": 0', '"index": 1') == configs[1]
