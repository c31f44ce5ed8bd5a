"""Trains the runs of a plan side by side: one process a core on CPU, one process for the
accelerators.

    python -m scaling.sweep --workdir=studies/demo --role=fit

Each run leaves a record, whatever becomes of it. Called again, a sweep does what is left: a
finished run is never done twice, one that was stopped or killed goes on from its checkpoint. A run
that diverges or crashes is recorded as such and the others go on.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable
from importlib import metadata
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from train.cli import InputError, run_main

if TYPE_CHECKING:
    from scaling.plan import Plan, PlannedRun

# A worker that dies under a run may have been killed for memory by chance: the run gets a second
# try.
_TRIES = 2


class Stopped(Exception):
    """The sweep was asked to stop; what was under way is saved and goes on at the next call."""


def default_workers() -> int:
    """One worker a core on CPU; one in all where JAX has an accelerator."""
    plugins = [p.name for p in metadata.entry_points(group="jax_plugins")]
    if plugins and os.environ.get("JAX_PLATFORMS") != "cpu":
        return 1
    return len(_cores())


def run_folder(workdir: Path, run: "PlannedRun") -> Path:
    """Where a planned run is trained."""
    return workdir / "runs" / run.run


def sweep(workdir: Path, plan: "Plan", role: str, workers: int = 0) -> list[Any]:
    """Trains all runs of a role that are not finished, and returns the records of all of them.

    Args:
      workdir: the study's folder.
      plan: the study's plan.
      role: "fit" or "heldout".
      workers: processes; 0 = `default_workers()`.

    Raises:
      InputError: another sweep is at work in this folder, or a record there cannot be read.
      Stopped: by Ctrl-C or SIGTERM, after all workers have saved.
    """
    from scaling.terminal import SweepProgress
    from train import run as training

    chosen = [run for run in plan.runs if run.role == role]
    with training.locked(workdir):
        todo = [run for run in chosen if training.finished(run_folder(workdir, run)) is None]
        if todo:
            # The longest first: the last ones then are short, and no core idles long.
            todo.sort(key=lambda run: -run.C["forward"])
            # Small models run slower on two cores than on one, so a worker keeps to its share even
            # where runs are fewer than workers.
            shares = _share_cores(workers or default_workers())[: len(todo)]
            with SweepProgress(plan.study["name"], role, chosen, todo) as progress:
                _Sweep(workdir, shares, progress).go(todo)
        return [training.finished(run_folder(workdir, run)) for run in chosen]


class _Worker:
    """A worker process and the run it is at."""

    def __init__(self, context, stop, cores: list[int] | None):
        from scaling.worker import serve

        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, stop, cores), daemon=True)
        self.process.start()
        theirs.close()
        self.cores = cores
        self.run: PlannedRun | None = None


class _Sweep:
    """One call of `sweep`."""

    def __init__(self, workdir: Path, shares: list[list[int] | None], progress: Any):
        self.workdir, self.progress = workdir, progress
        # A fork of a process that has used JAX can deadlock; a spawned one starts clean.
        self.context = multiprocessing.get_context("spawn")
        self.stop = self.context.Event()
        self.tries: dict[str, int] = {}
        self.workers = [_Worker(self.context, self.stop, cores) for cores in shares]

    def go(self, todo: Iterable["PlannedRun"]) -> None:
        self.queue = deque(todo)
        handlers = {n: signal.signal(n, self._ask_to_stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            for worker in self.workers:
                self._give(worker)
            while busy := [worker for worker in self.workers if worker.run]:
                # A closed connection is readable too, so a death is noticed here.
                wait([worker.connection for worker in busy], timeout=1.0)
                for worker in busy:
                    self._hear(worker)
                self.progress.tick()
        finally:
            for worker in self.workers:
                worker.connection.close()
            for worker in self.workers:
                worker.process.join(timeout=10)
                worker.process.kill()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.stop.is_set():
            raise Stopped("stopped; the same command goes on from here")

    def _ask_to_stop(self, *_) -> None:
        self.stop.set()
        self.progress.stopping()

    def _give(self, worker: _Worker) -> None:
        worker.run = self.queue.popleft() if self.queue and not self.stop.is_set() else None
        if worker.run:
            folder = str(run_folder(self.workdir, worker.run))
            self.progress.started(worker.run)
            worker.connection.send((worker.run.run, worker.run.config, folder))

    def _hear(self, worker: _Worker) -> None:
        try:
            while worker.run and worker.connection.poll():
                kind, name, *rest = worker.connection.recv()
                if kind == "progress":
                    self.progress.moved(name, *rest)
                    continue
                if kind == "failed":
                    self._record_failure(worker.run, rest[0])
                if kind != "stopped":
                    self.progress.ended(name, "failed" if kind == "failed" else rest[0])
                self._give(worker)
        except (EOFError, OSError):
            self._replace(worker)

    def _replace(self, dead: _Worker) -> None:
        """Starts a new worker where one died, and tries its run again or gives it up."""
        dead.process.join()
        run, reason = dead.run, f"worker process died with exit code {dead.process.exitcode}"
        self.tries[run.run] = self.tries.get(run.run, 1) + 1
        if self.tries[run.run] > _TRIES:
            self._record_failure(run, f"{reason}, {_TRIES} times")
            self.progress.ended(run.run, "failed")
        else:
            self.queue.appendleft(run)
        worker = _Worker(self.context, self.stop, dead.cores)
        self.workers[self.workers.index(dead)] = worker
        self._give(worker)

    def _record_failure(self, run: "PlannedRun", reason: str) -> None:
        from scaling.records import failed
        from train import record

        record.save(run_folder(self.workdir, run) / "record.json", failed(run, reason))


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _share_cores(count: int) -> list[list[int] | None]:
    """Splits the cores among workers; None where they cannot be pinned or are too few."""
    cores = _cores()
    if not hasattr(os, "sched_setaffinity") or count > len(cores):
        return [None] * count
    return [cores[i::count] for i in range(count)]


def main() -> int:
    """Sweeps the plan of the flags."""
    from scaling import plan as planning

    if not flags.FLAGS.workdir:
        raise InputError(
            "--workdir: missing; the folder that `python -m scaling.plan` wrote plan.json to"
        )
    workdir = Path(flags.FLAGS.workdir)
    plan = planning.load(workdir / "plan.json")
    try:
        records = sweep(workdir, plan, flags.FLAGS.role, flags.FLAGS.workers)
    except Stopped as stopped:
        print(f"{workdir}: {stopped}")
        return 130
    for record in records:
        print(f"{record.run}: {record.status} {record.reason or f'loss {record.loss:.4f}'}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The study's folder, with plan.json.")
    flags.DEFINE_enum("role", "fit", ["fit", "heldout"], "Which of the plan's runs.")
    flags.DEFINE_integer("workers", 0, "Processes; 0 = one a core on CPU, one on accelerators.", 0)
    run_main(main)
