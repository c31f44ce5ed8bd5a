"""The whole line: plan, sweep, fit, forecast, train what was forecast, score, report."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling import report
from scaling.fit import repeats
from scaling.fit.bias import judged
from scaling.fit.fitting import fit
from scaling.forecast import scoring, sealing
from scaling.plan import planning
from scaling.runs import plans, records
from scaling.sweep import sweeping as sweep
from scaling.sweep.ending import Unfinished
from train.cli import InputError, Unavailable

if TYPE_CHECKING:
    from scaling.plan.planning import Study
    from scaling.runs.plans import Plan, PlannedRun


def study(settings: "Study", workdir: Path, allow_missing: bool = False, **sweeping: Any) -> Path:
    """Runs a study to its end, or on from where it is, and returns the path of its report.

    Args:
      settings: the study's config.
      workdir: its folder.
      allow_missing: whether the forecast is sealed though runs to fit failed or are not finished.
      sweeping: how the runs are trained, see `scaling.sweep.sweep`.

    Raises:
      InputError: `workdir` holds another study, or the runs cannot carry a law or a forecast; then
        there is a report of what there is.
      Unavailable: another process is at work in it, or it cannot be written.
      scaling.sweep.ending.Unfinished: some runs have not ended; the same call tries them again.
      scaling.sweep.ending.Stopped: by a signal; the same call goes on.
    """
    plan = _plan(settings, workdir)
    try:
        sweep.sweep(workdir, plan, "fit", **sweeping)
    except Unfinished:
        if not allow_missing:
            raise
    try:
        _fit(workdir, plan)
        if settings.heldout:
            # The forecast is on disk, sealed by its digest, before the first held-out step.
            sealing.seal(workdir, allow_missing)
    except Unavailable:
        raise
    except InputError as error:  # the page shows what there is, and why there is no forecast
        print(f"report: {report.write(workdir, refused=str(error))}")
        raise
    if settings.heldout:
        sweep.sweep(workdir, plan, "heldout", **sweeping)
        scoring.score(workdir)
    return report.write(workdir)


def _plan(settings: "Study", workdir: Path) -> "Plan":
    """The study's plan. The one that is there stands, names included, if it is of the same runs."""
    path = workdir / "plan.json"
    plan = planning.make(settings)
    if path.exists():
        there = planning.load(path)
        ours, theirs = (Counter(map(_identity, p.runs)) for p in (plan, there))
        if ours != theirs:
            raise InputError(
                f"{workdir} holds another study: {(theirs - ours).total()} of its"
                f" {theirs.total()} runs are not of this config; give a new workdir"
            )
        data = {_identity(run): run.data_sha256 for run in plan.runs}
        runs = tuple(_on_data(run, data[_identity(run)]) for run in there.runs)
        plan = dataclasses.replace(plan, runs=runs)
    plans.save(path, plan)
    return plan


def _identity(run: "PlannedRun") -> tuple[str, str]:
    return run.role, run.config_sha256


def _on_data(run: "PlannedRun", data_sha256: str) -> "PlannedRun":
    """A planned run with the data that are there. Raises InputError if it was planned on others."""
    if not data_sha256:  # their size alone is known
        return run
    if run.data_sha256 not in ("", data_sha256):
        raise InputError(
            f"config.data: changed since the study was planned: sha256 {data_sha256}, not"
            f" {run.data_sha256}; restore the data, or give a new workdir"
        )
    return dataclasses.replace(run, data_sha256=data_sha256)


def _fit(workdir: Path, plan: "Plan") -> None:
    """Approaches 3 (law.json) and 2 (isoflop.json) on the runs that ended well."""
    runs = records.runs_to_fit(workdir, plan)
    runs.attrs["notes"] = [*runs.attrs.get("notes", ()), *repeats.note(runs)]
    law = fit(runs, backtest=True)
    law.save(str(workdir / "law.json"))
    judged(runs, law).save(str(workdir / "isoflop.json"))
