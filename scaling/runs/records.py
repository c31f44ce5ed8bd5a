"""The records of a study: where they are, whether they are those planned, and a table of them."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from train import config, record
from train.cli import InputError
from train.record import Record

# Columns of parts that some models are counted by.
PARTS = {"encoder": "N_enc", "decoder": "N_dec"}

if TYPE_CHECKING:
    import pandas as pd

    from scaling.plan.planning import Plan, PlannedRun


def run_folder(study: Path, name: str) -> Path:
    """Where a run of a study is trained. Its name stands in files that a stranger may have made.

    Raises:
      InputError: it is not the name of a folder right inside DIR/runs.
    """
    runs = study / "runs"
    path = runs / str(name)
    plain = str(name).isprintable() and "\\" not in str(name) and len(str(name).encode()) <= 200
    if not plain or path.parent != runs or path.name != name or name == "..":
        raise InputError(f"run: {name!r}; a name that stays inside the folder {runs}")
    return path


def finished(study: Path, planned: "PlannedRun") -> Record | None:
    """The record of a planned run; None if it has not ended.

    Raises:
      InputError: it is corrupt, or is not of the run and the data that are planned.
    """
    path = run_folder(study, planned.run) / "record.json"
    if not path.exists():
        return None
    found = record.load(path)
    if found.config_sha256 != planned.config_sha256:
        changed = config.differences(found.config, planned.config)
        raise InputError(f"{path}: not the run that is planned: {'; '.join(changed)}")
    # A plan of version 1 knows no data, and a run that failed may have come to none.
    if planned.data_sha256 and found.data_sha256 not in ("", planned.data_sha256):
        raise InputError(
            f"{path}: data_sha256: {found.data_sha256}; the planned data have {planned.data_sha256}"
        )
    return found


def set_aside(study: Path, planned: "PlannedRun") -> None:
    """Makes way for another try of a run that is recorded as failed: its record gets a number."""
    path = run_folder(study, planned.run) / "record.json"
    names = (path.with_name(f"record.failed-{number}.json") for number in itertools.count(1))
    path.rename(next(name for name in names if not name.exists()))


def failed(run: "PlannedRun", reason: str) -> Record:
    """The record of a planned run that crashed before it could write its own."""
    return Record(
        run=run.run,
        status="failed",
        reason=reason,
        config=run.config,
        config_sha256=run.config_sha256,
        seed=run.seed,
        N=run.N,
        D=run.D,
        unit=run.unit,
        epochs=run.epochs,
        C=run.C,
        loss=None,
        loss_se=None,
        of_record="loss",
        metrics={},
        curve=[],
        evaluations=[],
        data_sha256="",
        started="",
        finished="",
        seconds={},
        device={},
        versions=record.versions(),
        revision=record.revision(),
    )


def table(workdir: Path, plan: "Plan") -> "pd.DataFrame":
    """All finished runs of a study, in the plan's order, one row each.

    N is all parameters, N_active those that a unit passes through, N_enc and N_dec those of an
    encoder and a decoder, C the "forward" convention (see train.accounting); the others stay in the
    records.

    Raises:
      InputError: a record is corrupt, or is not of the run that the plan says.
    """
    import pandas as pd

    pairs = [(planned, finished(workdir, planned)) for planned in plan.runs]
    return pd.DataFrame([_row(planned, found) for planned, found in pairs if found])


def save_table(workdir: Path, plan: "Plan") -> Path:
    """Writes runs.csv and returns its path."""
    path = workdir / "runs.csv"
    record.save_text(path, table(workdir, plan).to_csv(index=False))
    return path


def _metrics(found: Record) -> dict[str, float | None]:
    """A column for every metric of a run, and for its standard error."""
    columns = {}
    for name, (value, error) in found.metrics.items():
        if name != "loss":  # there, of record or not, the column is that of the number of record
            columns |= {name: value, f"{name}_se": error}
    return columns


def _row(planned: "PlannedRun", found: Record) -> dict:
    optimizer = found.config["optimizer"]
    return {
        "run": planned.run,
        "family": found.config["model"]["name"],
        "role": planned.role,
        "status": found.status,
        "reason": found.reason,
        "N": found.N["total"],
        "N_active": found.N.get("active", found.N["total"]),  # older records are of dense models
        **{column: found.N[part] for part, column in PARTS.items() if part in found.N},
        "D": found.D,
        "C": found.C["forward"],
        "loss": found.loss,
        "loss_se": found.loss_se,
        **_metrics(found),
        "budget": planned.budget,
        "size": planned.size,
        "seed": found.seed,
        "learning_rate": optimizer["learning_rate"],
        "weight_decay": optimizer["weight_decay"],
        "batch_size": found.config["batch_size"],
        "steps": found.config["steps"],
        "epochs": found.epochs,
        "seconds": found.seconds.get("total"),
        "started": found.started,
        "config_sha256": found.config_sha256,
    }
