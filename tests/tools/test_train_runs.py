"""Jobs that run processes: some at a time, on processors of their own, and until they are interrupted."""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from flemme_monai.commands.train_runs import run_jobs, run_logged


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not pin processes")
def test_jobs_at_a_time_keep_to_processors_of_their_own() -> None:
    mine = os.sched_getaffinity(0)
    both = threading.Barrier(2)

    def job(threads: int | None) -> set[int]:
        both.wait(60)  # so that each thread has one
        return os.sched_getaffinity(0)

    found, failed = run_jobs({0: job, 1: job}, 2, lambda key, value: "")
    assert failed == []
    assert found[0] | found[1] == mine
    assert len(mine) == 1 or not found[0] & found[1]
    assert os.sched_getaffinity(0) == mine
    assert run_jobs({0: lambda threads: os.sched_getaffinity(0)}, 1, lambda key, value: "") == ({0: mine}, [])


def test_an_interruption_ends_what_runs_and_begins_nothing(tmp_path: Path) -> None:
    began = []

    def sleep(threads: int | None) -> None:
        began.append(time.monotonic())
        run_logged([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")

    def interrupt(threads: int | None) -> None:
        while not began:
            time.sleep(0.01)
        time.sleep(0.5)
        raise KeyboardInterrupt

    jobs = {"long": sleep, "interrupt": interrupt, **{i: partial(sleep) for i in range(3)}}
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, 2, lambda key, value: "")
    assert time.monotonic() - began[0] < 30
    assert len(began) <= 2  # the thread of the interruption may have taken one before it was seen


def test_the_time_that_is_left_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    run_jobs({i: lambda threads: 1 for i in range(2)}, 1, lambda key, value: f"job {key}")
    assert capsys.readouterr().out == "1 of 2: job 0; about 0 s left\n2 of 2: job 1\n"
