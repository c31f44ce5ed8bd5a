"""Trains the runs of a plan side by side: on this machine, one process a core on CPU and one for
the accelerators; or on a cluster run on Ray.

    python -m scaling.sweep --workdir=studies/demo --role=fit
    python -m scaling.sweep --workdir=/shared/demo --executor=ray --gpus_per_run=1

Each run leaves a record, whatever becomes of it, and the same one on any executor. Called again, a
sweep does what is left: a finished run is never done twice, one that was stopped or killed goes on
from its checkpoint. A run that diverges or crashes is recorded as such and the others go on. For
what a cluster needs see scaling/cluster.py.
"""

import signal
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from absl import flags

from train.cli import InputError, define_path, run_main

if TYPE_CHECKING:
    from scaling.cluster import Cluster
    from scaling.plan import Plan, PlannedRun


class Stopped(Exception):
    """The sweep was asked to stop; what was under way is saved and goes on at the next call."""


class Executor(Protocol):
    """Where runs are trained. It knows workers; of plans, tries and records it knows nothing."""

    tries: int  # workers that may die under a run before it is given up

    def room(self, waiting: int) -> bool:
        """Whether a run can be started now; `waiting` of them are to be."""

    def start(self, run: str, config: dict[str, Any], folder: Path) -> None:
        """Starts a run. Called only when there is room."""

    def messages(self, seconds: float) -> Iterable[tuple]:
        """What happened, waiting up to some seconds for it.

        ("progress", run, step, loss), then one of ("done", run, status), ("stopped", run),
        ("failed", run, reason) or ("died", run, reason): its worker is gone, the run may go on
        elsewhere. Also ("refused", "", reason): workers cannot be used at all.
        """

    def stop(self) -> None:
        """Asks for all runs to be saved; each still sends its last message."""

    def close(self) -> None:
        """Ends all workers."""


def run_folder(workdir: Path, run: "PlannedRun") -> Path:
    """Where a planned run is trained."""
    return workdir / "runs" / run.run


def sweep(
    workdir: Path, plan: "Plan", role: str, workers: int = 0, cluster: "Cluster | None" = None
) -> list[Any]:
    """Trains all runs of a role that are not finished, and returns the records of all of them.

    Args:
      workdir: the study's folder; on a cluster, one that all nodes share.
      plan: the study's plan.
      role: "fit" or "heldout".
      workers: most runs at a time; 0 = `scaling.worker.default_workers()`, or all that the cluster
        has room for.
      cluster: where to train; None = this machine.

    Raises:
      InputError: another sweep is at work in this folder, a record there cannot be read, or the
        cluster cannot train these runs.
      Stopped: by Ctrl-C or SIGTERM, after all workers have saved.
    """
    from train import run as training

    chosen = [run for run in plan.runs if run.role == role]
    with training.locked(workdir):
        todo = [run for run in chosen if training.finished(run_folder(workdir, run)) is None]
        if todo:
            _train(workdir, plan.study["name"], role, chosen, todo, workers, cluster)
        return [training.finished(run_folder(workdir, run)) for run in chosen]


def _train(
    workdir: Path,
    study: str,
    role: str,
    chosen: Sequence["PlannedRun"],
    todo: Sequence["PlannedRun"],
    workers: int,
    cluster: "Cluster | None",
) -> None:
    from scaling.terminal import SweepProgress

    if cluster is None:
        from scaling.worker import Processes, default_workers

        executor = Processes(min(workers or default_workers(), len(todo)))
    else:
        from scaling.cluster import RayWorkers

        executor = RayWorkers(cluster, workdir, workers)
    try:
        with SweepProgress(study, role, chosen, todo) as progress:
            _Sweep(workdir, executor, progress).go(todo)
    finally:
        executor.close()


