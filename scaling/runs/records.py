"""The records of a study: where they are, whether they are those planned, and a table of them."""

import contextlib
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.runs import measure
from scaling.runs.measure import Measure
from scaling.runs.plans import Plan, PlannedRun, run_folder
from scaling.runs.table import fit_rows, read_csv, read_runs
from train import account, record
from train.cli import InputError, nearest
from train.identity import differences
from train.record import Record

# Columns of parts that some models are counted by.
PARTS = {"encoder": "N_enc", "decoder": "N_dec"}

if TYPE_CHECKING:
    import pandas as pd

TASK_LOSS = "task_loss"  # the column of a task's loss where laws are fitted to another metric


def finished(study: Path, planned: PlannedRun) -> Record | None:
    """The record of a planned run; None if it has not ended.

    Raises:
      InputError: it is corrupt, or is not of the run and the data that are planned.
    """
    path = run_folder(study, planned.run) / "record.json"
    if not path.exists():
        return None
    found = record.load(path)
    if found.config_sha256 != planned.config_sha256:
        changed = differences(found.config, planned.config)
        raise InputError(f"{path}: not the run that is planned: {'; '.join(changed)}")
    # A plan of version 1 knows no data, and a run that failed may have come to none.
    if planned.data_sha256 and found.data_sha256 not in ("", planned.data_sha256):
        raise InputError(
            f"{path}: data_sha256: {found.data_sha256}; the planned data have {planned.data_sha256}"
        )
    return found


def set_aside(study: Path, planned: PlannedRun) -> None:
    """Makes way for another try of a run that is recorded as failed.

    Its record gets a number, and so does the list of attempts: their count begins anew.
    """
    folder = run_folder(study, planned.run)
    numbers = (n for n in itertools.count(1) if not (folder / f"record.failed-{n}.json").exists())
    number = next(numbers)
    with contextlib.suppress(FileNotFoundError):
        (folder / "attempts.jsonl").rename(folder / f"attempts.failed-{number}.jsonl")
    (folder / "record.json").rename(folder / f"record.failed-{number}.json")


def failed(run: PlannedRun, reason: str) -> Record:
    """The record of a planned run that crashed before it could write its own."""
    return Record(
        run=run.run,
        status="failed",
        reason=reason,
        **account.facts(run, data_sha256=""),
        loss=None,
        loss_se=None,
        of_record="loss",
        metrics={},
        curve=[],
        evaluations=[],
        started="",
        finished="",
        seconds={},
        device={},
        versions=record.versions(),
        revision=record.revision(),
    )


def table(workdir: Path, plan: Plan) -> "pd.DataFrame":
    """All finished runs of a study, in the plan's order, one row each.

    N is all parameters, N_active those that a unit passes through, N_enc and N_dec those of an
    encoder and a decoder, C the "forward" convention (see train.accounting); the others stay in the
    records. `loss` is what the study's laws are fitted to; where that is another metric, the loss
    of the task is `task_loss`.

    Raises:
      InputError: a record is corrupt, or is not of the run that the plan says, or no run has the
        metric that is to be fitted.
    """
    import pandas as pd

    target = measure.target(plan.study)
    pairs = [(planned, finished(workdir, planned)) for planned in plan.runs]
    ended = [found for _, found in pairs if found and found.status == "ok"]
    if ended and all(target.of(found)[0] is None for found in ended):
        known = [*ended[0].metrics, ended[0].of_record]
        raise InputError(f"study.target: {target.name!r}; {nearest(target.name, known)}")
    return pd.DataFrame([_row(planned, found, target) for planned, found in pairs if found])


