import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from configs.studies import linear
from scaling.plan import planning
from scaling.runs import plans, records
from scaling.sweep import sweeping, worker
from scaling.sweep.ending import Unfinished
from tests import verbs
from tests.conftest import ROOT
from train import config as configuration
from train import run as training
from train.cli import InputError


def small_plan(**changes) -> plans.Plan:
    config = linear.get_config()
    config.sizes, config.sizes_per_budget = (4, 6, 8, 12), 3
    config.budgets, config.heldout = (2e4, 1e5), ()
    config.update_from_flattened_dict(changes)
    return planning.make(planning.resolve(config.to_dict()))


def change(plan: plans.Plan, index: int, edit) -> plans.Plan:
    """The plan with one run's config edited, and its digest made to fit."""
    runs = list(plan.runs)
    values = json.loads(json.dumps(runs[index].config))
    edit(values)
    digest = configuration.digest(configuration.resolve(values))
    runs[index] = dataclasses.replace(runs[index], config=values, config_sha256=digest)
    return dataclasses.replace(plan, runs=tuple(runs))


def finish(tmp_path, run) -> None:
    """Leaves the record that a worker would."""
    values = configuration.resolve(run.config)
    training.run(values, plans.run_folder(tmp_path, run.run), name=run.run)


def test_good_bad_and_crashed_runs_side_by_side(tmp_path):
    plan = small_plan()
    plan = change(plan, 1, lambda v: v["optimizer"].update(learning_rate=1e30))
    plan = change(plan, 2, lambda v: v["model"].update(features=5000))
    results = sweeping.sweep(tmp_path, plan, "fit", workers=2)
    assert [r.status for r in results] == ["ok", "diverged", "failed", "ok", "ok", "ok"]
    assert " at step " in results[1].reason
    assert "features: 5000; the data has 1024" in results[2].reason
    table = records.table(tmp_path, plan)
    assert list(table.run) == [run.run for run in plan.runs]
    assert list(table.status) == [r.status for r in results]
    assert table.loss.isna().tolist() == [False, True, True, False, False, False]
    # A second call finds all done and touches nothing.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("record.json")}
    assert sweeping.sweep(tmp_path, plan, "fit", workers=2) == results
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # Only runs that ended well reach a law.
    from scaling.runs.table import fit_rows, read_runs

    assert len(fit_rows(read_runs(str(records.save_table(tmp_path, plan))))) == 4


def command(workdir) -> list[str]:
    return [sys.executable, "-m", "scaling.sweep", f"--workdir={workdir}", "--workers=2"]


def wait_for(condition, process) -> None:
    def so() -> bool:
        assert condition() or process.poll() is None, "the sweep ended by itself"
        return condition()

    wait_until(so)


def wait_until(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def test_a_sweep_killed_half_way_takes_its_workers_along_and_goes_on_at_the_second_call(tmp_path):
    plan = small_plan(budgets=(1e5, 6e5))
    # In the sweep that is killed the last run cannot end, however late the signal comes.
    endless = change(plan, -1, lambda v: v.update(steps=10**9))
    plans.save(tmp_path / "plan.json", endless)
    process = subprocess.Popen(command(tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/record.json"))) >= 2, process)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(children) >= 2
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    wait_until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))
    unfinished = plans.run_folder(tmp_path, plan.runs[-1].run)
    shutil.rmtree(unfinished, ignore_errors=True)  # which is another run's than the plan's
    done = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("runs/*/record.json")}
    assert 2 <= len(done) < len(plan.runs)
    results = sweeping.sweep(tmp_path, plan, "fit", workers=2)
    assert [r.run for r in results] == [r.run for r in plan.runs]
    assert all(r.status == "ok" for r in results)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in done} == done


def test_a_run_whose_worker_dies_is_tried_again_and_then_left_for_the_next_call(
    tmp_path, monkeypatch
):
    plan = small_plan(budgets=(2e5,), sizes_per_budget=1)
    (run,) = plan.runs
    killed, started = [], []

    def kill_the_worker(self, name, step, loss):
        process = next(w.process for w in started[-1].workers if w.run == name)
        if len(killed) < kills:
            killed.append(process.pid)
            process.kill()

    start = worker.Processes.start
    monkeypatch.setattr(
        worker.Processes, "start", lambda self, *a: (started.append(self), start(self, *a))[1]
    )
    from scaling.sweep.progress import SweepProgress

    monkeypatch.setattr(SweepProgress, "moved", kill_the_worker)
    kills = 2
    with pytest.raises(Unfinished, match=r"not finished: worker .* code -9 \(2 of 2 tries\)"):
        sweeping.sweep(tmp_path, plan, "fit", workers=1)
    assert not list(tmp_path.rglob("record.json"))
    kills = 3
    (result,) = sweeping.sweep(tmp_path, plan, "fit", workers=1)
    assert (result.status, len(killed)) == ("ok", 3)
    lines = (plans.run_folder(tmp_path, run.run) / "attempts.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == [
        "worker process died with exit code -9"
    ] * 3


def test_a_record_of_another_run_is_refused(tmp_path):
    plan = small_plan(budgets=(2e4,), sizes_per_budget=1)
    finish(tmp_path, plan.runs[0])
    other = change(plan, 0, lambda v: v.update(seed=7))
    with pytest.raises(InputError, match=r"not the run that is planned: config.seed: 0, not 7"):
        records.table(tmp_path, other)


def test_a_corrupt_record_stops_the_sweep_with_its_name(tmp_path):
    plan = small_plan(budgets=(2e4,), sizes_per_budget=1)
    path = plans.run_folder(tmp_path, plan.runs[0].run) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1}')
    with pytest.raises(InputError, match=r"record.json: .*missing"):
        sweeping.sweep(tmp_path, plan, "fit")


def test_cores_are_shared_out():
    cores = worker._cores()
    shares = worker._share_cores(len(cores))
    assert sorted(core for share in shares for core in share) == cores
    assert worker._share_cores(1) == [cores]
    assert worker._share_cores(len(cores) + 1) == [None] * (len(cores) + 1)


def test_a_cluster_without_ray_or_flags_without_a_cluster_are_one_line(tmp_path, monkeypatch):
    plans.save(tmp_path / "plan.json", small_plan(budgets=(2e4,), sizes_per_budget=1))
    monkeypatch.setitem(sys.modules, "ray", None)  # as on a machine that does not have it
    for flag, message in (
        ("--executor=ray", r"error: --executor=ray needs ray: pip install 'ray==[\d.]+'"),
        ("--gpus_per_run=1", r"error: --gpus_per_run: 1; only with --executor=ray"),
    ):
        done = verbs.call("scaling.sweep", f"--workdir={tmp_path}", "--workers=2", flag)
        assert done.returncode == 2
        assert re.fullmatch(message, done.stderr.strip())


def test_what_a_run_began_with_is_in_the_table(tmp_path):
    plan = small_plan(budgets=(2e4, 1e5), sizes_per_budget=1)
    first, last = plan.runs
    source = training.run(configuration.resolve(last.config), tmp_path / "source")
    where = str(tmp_path / "source")
    tuned = change(plan, 1, lambda v: v["start"].update(run=where))
    (_, ended) = sweeping.sweep(tmp_path, tuned, "fit", workers=1)
    assert (ended.status, ended.start["config_sha256"]) == ("ok", source.config_sha256)
    table = records.table(tmp_path, tuned)
    assert table.start_run.fillna("").tolist() == ["", where]
    assert table.start_D.tolist()[1] == table.D.tolist()[1] == source.D
    assert "start_D" not in records.table(tmp_path, dataclasses.replace(plan, runs=(first,)))
