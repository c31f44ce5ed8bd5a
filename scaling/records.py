"""The records of a study: from one file a run to one table."""

from pathlib import Path
from typing import TYPE_CHECKING

from train import config, record
from train.record import Record

if TYPE_CHECKING:
    import pandas as pd

    from scaling.plan import Plan, PlannedRun


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
        bits_per_byte=None,
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

    N is all parameters, N_active those that a unit passes through, C the "forward" convention (see
    scaling.accounting); the others stay in the records.

    Raises:
      InputError: a record is corrupt, or is not of the run that the plan says.
    """
    import pandas as pd

    from train.cli import InputError

    rows = []
    for planned in plan.runs:
        path = workdir / "runs" / planned.run / "record.json"
        if not path.exists():
            continue
        found = record.load(path)
        if found.config_sha256 != planned.config_sha256:
            changed = config.differences(found.config, planned.config)
            raise InputError(f"{path}: not the run that is planned: {'; '.join(changed)}")
        rows.append(_row(planned, found))
    return pd.DataFrame(rows)


def save_table(workdir: Path, plan: "Plan") -> Path:
    """Writes runs.csv and returns its path."""
    path = workdir / "runs.csv"
    record.save_text(path, table(workdir, plan).to_csv(index=False))
    return path


def _row(planned: "PlannedRun", found: Record) -> dict:
    optimizer = found.config["optimizer"]
    return {
        "run": found.run,
        "family": found.config["model"]["name"],
        "role": planned.role,
        "status": found.status,
        "reason": found.reason,
        "N": found.N["total"],
        "N_active": found.N.get("active", found.N["total"]),  # older records are of dense models
        "D": found.D,
        "C": found.C["forward"],
        "loss": found.loss,
        "loss_se": found.loss_se,
        "bits_per_byte": found.bits_per_byte,
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
