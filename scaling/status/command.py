"""What `python -m scaling.status` does with its flags."""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from scaling.console.printed import console, show, table
from scaling.runs import plans, records
from scaling.runs.plans import run_folder
from train import metrics
from train.cli import InputError
from train.terminal import clock

if TYPE_CHECKING:
    from scaling.runs.plans import PlannedRun
    from train.record import Record

QUIET = 600.0  # seconds without a line after which a run is taken for stopped


@dataclasses.dataclass(frozen=True)
class State:
    """Where a run is: its record, or how far it has come and how long ago that was written."""

    run: "PlannedRun"
    record: "Record | None"
    step: int
    age: float  # seconds; infinite where no step was written down

    @property
    def word(self) -> str:
        """ok, diverged or failed by its record; under way, stopped or waiting without one."""
        if self.record:
            return self.record.status
        return "under way" if self.age < QUIET else "stopped" if self.step else "waiting"


def run(given: Any) -> None:
    """Prints a line a run, and one of all."""
    if not given.workdir:
        raise InputError("--workdir: missing; the folder of a study")
    workdir = Path(given.workdir)
    plan = plans.load(workdir / "plan.json")
    states, on = [state(workdir, run) for run in plan.runs], console()
    shown = table(f"Runs of the study {escape(str(plan.study['name']))}", "", "", "steps", "")
    for one in states:
        steps = int(one.run.config["steps"])
        ended = one.record is not None and one.record.status == "ok"
        ago = f"{clock(one.age)} ago" if one.word in ("under way", "stopped") else ""
        done = f"{steps if ended else one.step:,} of {steps:,}"
        shown.add_row(*map(escape, (one.run.run, one.word, done, ago)))
    show(on, shown)
    counts = ", ".join(f"{n} {word}" for word, n in Counter(one.word for one in states).items())
    on.print(f"{len(states)} runs: {counts}; about {clock(seconds_left(states))} left")


def state(workdir: Path, planned: "PlannedRun") -> State:
    """Where a run is. Raises InputError for a record that is not of the planned run."""
    path, step, age = run_folder(workdir, planned.run) / metrics.FILE, 0, math.inf
    if (record := records.finished(workdir, planned)) is None and path.exists():
        step = max((int(line["step"]) for line in metrics.read(path.parent)), default=0)
        age = time.time() - path.stat().st_mtime
    return State(planned, record, step, age)


def seconds_left(states: Sequence[State]) -> float:
    """Until all runs have ended, if FLOPs take what they took in those that ended well and as many
    runs are under way at a time as now, or one; NaN where none has ended well."""
    well = [s.record for s in states if s.record and s.record.status == "ok"]
    flops = sum(record.C["forward"] for record in well)
    seconds = sum(record.seconds.get("total", 0.0) for record in well)
    left = sum(
        s.run.C["forward"] * (1 - s.step / s.run.config["steps"]) for s in states if not s.record
    )
    at_a_time = max(1, sum(s.word == "under way" for s in states))
    return left * seconds / flops / at_a_time if flops and seconds else math.nan
