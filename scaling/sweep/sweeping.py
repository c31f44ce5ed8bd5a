"""The runs of a plan, handed to workers: each ends in a record, or in the reason for none."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scaling.forecast import sealing
from scaling.runs import measure, records
from scaling.runs.plans import run_folder
from scaling.runs.records import failed
from scaling.sweep import HANG_MINUTES, attempts
from scaling.sweep.cluster import RayWorkers
from scaling.sweep.ending import Stopped, Unfinished, handled
from scaling.sweep.progress import SweepProgress
from scaling.sweep.worker import Processes, default_workers
from train import record
from train import run as training
from train.cli import InputError, nearest

if TYPE_CHECKING:
    from scaling.runs.plans import Plan, PlannedRun
    from scaling.sweep.cluster import Cluster
    from train.record import Record


# Deaths of workers under one run, in a row over all calls and none of them past a newer checkpoint,
# after which the run is recorded as failed: no further try will mend it.
MOST_DEATHS = 6


class Executor(Protocol):
    """Where runs are trained. It knows workers; of plans, tries and records it knows nothing."""

    tries: int  # workers that may die under a run before it is left for the next call

    def room(self, waiting: int) -> bool:
        """Whether a run can be started now; `waiting` of them are to be."""
        ...

    def start(self, run: str, config: dict[str, Any], data_sha256: str, folder: Path) -> None:
        """Starts a run. Called only when there is room. For the arguments see `worker.train`."""

    def messages(self, seconds: float) -> Iterable[tuple]:
        """What happened, waiting up to some seconds for it.

        ("progress", run, step, loss) and ("alive", run), then one of ("done", run, status),
        ("stopped", run), ("failed", run, reason) by itself, ("kept", run, reason) from its end by
        what may pass, or ("died", run, reason): its worker is gone, the run may go on elsewhere.
        Also ("refused", "", reason): workers cannot be used at all.
        """
        ...

    def kill(self, run: str) -> None:
        """Ends the worker of a run, which has hung; no message of it follows."""

    def stop(self) -> None:
        """Asks for all runs to be saved; each still sends its last message."""

    def close(self) -> None:
        """Ends all workers."""


def sweep(
    workdir: Path,
    plan: "Plan",
    role: str,
    *,
    workers: int = 0,
    cluster: "Cluster | None" = None,
    retry_failed: bool = False,
    hang_minutes: float = HANG_MINUTES,
) -> list["Record"]:
    """Trains all runs of a role that are not finished, and returns the records of all of them.

    It leaves runs.csv with the finished runs of all roles.

    Args:
      workdir: the study's folder; on a cluster, one that all nodes share.
      plan: the study's plan.
      role: "fit" or "heldout". A held-out run starts under the seal that is there, if any.
      workers: most runs at a time; 0 = `scaling.sweep.worker.default_workers()`, or all that the
        cluster has room for.
      cluster: where to train; None = this machine.
      retry_failed: whether runs that are recorded as failed are tried again; those records are kept
        beside the new ones.
      hang_minutes: silence of a worker after which it is killed.

    Raises:
      InputError: a record there is corrupt or of another run, the cluster cannot train these runs,
        or the first one that ended well lacks a metric that the study names.
      Unavailable: another sweep is at work in this folder, or it cannot be written.
      Unfinished: some runs did not come to their end, for reasons that may pass.
      Stopped: by a signal, after all workers have saved.
    """
    chosen = [run for run in plan.runs if run.role == role]
    with training.locked(workdir):
        before = {run.run: records.finished(workdir, run) for run in chosen}
        todo = [run for run in chosen if before[run.run] is None]
        for run in chosen:
            ended = before[run.run]
            if retry_failed and ended and ended.status == "failed":
                records.set_aside(workdir, run)
                todo.append(run)
        for run in todo if role == "heldout" else ():
            sealing.begin(workdir, run.run)
        kept: Mapping[str, str] = {}
        if todo:
            with (
                _table_of_what_ended(workdir, plan),
                SweepProgress(plan.study["name"], role, chosen, todo) as progress,
                _executor(workdir, len(todo), workers, cluster) as executor,
            ):
                known = plan.study, before.values()
                kept = _Sweep(workdir, executor, progress, 60 * hang_minutes, *known).go(todo)
        try:
            records.save_table(workdir, plan)
        except OSError:
            if not kept:
                raise
        if kept:
            raise Unfinished(role, len(chosen), kept)
        return [records.finished(workdir, run) for run in chosen]


@contextlib.contextmanager
def _table_of_what_ended(workdir: Path, plan: "Plan") -> Iterator[None]:
    """Leaves runs.csv with the runs that have ended also where work on the others was stopped."""
    try:
        yield
    except (InputError, Stopped):
        with contextlib.suppress(InputError, OSError):
            records.save_table(workdir, plan)
        raise


@contextlib.contextmanager
def _executor(
    workdir: Path, runs: int, workers: int, cluster: "Cluster | None"
) -> Iterator[Executor]:
    if cluster is None:
        executor = Processes(min(workers or default_workers(), runs))
    else:
        executor = RayWorkers(cluster, workdir, workers)
    try:
        yield executor
    finally:
        executor.close()


class _Sweep:
    """One call of `sweep`: which run is next, which is tried again, what is recorded."""

    def __init__(
        self,
        workdir: Path,
        executor: Executor,
        progress: Any,
        patience: float,
        study: Mapping[str, Any],
        known: Iterable["Record | None"],
    ):
        self.workdir, self.executor, self.progress = workdir, executor, progress
        self.unseen = measure.asked(study)  # metrics that no run is known to have
        well = [found for found in known if found and found.status == "ok"]
        self.refusal = self._unknown(well[0]) if well else ""
        self.patience = patience  # seconds of silence
        self.active: dict[str, PlannedRun] = {}
        self.heard: dict[str, float] = {}  # when an active run last was
        self.died: Counter[str] = Counter()
        self.kept: dict[str, str] = {}  # runs that are not finished, and why
        self.stopped_by = 0

    def go(self, todo: Iterable["PlannedRun"]) -> dict[str, str]:
        # The longest first: the last ones then are short, and no core idles long.
        self.queue = deque(sorted(todo, key=lambda run: -run.C["forward"]))
        with handled(self._ask_to_stop):
            while self.active or (self.queue and not self.stopping):
                if self.stopping:
                    self.executor.stop()
                else:
                    self._hand_out()
                for message in self.executor.messages(1.0):
                    self._take(*message)
                self._end_silent()
                self.progress.tick()
        if self.refusal:
            raise InputError(self.refusal)
        if self.stopping:
            raise Stopped(self.stopped_by, self.kept)
        return self.kept

    @property
    def stopping(self) -> bool:
        return bool(self.stopped_by or self.refusal)

    def _ask_to_stop(self, number: int, _frame: Any) -> None:
        # In a signal handler: the executor is told by the loop, whose locks this might be inside.
        self.stopped_by = number
        self.progress.stopping()

    def _hand_out(self) -> None:
        while self.executor.room(len(self.queue)):
            run = self.queue.popleft()
            self.active[run.run], self.heard[run.run] = run, time.monotonic()
            self.progress.started(run)
            folder = run_folder(self.workdir, run.run)
            self.executor.start(run.run, run.config, run.data_sha256, folder)

    def _take(self, kind: str, name: str, *rest: Any) -> None:
        self.heard[name] = time.monotonic()
        if kind == "progress":
            self.progress.moved(name, *rest)
        elif kind == "refused":
            self.refusal = rest[0]
            self.progress.stopping()
        elif kind != "alive":
            self._end(self.active.pop(name), kind, *rest)

    def _end_silent(self) -> None:
        for name in [n for n in self.active if time.monotonic() - self.heard[n] > self.patience]:
            self.executor.kill(name)
            reason = f"its worker took no step for {self.patience / 60:g} minutes and was killed"
            self._end(self.active.pop(name), "died", reason)

    def _end(self, run: "PlannedRun", kind: str, what: str = "") -> None:
        if kind in ("died", "kept"):
            attempts.note(self.workdir, run.run, what, died=kind == "died" and not self.stopping)
        if kind == "died":
            self.died[run.run] += 1
            if (deaths := attempts.deaths(self.workdir, run.run)) >= MOST_DEATHS:
                kind, what = "failed", f"{what}, {deaths} times in a row; see attempts.jsonl"
        if kind == "failed":
            kind, what = self._record_failure(run, what)
        if kind == "died":
            if self.died[run.run] < self.executor.tries and not self.stopping:
                self.queue.appendleft(run)
                self.progress.lost(run.run, what, again=True)
                return
            kind, what = "kept", f"{what} ({self.died[run.run]} of {self.executor.tries} tries)"
        if kind == "kept":
            self.kept[run.run] = what
            self.progress.lost(run.run, what, again=False)
        elif kind == "done":
            self.progress.ended(run.run, what)
            if what == "ok" and self.unseen:
                found = record.load(run_folder(self.workdir, run.run) / "record.json")
                self.refusal = self.refusal or self._unknown(found)

    def _unknown(self, found: "Record") -> str:
        """Why no more runs are trained, by the first one that ended well: it lacks a metric."""
        lacking = [(k, m) for k, m in self.unseen if m.of(found)[0] is None]
        self.unseen = []
        if not lacking:
            return ""
        (field, metric), known = lacking[0], list({found.of_record: 0, **found.metrics})
        said = nearest(metric.name, known)
        return f"study.{field}: {metric.name!r}; {said}: {found.run} has no other"

    def _record_failure(self, run: "PlannedRun", reason: str) -> tuple[str, str]:
        try:
            record.save(run_folder(self.workdir, run.run) / "record.json", failed(run, reason))
        except OSError as error:
            return "kept", f"its record cannot be written: {error.strerror}"
        return "done", "failed"
