"""The whole line in one command: plan, sweep, fit, forecast, train what was forecast, score,
report.

    python -m scaling.study --config=configs/studies/demo.py --workdir=studies/demo

Every step reads and writes files under the workdir and skips what is there already, so a study that
was stopped goes on where it was (exit codes are those of scaling.sweep):

    plan.json  runs/<run>/record.json  runs.csv  isoflop.json  law.json  forecast.json  score.json
    report.html
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from scaling import sweep
from scaling.ending import Unfinished, ended
from train.cli import InputError, Unavailable, config_values, define_path, run_main

if TYPE_CHECKING:
    from scaling.plan import Plan, PlannedRun, Study


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
      scaling.ending.Unfinished: some runs have not ended; the same call tries them again.
      scaling.ending.Stopped: by a signal; the same call goes on.
    """
    from scaling import report, scoring, sealing

    plan = _plan(settings, workdir)
    try:
        sweep.sweep(workdir, plan, "fit", **sweeping)
    except Unfinished:
        if not allow_missing:
            raise
    try:
        _fit(workdir)
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
    from scaling import plan as planning

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
    planning.save(path, plan)
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


def _fit(workdir: Path) -> None:
    """Approaches 3 (law.json) and 2 (isoflop.json) on the runs that ended well."""
    from scaling import repeats
    from scaling.fit import fit
    from scaling.isoflop import isoflop
    from scaling.table import fit_rows, read_runs

    runs = fit_rows(read_runs(str(workdir / "runs.csv"), split="role"))
    runs.attrs["notes"] = [*runs.attrs.get("notes", ()), *repeats.note(runs)]
    law = fit(runs, backtest=True)
    law.save(str(workdir / "law.json"))
    isoflop(runs, law=law).save(str(workdir / "isoflop.json"))


def _show(workdir: Path) -> None:
    """Prints the laws and how the forecast came out."""
    from scaling import fitted, forecast_words, isoflop
    from scaling.fit_print import print_fit
    from scaling.table import read_runs

    runs = read_runs(str(workdir / "runs.csv"), split="role")
    minima = isoflop.load(str(workdir / "isoflop.json"))
    print_fit(fitted.load(str(workdir / "law.json")), runs, minima=minima)
    if (workdir / "forecast.json").exists():
        forecast_words.print_study(workdir)


def main() -> int:
    """Runs the study of the flags."""
    values, folder = config_values("configs/studies/demo.py"), flags.FLAGS.workdir
    if not folder:
        raise InputError("--workdir: missing; give a folder for the study")
    from scaling import plan

    settings, workdir = plan.resolve(values), Path(folder)
    allow_missing, sweeping = flags.FLAGS.allow_missing, sweep.flag_values()

    def work() -> None:
        page = study(settings, workdir, allow_missing, **sweeping)
        _show(workdir)
        print(f"report: {page}")

    return ended(workdir, work)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    define_path("workdir", None, "The study's folder; made if it is not there.")
    flags.DEFINE_bool(
        "allow_missing", False, "Seal the forecast without runs that failed or are not finished."
    )
    sweep.define_flags()
    flags.adopt_module_key_flags(sweep)  # so that --help shows them
    run_main(main)