class _Sweep:
    """One call of `sweep`: which run is next, which is tried again, what is recorded."""

    def __init__(self, workdir: Path, executor: Executor, progress: Any):
        self.workdir, self.executor, self.progress = workdir, executor, progress
        self.active: dict[str, PlannedRun] = {}
        self.died: Counter[str] = Counter()
        self.stopping = False
        self.refusal = ""

    def go(self, todo: Iterable["PlannedRun"]) -> None:
        # The longest first: the last ones then are short, and no core idles long.
        self.queue = deque(sorted(todo, key=lambda run: -run.C["forward"]))
        handlers = {n: signal.signal(n, self._ask_to_stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.active or (self.queue and not self.stopping):
                if self.stopping:
                    self.executor.stop()
                else:
                    self._hand_out()
                for message in self.executor.messages(1.0):
                    self._take(*message)
                self.progress.tick()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.refusal:
            raise InputError(self.refusal)
        if self.stopping:
            raise Stopped("stopped; the same command goes on from here")

    def _ask_to_stop(self, *_) -> None:
        # In a signal handler: the executor is told by the loop, whose locks this might be inside.
        self.stopping = True
        self.progress.stopping()

    def _hand_out(self) -> None:
        while self.executor.room(len(self.queue)):
            run = self.queue.popleft()
            self.active[run.run] = run
            self.progress.started(run)
            self.executor.start(run.run, run.config, run_folder(self.workdir, run))

    def _take(self, kind: str, name: str, *rest: Any) -> None:
        if kind == "progress":
            self.progress.moved(name, *rest)
        elif kind == "refused":
            self.refusal = rest[0]
            self._ask_to_stop()
        else:
            self._end(self.active.pop(name), kind, *rest)

    def _end(self, run: "PlannedRun", kind: str, what: str = "") -> None:
        if kind == "died":
            self.died[run.run] += 1
            if self.died[run.run] < self.executor.tries:
                self.queue.appendleft(run)
                self.progress.lost(run.run, what)
                return
            kind, what = "failed", f"{what}, {self.executor.tries} times"
        if kind == "failed":
            self._record_failure(run, what)
        if kind != "stopped":
            self.progress.ended(run.run, "failed" if kind == "failed" else what)

    def _record_failure(self, run: "PlannedRun", reason: str) -> None:
        from scaling.records import failed
        from train import record

        record.save(run_folder(self.workdir, run) / "record.json", failed(run, reason))


def define_flags() -> None:
    """Defines the flags of where runs are trained, the same for all that sweep."""
    flags.DEFINE_enum("executor", "local", ["local", "ray"], "This machine, or a cluster on Ray.")
    flags.DEFINE_integer(
        "workers",
        0,
        "Most runs at a time; 0 = on this machine one a core on CPU and one on accelerators, on a"
        " cluster all it has room for.",
        0,
    )
    flags.DEFINE_string("address", None, "Ray: the cluster's host:port; by default the one here.")
    flags.DEFINE_integer("cpus_per_run", None, "Ray: cores that each run takes; by default 1.", 1)
    flags.DEFINE_integer(
        "gpus_per_run",
        None,
        "Ray: GPUs that each run takes; by default 1 where the cluster has any, 0 where not.",
        0,
    )


def cluster_of_flags() -> "Cluster | None":
    """The cluster of the flags, None for this machine. Raises InputError if they contradict."""
    from scaling.cluster import Cluster

    names = ("address", "cpus_per_run", "gpus_per_run")
    given = {name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].present}
    if flags.FLAGS.executor == "ray":
        return Cluster(**given)
    for name, value in given.items():
        raise InputError(f"--{name}: {value}; only with --executor=ray")
    return None


def main() -> int:
    """Sweeps the plan of the flags."""
    from scaling import plan as planning

    if not flags.FLAGS.workdir:
        raise InputError(
            "--workdir: missing; the folder that `python -m scaling.plan` wrote plan.json to"
        )
    workdir = Path(flags.FLAGS.workdir)
    cluster = cluster_of_flags()
    plan = planning.load(workdir / "plan.json")
    try:
        records = sweep(workdir, plan, flags.FLAGS.role, flags.FLAGS.workers, cluster)
    except Stopped as stopped:
        print(f"{workdir}: {stopped}")
        return 130
    for record in records:
        print(f"{record.run}: {record.status} {record.reason or f'loss {record.loss:.4f}'}")
    return 0


if __name__ == "__main__":
    define_path("workdir", None, "The study's folder, with plan.json.")
    flags.DEFINE_enum("role", "fit", ["fit", "heldout"], "Which of the plan's runs.")
    define_flags()
    run_main(main)
