"""Runs of several real processes on this machine, one CPU device each, joined over loopback."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest

from configs import gpt
from tests.conftest import ROOT
from tests.train.test_command import TINY
from train import config as configuration
from train import metrics, record, run
from train.cli import InputError
from train.devices import hosts, watch

RUN = [
    *TINY,
    "--config.batch_size=8",
    "--config.steps=40",
    "--config.log_every=1",
    "--config.evaluation.batch_size=16",
    "--config.evaluation.every=20",
    "--config.checkpoint.every=10",
    "--config.mesh.data=1",
    "--config.mesh.fsdp=-1",
]
ENDLESS = "--config.steps=100000"


class Job:
    """The processes of one run."""

    def __init__(
        self,
        workdir: Path,
        processes: int,
        *more: str,
        environment: dict[int, dict[str, str]] | None = None,
    ):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        self.said = [workdir.with_suffix(f".{i}.stderr") for i in range(processes)]
        self.workdir = workdir
        self.processes = []
        for i, said in enumerate(self.said):
            flags = [f"--coordinator=localhost:{port}", f"--processes={processes}"]
            command = [sys.executable, "-m", "train", f"--workdir={workdir}", *RUN, *flags]
            with said.open("w") as file, said.with_suffix(".stdout").open("w") as out:
                self.processes.append(
                    subprocess.Popen(
                        [*command, f"--process={i}", *more],
                        cwd=ROOT,
                        env=os.environ
                        | {"JAX_NUM_CPU_DEVICES": "1"}
                        | (environment or {}).get(i, {}),
                        stdout=out,
                        stderr=file,
                    )
                )

    def wait_for_step(self, step: int) -> None:
        while not any(line["step"] >= step for line in metrics.read(self.workdir)):
            assert all(p.poll() is None for p in self.processes), self.errors()
            time.sleep(0.05)

    def codes(self, seconds: float = 240) -> list[int]:
        until = time.monotonic() + seconds
        return [p.wait(timeout=max(0.0, until - time.monotonic())) for p in self.processes]

    def errors(self) -> list[str]:
        return [said.read_text() for said in self.said]


@contextlib.contextmanager
def job(workdir: Path, processes: int, *more: str, **settings) -> Iterator[Job]:
    started = Job(workdir, processes, *more, **settings)
    try:
        yield started
    finally:
        for process in started.processes:
            process.kill()  # JAX makes SIGTERM something else
            process.wait()


def losses(workdir: Path) -> dict[tuple[int, str], float]:
    """By step and kind; complains of a step that stands twice."""
    lines = [
        ((line["step"], kind), line[kind])
        for line in metrics.read(workdir)
        for kind in ("loss", "eval_loss")
        if kind in line
    ]
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def config(*more: str) -> configuration.RunConfig:
    """The config of a job, for one process: this one."""
    values = gpt.get_config("width=16")
    for flag in [*RUN, *more]:
        name, _, value = flag.removeprefix("--config.").partition("=")
        if not flag.startswith("--config="):
            values.update_from_flattened_dict({name: int(value)})
    return configuration.resolve(values.to_dict())


def go_on(workdir: Path, upto: int) -> dict[tuple[int, str], float]:
    """Losses of the endless run, taken on by this process until `upto` steps."""
    if last_step(workdir) < upto:
        with pytest.raises(run.Interrupted):
            run.run(config(ENDLESS), workdir, should_stop=lambda: last_step(workdir) >= upto)
    return {(step, kind): loss for (step, kind), loss in losses(workdir).items() if step <= upto}


def last_step(workdir: Path) -> int:
    return max((line["step"] for line in metrics.read(workdir)), default=0)


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    """The folder of the endless run in one process, for `go_on`."""
    return tmp_path_factory.mktemp("endless") / "run"


def test_two_processes_give_the_losses_of_one_that_began_like_them(tmp_path):
    """With what another run has learnt. (The endless ones below begin with a seed's weights.)"""
    source, taken = tmp_path / "source", ("step", "params/*", "opt_state/*")
    run.run(config("--config.steps=20"), source)
    values = configuration.to_dict(config("--config.steps=24"))
    values["start"] |= {"run": str(source), "take": taken}
    one = run.run(configuration.resolve(values), tmp_path / "one")
    more = [f"--config.start.run={source}", f"--config.start.take={taken}", "--config.steps=24"]
    with job(tmp_path / "two", 2, *more) as two:
        assert two.codes() == [0, 0], two.errors()
        assert two.errors()[1] == ""  # process 0 alone shows progress
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    result = record.load(tmp_path / "two" / "record.json")
    assert result.device["processes"] == 2
    assert result.start == one.start
    assert result.loss == pytest.approx(one.loss, rel=1e-5)


@pytest.mark.slow
def test_four_processes_give_the_losses_of_one(tmp_path):
    run.run(config(), tmp_path / "alone")
    with job(tmp_path / "run", 4, "--config.mesh.data=2") as four:
        assert four.codes() == [0] * 4, four.errors()
    assert len(losses(tmp_path / "run")) == 42
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on_with_one(victim, endless, tmp_path):
    workdir = tmp_path / "run"
    with job(workdir, 2, ENDLESS) as two:
        two.wait_for_step(10)
        two.processes[victim].kill()
        code = two.processes[1 - victim].wait(timeout=60)
    said = two.errors()[1 - victim].strip()
    # Without process 0 JAX aborts, now and then before the watch has spoken.
    if victim or code != -signal.SIGABRT:
        assert code == watch.LOST, said
        assert f"error: process {victim} of 2 was lost; the same command" in said.splitlines()[-1]
    upto = last_step(workdir) + 20
    assert go_on(workdir, upto) == pytest.approx(go_on(endless, upto), rel=1e-5)


@pytest.mark.slow
def test_preemption_of_one_process_saves_in_all(endless, tmp_path):
    workdir = tmp_path / "run"
    with job(workdir, 2, ENDLESS) as two:
        two.wait_for_step(10)
        two.processes[1].send_signal(signal.SIGTERM)
        assert two.codes() == [75, 75], two.errors()
    stopped = last_step(workdir)
    assert (workdir / "checkpoints" / str(stopped)).is_dir()
    upto = stopped + 5
    assert go_on(workdir, upto) == pytest.approx(go_on(endless, upto), rel=1e-5)


@pytest.mark.slow
def test_a_silent_process_ends_the_others(tmp_path):
    with job(tmp_path / "run", 2, ENDLESS) as two:
        two.wait_for_step(10)
        two.processes[1].send_signal(signal.SIGSTOP)
        assert two.processes[0].wait(timeout=60) == watch.LOST
    assert "process 1 of 2 was lost" in two.errors()[0]


@pytest.mark.slow
def test_a_refusal_is_one_line_in_every_process(tmp_path):
    with job(tmp_path / "run", 2, "--config.batch_size=3") as two:
        assert two.codes() == [2, 2]
    for said in two.errors():
        assert (
            said.strip()
            .splitlines()[-1]
            .startswith("error: config.batch_size: 3; must be a multiple of")
        )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("here:1", 2, None), "--process: missing"),
        (("here", 2, 0), "--coordinator: 'here'; must be host:port"),
        (("here:1", 2, 2), "--process: 2; must be from 0 to 1"),
    ],
)
def test_flags_that_do_not_go_together(given, says):
    with pytest.raises(InputError, match=says), hosts.joined(*given):
        pass


