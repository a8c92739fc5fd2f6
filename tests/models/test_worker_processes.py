from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.models.worker_processes import Command, cluster, run_together

SLEEP = """
import os, pathlib, sys, time
print('asleep:', os.getpid(), flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
FAIL = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
sys.exit('no peer')
"""


def test_processes_that_end_well_are_no_problem() -> None:
    run_together([Command(("-c", "import os; assert os.environ['A'] == '1'"), {"A": "1"})] * 2, limit=120)


def test_one_that_fails_ends_the_others_and_the_message_has_everyones_last_words(tmp_path: Path) -> None:
    commands = [Command(("-c", code, str(tmp_path / "asleep"))) for code in (SLEEP, FAIL)]
    with pytest.raises(AssertionError, match=r"process 1 of 2 ended with status 1(.|\n)*no peer") as caught:
        run_together(commands, limit=120)
    (asleep,) = re.findall(r"asleep: (\d+)", str(caught.value))
    with pytest.raises(ProcessLookupError):
        os.kill(int(asleep), 0)


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"processes \[0\] of 1 did not end within 1 s"):
        run_together([Command(("-c", SLEEP, str(tmp_path / "asleep")))], limit=1)


def test_the_workers_of_a_cluster_differ_in_their_index_only() -> None:
    first, second = cluster(2, "-m", "module")
    assert first.arguments == second.arguments == ("-m", "module")
    configs = [command.environment["TF_CONFIG"] for command in (first, second)]
    assert configs[0] != configs[1]
    assert configs[0].replace('"index": 0', '"index": 1') == configs[1]
