"""How far a study has come, from what its sweep leaves behind."""

import os
import shutil
import time
import types

import pytest

from scaling.runs import plans
from scaling.status import command
from train.cli import InputError


@pytest.fixture
def half_way(known_study, tmp_path):
    """A study of which one run has ended, one moved just now, one an hour ago; all that C says."""
    shutil.copy(known_study / "plan.json", tmp_path)
    plan = plans.load(tmp_path / "plan.json")
    ended, moving, still = plan.role("fit")[:3]
    record = known_study / "runs" / ended.run / "record.json"
    (tmp_path / "runs" / ended.run).mkdir(parents=True)
    shutil.copy(record, tmp_path / "runs" / ended.run)
    for run in (moving, still):
        path = tmp_path / "runs" / run.run / "metrics.jsonl"
        path.parent.mkdir()
        path.write_text(f'{{"step": {run.config["steps"] // 2}, "loss": 1.0}}\n{{"step": 9')
    os.utime(path, (time.time() - 3600,) * 2)
    return tmp_path, plan


def test_a_study_half_way(half_way, capsys):
    folder, plan = half_way
    before = sorted(folder.rglob("*"))
    command.run(types.SimpleNamespace(workdir=str(folder)))
    said = capsys.readouterr().out
    waiting = len(plan.runs) - 3
    assert f"{len(plan.runs)} runs: 1 ok, 1 under way, 1 stopped, {waiting} waiting; about" in said
    assert "1:00:00 ago" in said
    assert sorted(folder.rglob("*")) == before
    states = [command.state(folder, run) for run in plan.runs]
    took = states[0].record
    C = [s.run.C["forward"] * (1 - s.step / s.run.config["steps"]) for s in states[1:]]
    expected = sum(C) * took.seconds["total"] / took.C["forward"]
    assert command.seconds_left(states) == pytest.approx(expected)


def test_nothing_is_said_of_what_is_no_study(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json: no such file"):
        command.run(types.SimpleNamespace(workdir=str(tmp_path)))
