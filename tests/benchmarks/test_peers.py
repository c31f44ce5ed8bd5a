"""Peers are timed in turn, by what they say of themselves."""

import io
import json
import sys

import pytest

from benchmarks.peers import race, timing

SHAPES = {"vocab": 8, "layers": 1, "width": 8, "heads": 1, "batch": 1, "length": 4}
# Takes a step in a hundredth of a second, two in a call, and says that it has seven parameters.
PEER = """
import time
from benchmarks.peers import timing
assert timing.asked()["width"] == 8
timing.serve(7, lambda: time.sleep(0.02), lambda done: None, steps=2)
"""


def test_a_peer_says_its_size_and_then_what_a_step_took(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("0.001\n0.05\n"))
    calls = []
    timing.serve(5, lambda: calls.append(1), lambda done: None, steps=4)
    size, *_, some = map(json.loads, capsys.readouterr().out.splitlines())
    assert size == {"N": 5}
    assert set(some) == {"wall", "cpu", "faults"}
    taken = 4 * (len(calls) - 3)  # three calls to warm up
    assert some["wall"] * taken == pytest.approx(0.05, abs=0.04)


def test_a_race_is_by_rounds(monkeypatch, tmp_path):
    (tmp_path / "peer.py").write_text(PEER)
    monkeypatch.setattr(race, "SECONDS", 0.1)
    monkeypatch.setattr(race, "PEERS", {"a": ("own", "peer"), "b": ("own", "peer")})
    found = race.race(["a", "b"], SHAPES, {"own": ""}, str(tmp_path), 3)
    assert [x.N for x in found.values()] == [7, 7]
    assert all(wall >= 0.01 for x in found.values() for wall in x.wall)
    assert len(found["a"].times(found["b"])) == 3


def test_a_ratio_is_of_the_same_round():
    slow = race.Timed(1, [2.0, 9.0, 4.0], [], [])
    fast = race.Timed(1, [1.0, 3.0, 4.0], [], [])
    assert slow.times(fast) == [1.0, 2.0, 3.0]


def test_a_peer_that_does_not_start_is_named(monkeypatch, tmp_path):
    (tmp_path / "peer.py").write_text("raise SystemExit('no such library')")
    monkeypatch.setattr(race, "PEERS", {"a": ("own", "peer")})
    with pytest.raises(race.InputError, match="--peers: a: no such library"):
        race.race(["a"], SHAPES, {"own": ""}, str(tmp_path), 1)
