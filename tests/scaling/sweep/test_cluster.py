"""Sweeps on a real Ray cluster, of processes of this machine: nodes with one core each."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed; --executor=ray is optional")

from scaling.runs import plans
from scaling.sweep import cluster as on_cluster
from scaling.sweep import sweeping
from scaling.sweep.ending import Unfinished
from scaling.sweep.progress import SweepProgress
from scaling.sweep.worker import UNDER_WAY
from tests.conftest import ROOT
from tests.scaling.sweep.test_sweeping import change, command, small_plan, wait_for
from train import run as training
from train.cli import InputError
from train.config import resolve

NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20}
# A lost node is to be missed within two seconds, not half a minute.
WATCHFUL = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def nodes():
    """A cluster of one node, to which a test can add."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = NODE | {"include_dashboard": False, "_system_config": WATCHFUL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


def ray(nodes) -> on_cluster.Cluster:
    return on_cluster.Cluster(address=nodes.address)


def with_checkpoints(plan: plans.Plan) -> plans.Plan:
    for index in range(len(plan.runs)):
        plan = change(plan, index, lambda v: v["checkpoint"].update(every=500))
    return plan


def comparable(result) -> dict:
    """What a record must say on any executor: all but when, where and how fast."""
    elsewhere = {"started", "finished", "seconds", "device", "throughput", "mfu"}
    return {k: v for k, v in vars(result).items() if k not in elsewhere}


def test_a_node_is_lost_in_mid_sweep_and_the_records_are_those_of_this_machine(
    nodes, tmp_path, monkeypatch
):
    plan = with_checkpoints(small_plan(budgets=(2e4, 3e6)))
    plan = change(plan, 0, lambda v: v["optimizer"].update(learning_rate=1e30))
    plan = change(plan, 1, lambda v: v["model"].update(features=5000))
    second = nodes.add_node(**NODE)
    lost, resumed = [], {}
    moved, was_lost = SweepProgress.moved, SweepProgress.lost

    def watch(self, name, step, loss):
        moved(self, name, step, loss)
        if name in lost:
            resumed.setdefault(name, step)
        # Each node has one core, so two runs that have a checkpoint are on two nodes.
        folders = (plans.run_folder(tmp_path / "ray", run) for run in self.active)
        saved = sum(any(folder.glob("checkpoints/[0-9]*[0-9]")) for folder in folders)
        if saved == 2 and second in nodes.list_all_nodes():
            nodes.remove_node(second, allow_graceful=False)

    def note(self, name, reason, again):
        was_lost(self, name, reason, again)
        lost.append(name)
        assert "node" in reason

    monkeypatch.setattr(SweepProgress, "moved", watch)
    monkeypatch.setattr(SweepProgress, "lost", note)
    results = sweeping.sweep(tmp_path / "ray", plan, "fit", cluster=ray(nodes))
    assert [r.status for r in results] == ["diverged", "failed", "ok", "ok", "ok", "ok"]
    (name,) = lost
    # It went on from its checkpoint, not from the start.
    assert resumed[name] > 500
    monkeypatch.undo()
    # A second call finds all done and needs no cluster.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("record.json")}
    gone = on_cluster.Cluster(address="127.0.0.1:1")
    assert sweeping.sweep(tmp_path / "ray", plan, "fit", cluster=gone) == results
    assert {p: p.stat().st_mtime_ns for p in before} == before
    local = sweeping.sweep(tmp_path / "local", plan, "fit", workers=1)
    for ours, theirs in zip(results, local, strict=True):
        assert comparable(ours) == comparable(theirs)


def test_a_sweep_stopped_half_way_finishes_on_the_second_call(nodes, tmp_path):
    plan = small_plan(budgets=(2e4, 2e6), sizes_per_budget=2)
    plans.save(tmp_path / "plan.json", plan)
    flags = ["--executor=ray", f"--address={nodes.address}"]
    process = subprocess.Popen(
        command(tmp_path) + flags, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list(tmp_path.glob("runs/*/metrics.jsonl"))) >= 2, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "goes on from here" in said
    # No run was trained to its end behind our back, and the one under way was saved.
    unfinished = {p.parent for p in tmp_path.glob("runs/*/config.json")} - {
        p.parent for p in tmp_path.glob("runs/*/record.json")
    }
    assert [len(list(folder.glob("checkpoints/[0-9]*"))) for folder in unfinished] == [1]
    results = sweeping.sweep(tmp_path, plan, "fit", cluster=ray(nodes))
    assert [r.status for r in results] == ["ok"] * 4


def test_a_run_whose_worker_always_dies_is_left_for_the_next_call(nodes, tmp_path, monkeypatch):
    plan = small_plan(budgets=(2e6,), sizes_per_budget=1)
    start, executors = on_cluster.RayWorkers.start, []

    def start_and_keep(self, *run):
        executors[:] = [self]
        start(self, *run)

    def kill_the_worker(self, name, step, loss):
        (worker,) = (w for w in executors[0]._workers if w.run == name)
        executors[0]._ray.kill(worker.actor)

    monkeypatch.setattr(on_cluster.RayWorkers, "start", start_and_keep)
    monkeypatch.setattr(on_cluster.RayWorkers, "tries", 2)
    monkeypatch.setattr(SweepProgress, "moved", kill_the_worker)
    with pytest.raises(Unfinished, match=r"not finished: worker on node .* \(2 of 2 tries\)"):
        sweeping.sweep(tmp_path, plan, "fit", cluster=ray(nodes))
    assert not list(tmp_path.rglob("record.json"))


def test_what_the_cluster_cannot_do_is_said_in_one_line(nodes, tmp_path, monkeypatch):
    plan = small_plan(budgets=(2e4,), sizes_per_budget=1)
    with pytest.raises(InputError, match=r"--gpus_per_run: 4; no node .* has more than 0"):
        sweeping.sweep(tmp_path, plan, "fit", cluster=on_cluster.Cluster(nodes.address, 1, 4))
    with pytest.raises(InputError, match=r"--cpus_per_run: 9; no node .* has more than 1"):
        sweeping.sweep(tmp_path, plan, "fit", cluster=on_cluster.Cluster(nodes.address, 9))
    # This path is another folder in each process that has another current directory.
    monkeypatch.chdir(tmp_path)
    blind = Path("/proc/self/cwd/study")
    with pytest.raises(InputError, match=r"node [\d.]+ cannot see it .* all nodes must share it"):
        sweeping.sweep(blind, plan, "fit", cluster=ray(nodes))
    assert not list(tmp_path.rglob("record.json"))


def test_a_worker_waits_for_the_one_that_still_holds_the_folder(tmp_path):
    plan = small_plan(budgets=(2e4,), sizes_per_budget=1)
    worker = on_cluster._Trainer()
    with training.locked(tmp_path):
        worker.train("one", plan.runs[0].config, plan.runs[0].data_sha256, str(tmp_path))
        time.sleep(1.5)
        assert not list(tmp_path.glob("config.json"))
    while (message := worker.listen())[0] in UNDER_WAY:
        pass
    assert message == ("done", "one", "ok")
    assert training.run(resolve(plan.runs[0].config), tmp_path).run == "one"
