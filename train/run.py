"""ONE RUN, start to end: resume or begin, train, evaluate, checkpoint, and leave a record.

A workdir holds one run:

    config.json  metrics.jsonl  tensorboard/  checkpoints/  record.json (once it is finished)

Killed at any moment and called again, a run goes on from its newest checkpoint and ends with the
same bits as if it had never stopped: batches and randomness are functions of the step, and what was
logged after the checkpoint is taken back. `started` and `seconds` of its record are over all calls;
only what a killed call spent after its last checkpoint is in none of them.

A run may be of several processes (`train.devices.hosts`), which all call `run`; the first one
decides and writes, the others compute with it and save their part of the checkpoints.
"""

import contextlib
import dataclasses
import datetime
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train import before, evaluation, metrics, pace, record, start, step, tasks
from train import workdir as workdirs
from train.account import Account, facts
from train.checkpoint import Checkpoints
from train.clock import Clock
from train.config import RunConfig
from train.devices import hosts, sharding
from train.drive import at_once, drive
from train.evaluation import Diverged
from train.workdir import locked

CURVE_POINTS = 200


class Interrupted(Exception):
    """The run was asked to stop; it has saved a checkpoint and can be resumed."""


def finished(workdir: Path) -> record.Record | None:
    """The record of the run in `workdir` if it has ended, None if it has not."""
    path = workdir / "record.json"
    return record.load(path) if path.exists() else None


def run(
    config: RunConfig,
    workdir: Path,
    *,
    name: str | None = None,
    data_sha256: str = "",
    progress: Callable[[int, float, pace.Speed], None] = lambda step, loss, speed: None,
    should_stop: Callable[[], bool] = lambda: False,
    resumed: Callable[[int], None] = lambda step: None,
    saved: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda line: None,
) -> record.Record:
    """Trains a run to its end, from wherever an earlier call left it, and returns its record.

    A run that diverges ends with a record that says so. A run that is already finished does
    nothing.

    Args:
      config: what to train.
      workdir: the run's own folder.
      name: of the run in its record; the folder's name if None.
      data_sha256: digest of the data that the run was planned on; "" = any.
      progress: called in process 0 with the steps taken, the latest training loss and the pace.
      should_stop: polled every few steps; True saves a checkpoint and raises Interrupted.
      resumed: called with the step that an earlier call's checkpoint is of, if there is one.
      saved: called once all steps are taken and on disk: what is left can be done by another call.
      tell: called with one line on the data, "" if there is nothing to say.

    Raises:
      InputError: the config does not fit data or devices, or `workdir` has another run or data.
      Unavailable: the data are not those it was planned on, or another process is at work here.
      Interrupted: `should_stop` said so.
      SaveError: a checkpoint could not be written, e.g. to a full disk.
      OSError: another file could not.
    """
    with contextlib.ExitStack() as held:

        def enter() -> dict[str, Any] | None:
            held.enter_context(locked(workdir))
            workdirs.check(workdir, config)
            done = finished(workdir)
            return done and dataclasses.asdict(done)

        done = hosts.first(enter)
        hosts.together(lambda: workdirs.check_shared(workdir))
        if done:
            return record.Record(**done)
        name = name or workdir.resolve().name
        return _Run(
            config, workdir, name, data_sha256, progress, should_stop, resumed, saved, tell
        ).go()