@pytest.mark.parametrize(
    ("environment", "who"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),  # in the batch script, outside srun
        (
            {
                "SLURM_JOB_ID": "7",
                "SLURM_NTASKS": "4",
                "SLURM_STEP_NODELIST": "n[1-4]",
                "SLURM_PROCID": "0",
            },
            "Slurm",
        ),
        (
            {
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_MCA_orte_hnp_uri": "1.0;tcp://h:1",
                "OMPI_COMM_WORLD_RANK": "1",
            },
            "Open MPI",
        ),
    ],
)
def test_launchers_are_known_by_their_variables(environment, who, tmp_path):
    assert hosts.launcher(environment, devices=tmp_path) == who


def test_a_silent_stranger_keeps_no_process_from_the_watch():
    told = queue.Queue()

    def share(text: str) -> str:
        told.put(text) if text else None
        return text or told.get(timeout=10)

    with contextlib.ExitStack() as strangers, futures.ThreadPoolExecutor() as threads:
        leader = threads.submit(watch.Sentry, 0, 2, "localhost", share)
        where = told.get(timeout=10)
        for greeting in (b"", b"wrong" * 4, bytes.fromhex(where.split()[2])):
            stranger = socket.create_connection(("localhost", int(where.split()[1])))
            strangers.enter_context(stranger).sendall(greeting)  # and then nothing
        other = watch.Sentry(1, 2, "localhost", lambda _: where)
        sentry = leader.result(timeout=10)
        assert set(sentry._peers) == {1}
        other.leave()
        sentry.await_others()  # hears it from the one that is watched
        sentry.leave()


@pytest.mark.slow
def test_a_process_that_fails_while_they_start_ends_the_others(tmp_path):
    with job(tmp_path / "run", 2, environment={1: {"JAX_PLATFORMS": "nonsense"}}) as two:
        assert two.codes() == [watch.LOST, 2], two.errors()
    others, its = (said.splitlines()[-1] for said in two.errors())
    assert others.startswith("error: process 1 of 2 was lost; the same command")
    assert its.startswith("error: JAX_PLATFORMS: 'nonsense'; Unable to initialize backend")