def check_table(
    workdir: Path, plan: Plan, found: Mapping[str, Record | None], whole: bool = True
) -> None:
    """Checks that runs.csv is of this plan and these records, and was not cut short.

    Args:
      workdir: the study's folder.
      plan: its plan.
      found: the records of its runs to fit, by name.
      whole: whether each of them must have its row: a sweep writes the table at its end.

    Raises:
      InputError: naming the file and the run.
    """
    path = workdir / "runs.csv"
    rows = read_csv(str(path))
    for name in ("run", "status", "N", "D", "C", "loss"):
        if name not in rows.columns:
            raise InputError(f"{path}: has no column {name!r}; scaling.sweep writes it anew")
    rows = {str(row["run"]): row for row in rows.to_dict("records")}
    if unknown := rows.keys() - {run.run for run in plan.runs}:
        raise InputError(
            f"{path}: run {min(unknown)!r}: not in plan.json; one of the two is of another study"
        )
    target = measure.target(plan.study)
    for run in plan.role("fit"):
        ended, row = found.get(run.run), rows.get(run.run)
        if ended and (row or whole) and not _agree(row or {}, ended, target):
            raise InputError(
                f"{path}: run {run.run!r}: {'not as in' if row else 'missing, but has'} its "
                "record.json; scaling.sweep writes the table anew"
            )


def _agree(row: Mapping[str, Any], found: Record, target: Measure) -> bool:
    """Whether a row of the table says what a record does, to the last digit."""
    numbers = {"N": found.N["total"], "D": found.D, "C": found.C["forward"]}
    numbers["loss"] = _fitted(found, target)[0]
    return row.get("status") == found.status and all(
        _number(row[name]) == value for name, value in numbers.items()
    )


def _number(text: Any) -> float | None:
    """What a cell says; None for a blank one, and for what is no number."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(value) else value


def save_table(workdir: Path, plan: Plan) -> Path:
    """Writes runs.csv and returns its path."""
    path = workdir / "runs.csv"
    record.save_text(path, table(workdir, plan).to_csv(index=False))
    return path


def runs_to_fit(workdir: Path, plan: Plan) -> "pd.DataFrame":
    """The runs of DIR/runs.csv that laws are fitted to. Raises InputError."""
    runs = fit_rows(read_runs(str(workdir / "runs.csv"), split="role"))
    label = measure.target(plan.study).label
    if label != "loss":
        runs.attrs["notes"] = [*runs.attrs["notes"], f"the loss is {label}, the study's target"]
    return runs


def parts(N: Mapping[str, int]) -> dict[str, int]:
    """The columns of `PARTS` that a model's numbers of parameters give."""
    return {column: N[part] for part, column in PARTS.items() if part in N}


def column(runs: "pd.DataFrame", metric: str) -> str:
    """The column of a metric in a table of runs; what is fitted has another one, `loss`."""
    return TASK_LOSS if metric == "loss" and TASK_LOSS in runs.columns else metric


def _fitted(found: Record, target: Measure) -> tuple[float | None, float | None]:
    """What laws are fitted to, and its standard error.

    None for a run that reached the best value, such as an accuracy of 1: laws are of logarithms.
    """
    value, error = target.of(found)
    lack = None if value is None else target.lack(value)
    return lack or None, error


def _metrics(found: Record, target: Measure) -> dict[str, float | None]:
    """A column for every metric of a run, and for its standard error."""
    columns = {}
    for name, (value, error) in found.metrics.items():
        if name == "loss":  # that column is of what is fitted
            if (target.name or found.of_record) == "loss":
                continue
            name = TASK_LOSS
        columns |= {name: value, f"{name}_se": error}
    return columns


def _start(found: Record) -> dict:
    """Columns of what a run began with, where it began with anything but its seed."""
    begun = found.start
    return {"start_run": begun["run"], "start_D": begun["D"]} if begun else {}


def _row(planned: PlannedRun, found: Record, target: Measure) -> dict:
    optimizer = found.config["optimizer"]
    loss, loss_se = _fitted(found, target)
    return {
        "run": planned.run,
        "family": found.config["model"]["name"],
        "role": planned.role,
        "status": found.status,
        "reason": found.reason,
        "N": found.N["total"],
        "N_active": found.N.get("active", found.N["total"]),  # older records are of dense models
        **parts(found.N),
        "D": found.D,
        "C": found.C["forward"],
        "loss": loss,
        "loss_se": loss_se,
        **_metrics(found, target),
        "budget": planned.budget,
        "size": planned.size,
        "seed": found.seed,
        "learning_rate": optimizer["learning_rate"],
        "weight_decay": optimizer["weight_decay"],
        "batch_size": found.config["batch_size"],
        "steps": found.config["steps"],
        "epochs": found.epochs,
        **_start(found),
        "seconds": found.seconds.get("total"),
        "started": found.started,
        "config_sha256": found.config_sha256,
    }