class _Run:
    """The state of one call of `run`."""

    def __init__(
        self, config, workdir, name, planned_on, progress, should_stop, resumed, saved, tell
    ):
        self.config, self.workdir, self.name = config, workdir, name
        self.task = tasks.load(config.task.name)
        self.planned_on = planned_on  # digest of data
        self.progress, self.should_stop = progress, should_stop
        self.resumed, self.saved, self.tell = resumed, saved, tell
        self.started = _now()
        self.clock = Clock()
        self.unfetched: tuple[int, dict[str, jax.Array]] | None = None

    def go(self) -> record.Record:
        config = self.config
        hosts.together(self.prepare)
        digest = self.dataset.digest
        claimed = hosts.first(lambda: workdirs.check(self.workdir, config, digest))
        self.started = claimed.get("started") or _now()
        self.start = claimed.get("start", {})
        with self.clock("checkpoint"):
            self.checkpoints = Checkpoints(self.workdir, config, digest)
        with contextlib.closing(self.checkpoints):
            try:
                found = self.train_and_evaluate()
                loss, error = found[self.task.OF_RECORD]
                outcome = {"status": "ok", "reason": "", "loss": loss, "loss_se": error}
                outcome |= {"metrics": found}
            except Diverged as diverged:
                outcome = {"status": "diverged", "reason": str(diverged), "metrics": {}}
                outcome |= {"loss": None, "loss_se": None}

        def write() -> dict[str, Any]:
            result = self.record(outcome)
            record.save(self.workdir / "record.json", result)
            return dataclasses.asdict(result)

        return record.Record(**hosts.first(write))

    def train_and_evaluate(self) -> evaluation.Measured:
        """The metrics at the end. Raises Diverged."""
        steps = self.config.steps
        state, begun = self.begin_or_resume()
        self.writer = metrics.Writer(self.workdir, begun) if hosts.leads() else metrics.NoWriter()
        with contextlib.closing(self.writer):
            logged = hosts.first(lambda: metrics.evaluations(self.workdir))
            known = {x["step"]: x["metrics"] for x in logged}
            losses = {now: self.of_record(found) for now, found in known.items()}
            self.checkpoints.note({now: x for now, x in losses.items() if x is not None})
            if self.config.start.run and begun == self.first_step() and begun not in known:
                self.evaluate(state, self.evaluators)
            state = self.train(state, begun)
            # What was evaluated before it was killed is not evaluated, and logged, again.
            found = known[steps] if steps in known else self.evaluate(state, self.evaluators)
            with self.clock("checkpoint"):
                self.checkpoints.note({steps: self.of_record(found)})
            del state  # its room is needed
            self.check_learned(found)
        return found

    def of_record(self, found: evaluation.Measured) -> float | None:
        """The number of record; None where the validation set was not looked at."""
        return found.get(self.task.OF_RECORD, [None])[0]

    def prepare(self) -> None:
        """Opens the data and makes the functions, or raises InputError."""
        self.dataset = before.open_data(self.config, self.planned_on)
        self.tell(self.dataset.note)
        self.functions = step.compile_for(self.config, self.dataset.eval_batch(0, 1))
        mesh = self.functions.mesh
        self.copied = sharding.copied(mesh)
        self.hyper = jax.device_put(step.hyper_of(self.config), self.copied)
        used = mesh.devices.flat
        self.batches = sharding.of_batch(mesh)
        self.evaluators = evaluation.evaluators(self.config, self.dataset, self.functions)
        whole = before.account(self.config, self.dataset)
        rows = {name: evaluator.dataset.eval_rows for name, evaluator in self.evaluators.items()}
        flops = whole.C["forward"] / self.config.steps
        self.at_once = at_once(self.config, flops) if self.functions.many else 1
        self.pace = pace.Pace(self.config, whole, rows, used)

    def begin_or_resume(self) -> tuple[step.State, int]:
        with self.clock("checkpoint"):
            saved = self.checkpoints.restore_newest(self.functions.abstract)
        if saved is not None:
            self.clock.go_on(self.checkpoints.seconds(saved[1]))
            if hosts.leads():
                self.resumed(saved[1])
            return saved
        with self.clock("checkpoint"):
            taken, self.start = start.read(self.config, self.start, self.functions.abstract)
        with self.clock("compile"):
            state = jax.block_until_ready(self.functions.init(self.hyper))
        return start.graft(state, taken), self.first_step()

    def first_step(self) -> int:
        """The step that the run began at."""
        return start.first_step(self.config.start, self.start)

    def account(self, taken: int) -> Account:
        """What the run itself came to, up to a step."""
        return before.account(self.config, self.dataset, taken - self.first_step())

    def batch(self, now: int) -> dict[str, Any]:
        """The batch of a step, on the devices."""
        seed, size = self.config.seed, self.config.batch_size
        return hosts.batch(
            lambda k, parts: self.dataset.train_batch(seed, now, size, (k, parts)),
            size,
            self.batches,
        )

    def several(self, begun: int, until: int) -> dict[str, Any]:
        """Those of some steps, stacked; as many rows as the most that are taken at once."""
        seed, size = self.config.seed, self.config.batch_size
        read = [self.dataset.train_batch(seed, now, size) for now in range(begun, until)]
        read += read[-1:] * (self.at_once - len(read))
        return jax.device_put(
            {name: np.stack([x[name] for x in read]) for name in read[0]}, self.copied
        )

    def train(self, state: step.State, begun: int) -> step.State:
        """Takes all steps that are left. Raises Interrupted."""
        functions, hyper, most = self.functions, self.hyper, self.at_once

        def take(state, batches, count):
            if most == 1:
                return functions.train(state, batches, hyper)
            return functions.many(
                state, batches, jax.device_put(np.int32(count), self.copied), hyper
            )

        feed = self.several if most > 1 else lambda begun, until: self.batch(begun)
        state, taken, stopped = drive(self.config, take, feed, state, begun, most, self)
        with self.clock("checkpoint"):
            self.checkpoints.wait()
        if stopped:
            raise Interrupted(f"stopped after step {taken} of {self.config.steps}")
        self.saved()
        return state

    def stepping(self, first: bool) -> contextlib.AbstractContextManager[None]:
        """See `drive.Events`, as of the next ones."""
        return self.clock("compile" if first else "train")

    def stepped(self, taken: int, values: dict[str, jax.Array], first: bool) -> None:
        if first:
            self.claim(values)
            self.pace.begin(taken, self.clock.spent())
        self.pace.under_way(taken, values["loss"])

    def log(self, taken: int, values: dict[str, jax.Array]) -> None:
        """Takes the metrics of a step and writes those of the one before, there by now."""
        with self.clock("log"):
            self.fetch()
            self.unfetched = (taken, values)

    def stop(self, taken: int) -> bool:
        return hosts.asked_to_stop(taken, self.should_stop())

    def save(self, taken: int, state: step.State, found: evaluation.Measured | None) -> None:
        with self.clock("checkpoint"):
            # A line is on disk before the checkpoint that follows it: a resumed run misses none.
            with self.clock("train"):
                jax.block_until_ready(state)
            self.fetch()
            self.writer.sync()
            loss = self.of_record(found or {})
            with jax.transfer_guard("allow"):  # Orbax moves what it saves in its own way
                self.checkpoints.save(taken, state, loss, self.clock.spent(), self.account(taken))

    def passed(self) -> None:
        self.checkpoints.check()

    def claim(self, values: dict[str, jax.Array]) -> None:
        """Makes the workdir this run's, now that a step of it has been taken."""
        jax.block_until_ready(values)  # a step that does not fit the memory fails here
        hosts.first(
            lambda: workdirs.claim(
                *(self.workdir, self.config, self.dataset.digest, self.started, self.start)
            )
        )

    def fetch(self) -> None:
        if self.unfetched is None:
            return
        (taken, values), self.unfetched = self.unfetched, None
        # Waiting for the device is training time, not the log's.
        with self.clock("train"):
            values = jax.device_get(values)
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(f"{name} {value} at step {taken}")
        self.writer.write(taken, values | self.pace.rates(self.clock.spent()))
        if hosts.leads():
            self.progress(taken, float(values["loss"]), self.pace.speed(taken, self.clock.spent()))

    def evaluate(self, state: step.State, names: Iterable[str]) -> evaluation.Measured:
        """The metrics of some sets, by their names, which are logged. Raises Diverged."""
        taken = int(jax.device_get(state.step))
        jax.block_until_ready(state)  # until then it is training that takes the time
        found: evaluation.Measured = {}
        for name in names:
            with self.clock("evaluate"):
                seen = self.evaluators[name].metrics(state, taken == self.config.steps)
            if not name:
                evaluation.check(self.task, taken, seen)
            found |= evaluation.named(name, seen)
        line = {f"eval_{name}": value for name, (value, _) in found.items()}
        line |= {f"eval_{name}_se": e for name, (_, e) in found.items() if e is not None}
        if line:
            self.writer.write(taken, line)
        return found

    def check_learned(self, found: evaluation.Measured) -> None:
        """Raises Diverged if a run ends far above where it began, on the validation set.

        Only where the training loss has risen too: where a model learns its training data by heart,
        the validation loss alone rises, and the run is what it is.
        """
        loss = found["loss"][0]
        if not hosts.first(lambda: metrics.rose(self.workdir, loss)):
            return
        initial, error = self.loss_at_first()
        if evaluation.far_above(loss, initial, math.inf if error is None else error):
            raise Diverged(
                f"validation loss {loss:.6g} after step {self.config.steps}, far above the "
                f"{initial:.6g} of the first weights"
            )

    def loss_at_first(self) -> tuple[float, float | None]:
        """The loss of the first weights, and its error: logged, or else of what the seed gives."""
        begun = self.first_step()
        known = hosts.first(lambda: metrics.evaluated_at(self.workdir, begun))
        if "loss" in known:
            return tuple(known["loss"])
        with self.clock("compile"):
            first = jax.block_until_ready(self.functions.init(self.hyper))
        with self.clock("evaluate"):
            return tuple(self.evaluators[""].metrics(first, last=False)["loss"])

    def record(self, outcome: dict[str, Any]) -> record.Record:
        lines = metrics.read(self.workdir)
        curve = [[x["step"], x["loss"]] for x in lines if "loss" in x]
        thin = max(1, math.ceil(len(curve) / CURVE_POINTS))
        return record.Record(
            run=self.name,
            **facts(self.account(self.config.steps)),
            **outcome,
            **pace.typical(lines, self.dataset.unit),
            of_record=self.task.OF_RECORD,
            curve=curve[::-thin][::-1],
            evaluations=metrics.evaluations(self.workdir),
            start=self.start,
            started=self.started,
            finished=_now(),
            seconds={what: round(s, 4) for what, s in self.clock.spent().items()},
            device=record.device(),
            versions=record.versions(),
            revision=record.revision(),
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
