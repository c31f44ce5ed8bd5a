"""A sweep's time left, by a clock that is set."""

import math
from types import SimpleNamespace

import pytest

from scaling.sweep import progress


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def planned(name: str, flops: float) -> SimpleNamespace:
    return SimpleNamespace(run=name, C={"forward": flops}, config={"steps": 100})


def test_time_left_is_that_of_a_queue_of_runs_which_take_what_others_took(clock):
    # A run takes 10 seconds to start and one for each unit of FLOPs.
    runs = {name: planned(name, flops) for name, flops in zip("abcde", (40, 30, 20, 10, 5))}
    shown = progress.SweepProgress("study", "fit", list(runs.values()), list(runs.values()))
    shown.started(runs["a"])
    shown.started(runs["b"])
    assert math.isnan(shown._seconds_left())
    clock.seconds += 25
    shown.moved("a", 50, 1.0)  # the one sign so far: all scales with it, 50 seconds for 40
    # b takes 37.5, then d, then e; after the 25 that a has left, c takes another 25.
    assert shown._seconds_left() == pytest.approx(1.25 * (30 + 10 + 5))
    clock.seconds += 15
    shown.ended("b", "ok")  # 40 seconds
    clock.seconds += 10
    shown.ended("a", "ok")  # 50 seconds
    shown.started(runs["c"])
    shown.moved("c", 50, 1.0)
    # c has 15 of its 30 seconds left, then e comes; beside it d takes 20.
    assert shown._seconds_left() == pytest.approx(30.0)
    shown.lost("c", "its worker died", again=True)
    assert shown._seconds_left() == pytest.approx(35.0)  # c again, then nothing; d, then e
    for name in "cde":
        shown.started(runs[name])
        shown.ended(name, "ok")
    assert shown._seconds_left() == 0.0


def test_a_run_that_failed_says_nothing_of_how_long_others_take(clock):
    runs = [planned("a", 10), planned("b", 10)]
    shown = progress.SweepProgress("study", "fit", runs, runs)
    shown.started(runs[0])
    clock.seconds += 1
    shown.ended("a", "failed")
    assert math.isnan(shown._seconds_left())
