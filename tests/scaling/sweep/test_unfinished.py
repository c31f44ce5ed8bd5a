"""What keeps a run from its end, is recorded only where it is the run's own outcome."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import data
from scaling.runs import plans, records
from scaling.sweep import ending, sweeping, worker
from scaling.sweep.ending import Unfinished
from tests.conftest import ROOT
from tests.scaling.sweep.test_sweeping import change, finish, small_plan, wait_for
from train import record
from train import run as training
from train.checkpoint import SaveError
from train.cli import InputError, Unavailable


class Scripted:
    """An executor that trains nothing: each start of a run takes the next of its messages."""

    tries = 2

    def __init__(self, script):
        self.script = {name: list(messages) for name, messages in script.items()}
        self.said, self.killed, self.stopped, self.closed = [], [], 0, False

    def room(self, waiting):
        return waiting > 0 and not self.said

    def start(self, run, config, data_sha256, folder):
        kind, *rest = self.script[run].pop(0)
        self.said.append((kind, run, *rest))

    def messages(self, seconds):
        said, self.said = self.said, []
        for kind, *rest in said:
            if kind == "signal":
                signal.raise_signal(rest[1])
                yield (rest[2], rest[0], *rest[3:])
            elif kind != "silence":
                yield (kind, *rest)

    def kill(self, run):
        self.killed.append(run)

    def stop(self):
        self.stopped += 1

    def close(self):
        self.closed = True


@pytest.fixture
def plan():
    return small_plan(budgets=(2e4,), sizes_per_budget=3)


@pytest.fixture
def swept(plan, tmp_path, monkeypatch):
    """Sweeps the plan with scripted messages, in the order of its runs."""

    def go(*messages, **options):
        script = dict(zip((run.run for run in plan.runs), messages, strict=True))
        executor = Scripted(script)
        monkeypatch.setattr(sweeping, "Processes", lambda count: executor)
        try:
            return sweeping.sweep(tmp_path, plan, "fit", **options)
        finally:
            go.executor = executor

    return go


def recorded(tmp_path) -> dict[str, str]:
    found = {path.parent.name: path for path in tmp_path.glob("runs/*/record.json")}
    return {name: json.loads(path.read_text())["status"] for name, path in found.items()}


def test_what_may_pass_leaves_no_record_and_the_next_call_tries_again(plan, swept, tmp_path):
    first, second, third = (run.run for run in plan.runs)
    finish(tmp_path, plan.runs[0])
    with pytest.raises(Unfinished) as raised:
        # The first is finished already, so it is never asked for.
        swept([], [("kept", "Unavailable: locked")], [("died", "gone"), ("died", "gone")])
    assert set(str(raised.value).splitlines()) == {
        f"{third}: not finished: gone (2 of 2 tries)",
        f"{second}: not finished: Unavailable: locked",
        "2 of 3 fit runs are not finished; the same command tries them again",
    }
    assert recorded(tmp_path) == {first: "ok"}
    attempts = (tmp_path / "runs" / third / "attempts.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in attempts] == ["gone", "gone"]
    # The table has what has ended.
    assert (tmp_path / "runs.csv").read_text().count("\n") == 2
    for run in plan.runs[1:]:
        finish(tmp_path, run)
    assert [r.status for r in swept([], [], [])] == ["ok"] * 3


def test_failed_runs_are_tried_again_when_told_and_their_records_kept(plan, swept, tmp_path):
    for run in plan.runs[1:]:
        finish(tmp_path, run)
    assert [r.status for r in swept([("failed", "a bug")], [], [])] == ["failed", "ok", "ok"]
    assert [r.reason for r in swept([], [], [])] == ["a bug", "", ""]
    assert swept([("failed", "another")], [], [], retry_failed=True)[0].reason == "another"
    folder = plans.run_folder(tmp_path, plan.runs[0].run)
    assert json.loads((folder / "record.failed-1.json").read_text())["reason"] == "a bug"


def test_a_run_that_kills_its_worker_every_time_fails_in_the_end(plan, swept, tmp_path):
    for run in plan.runs[1:]:
        finish(tmp_path, run)
    died, name = [("died", "exit code -11")] * 2, plan.runs[0].run
    folder = plans.run_folder(tmp_path, name)
    for checkpoint in (0, 40):  # a newer checkpoint, or another end, begins the count anew
        (folder / "checkpoints" / str(checkpoint)).mkdir(parents=True)
        for _ in range(2):
            with pytest.raises(Unfinished, match="2 of 2 tries"):
                swept(died, [], [])
    with pytest.raises(Unfinished, match="disk full"):
        swept([("kept", "disk full")], [], [])
    with (folder / "attempts.jsonl").open("a") as file:
        file.write('{"ended": "2\n')  # of a sweep that was killed
    for _ in range(2):
        with pytest.raises(Unfinished, match="2 of 2 tries"):
            swept(died, [], [])
    assert name not in recorded(tmp_path)
    failed, *others = swept(died, [], [])
    assert sweeping.MOST_DEATHS == 6
    assert failed.status == "failed"
    assert failed.reason == "exit code -11, 6 times in a row; see attempts.jsonl"
    assert [r.status for r in others] == ["ok", "ok"]
    assert swept([], [], [])[0].status == "failed"  # and is left so
    with pytest.raises(Unfinished, match="2 of 2 tries"):  # until it is told to be tried
        swept(died, [], [], retry_failed=True)
    assert len((folder / "attempts.jsonl").read_text().splitlines()) == 2
    assert (folder / "attempts.failed-1.jsonl").exists()


def test_a_silent_worker_is_killed_and_its_run_tried_again(plan, swept, tmp_path):
    for run in plan.runs[1:]:
        finish(tmp_path, run)
    with pytest.raises(Unfinished, match=r"took no step for 0 minutes and was killed \(2 of 2"):
        swept([("silence",), ("silence",)], [], [], hang_minutes=0)
    assert swept.executor.killed == [plan.runs[0].run] * 2
    assert swept.executor.closed


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)]
)
def test_a_signal_stops_all_and_decides_the_exit_code(number, code, plan, swept, tmp_path, capsys):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    saved = [("signal", number, "stopped")]
    finish(tmp_path, plan.runs[-1])

    def work():
        swept(saved, saved, saved)

    assert ending.ended(tmp_path, work) == code
    said = capsys.readouterr().out
    assert said == f"{tmp_path}: stopped; the same command goes on from here\n"
    assert (tmp_path / "runs.csv").read_text().count("\n") == 2  # what had ended
    # One whose worker dies as it saves does not go on from here.
    lost = [("signal", number, "died", "killed")]
    assert ending.ended(tmp_path, lambda: swept(lost, lost, lost)) == code
    assert "goes on from here" not in capsys.readouterr().out
    # Outside a sweep, as in a study that fits its laws, it is the same.
    assert ending.ended(tmp_path, lambda: signal.raise_signal(number)) == code
    now = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert now == before


def test_a_metric_that_runs_do_not_have_is_noticed_by_the_first(plan, swept, tmp_path):
    plan.study.update(metrics=["accuracy"])
    finish(tmp_path, plan.runs[0])
    words = r"study\.metrics: 'accuracy'; allowed: .*rmse: fit-\S+ has no other"
    with pytest.raises(InputError, match=words):
        swept([], [("kept", "never started")], [])
    assert not (tmp_path / "runs" / plan.runs[1].run).exists()
    plan.study.update(metrics=["loss"])
    with pytest.raises(Unfinished, match="2 of 3"):
        swept([], [("kept", "locked")], [("kept", "locked")])


def test_a_signal_in_a_finaliser_stops_all_the_same(tmp_path):
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)  # Python drops what its handler raises

    def work():
        Dying()
        for _ in range(1000):
            time.sleep(0.01)

    hook = sys.unraisablehook
    assert ending.ended(tmp_path, work) == 75
    assert sys.unraisablehook is hook


def test_what_is_ignored_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending.ended(Path("x"), lambda: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("locked"), "kept"),
        (OSError(errno.ENOSPC, "No space left on device"), "kept"),
        (SaveError("disk full"), "kept"),
        (MemoryError(), "kept"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), "kept"),
        (InputError("config.x: bad"), "failed"),
        (ZeroDivisionError("in a model"), "failed"),
    ],
)
def test_only_its_own_end_is_recorded(error, kind, plan, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(training, "run", fail)
    said = worker.train(lambda _: None, bool, "one", plan.runs[0].config, "", tmp_path / "one")
    assert said[:2] == (kind, "one")
    assert type(error).__name__ in said[2]
    assert type(error).__name__ in (tmp_path / "one" / "traceback.txt").read_text()


def test_other_data_than_planned_are_not_trained_on_and_their_records_refused(plan, tmp_path):
    run = plan.runs[0]
    assert len(run.data_sha256) == 64
    said = worker.train(lambda _: None, bool, "one", run.config, "0" * 64, tmp_path / "one")
    assert said[0] == "kept"
    assert "config.data: changed since the run was planned" in said[2]
    assert not (tmp_path / "one" / "config.json").exists()
    finish(tmp_path, run)
    path = plans.run_folder(tmp_path, run.run) / "record.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"data_sha256": "0" * 64}))
    with pytest.raises(InputError, match=r"record\.json: data_sha256: 0+; the planned data have"):
        records.table(tmp_path, plan)
    path.write_text(json.dumps(found | {"config": found["config"] | {"steps": 9}}))
    with pytest.raises(InputError, match="config_sha256: does not fit the config"):
        records.table(tmp_path, plan)


def test_a_worker_opens_the_data_once(plan, tmp_path, monkeypatch):
    opened, open_dataset = [], data.open_dataset
    monkeypatch.setattr(
        data, "open_dataset", lambda name, config: opened.append(name) or open_dataset(name, config)
    )
    run = plan.runs[0]
    said = worker.train(lambda _: None, bool, "one", run.config, run.data_sha256, tmp_path / "one")
    assert said == ("done", "one", "ok")
    assert opened == [run.config["data"]["name"]]


@pytest.mark.parametrize(
    ("before", "now", "worked"),
    [
        ((0, 0.0), (0, 4.0), True),  # compiles
        ((0, 4.0), (0, 4.0), False),  # waits for a disk that is away
        ((0, 4.0), (1, 4.0), True),
        ((7, 4.0), (8, 4.0), True),
        ((8, 4.0), (8, 9.0), False),  # a device that is waited for in a loop
    ],
)
def test_work_is_a_step_or_before_the_first_a_used_processor(before, now, worked):
    assert worker._worked(before, now) == worked


def test_a_worker_that_takes_steps_says_that_it_is_alive(monkeypatch):
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_BEATS", 0.001)
    heard = threading.Event()
    with worker._beating(heard.set) as beat:
        while not heard.is_set():
            beat()


def test_a_full_disk_is_one_line_and_try_again(plan, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "runs.csv"))

    for run in plan.runs:
        finish(tmp_path, run)
    monkeypatch.setattr(record, "save_text", full)
    assert ending.ended(tmp_path, lambda: sweeping.sweep(tmp_path, plan, "fit")) == 75
    error = capsys.readouterr().err
    assert error == (
        f"error: {tmp_path}/runs.csv: No space left on device; the same command goes on from here\n"
    )


def test_a_failure_that_cannot_be_written_down_is_not_final(plan, swept, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(record, "save", full)
    with pytest.raises(Unfinished, match="its record cannot be written: No space left"):
        swept(*[[("failed", "a bug")]] * 3)
    assert not recorded(tmp_path)


def test_a_busy_run_is_left_and_nothing_is_written_into_its_folder_but_why(plan, tmp_path):
    run = plan.runs[0]
    with training.locked(tmp_path / "one"):
        said = worker.train(lambda _: None, bool, "one", run.config, "", tmp_path / "one")
    assert said[0] == "kept"
    assert "another process is at work here" in said[2]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {".lock", "traceback.txt"}


def test_a_signal_to_the_whole_group_loses_nothing(tmp_path):
    # Endless runs without checkpoints of their own: what is there was saved because of the signal.
    plan = small_plan(budgets=(2e4,), sizes_per_budget=2)
    for index in range(2):
        plan = change(plan, index, lambda v: v.update(steps=10**9))
    plans.save(tmp_path / "plan.json", plan)
    command = [sys.executable, "-m", "scaling.sweep", f"--workdir={tmp_path}", "--workers=2"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    metrics = [tmp_path / "runs" / run.run / "metrics.jsonl" for run in plan.runs]
    wait_for(lambda: all(path.exists() for path in metrics), process)
    os.killpg(process.pid, signal.SIGHUP)
    said, _ = process.communicate(timeout=120)
    assert (process.returncode, said) == (
        75,
        f"{tmp_path}: stopped; the same command goes on from here\n",
    )
    for path in metrics:
        logged = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        (saved,) = (int(step.name) for step in path.parent.glob("checkpoints/[0-9]*"))
        assert logged
        assert (path.parent / "worker.log").exists()
        assert saved >= logged[-1]


def test_a_worker_whose_sweep_is_gone_already_ends_at_once():
    code = (
        "from scaling.sweep import worker; worker._serve(None, None, None, 1 << 22); print('lives')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
