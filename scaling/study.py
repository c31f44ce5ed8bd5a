"""The whole line in one command: plan, sweep, fit, forecast, train what was forecast, score,
report.

    python -m scaling.study --config=configs/studies/demo.py --workdir=studies/demo

Every step reads and writes files under the workdir and skips what is there already, so a study that
was stopped goes on where it was:

    plan.json  runs/<run>/record.json  runs.csv  isoflop.json  law.json  forecast.json  score.json
    report.html
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from scaling import sweep as sweeping
from train.cli import InputError, config_values, run_main

if TYPE_CHECKING:
    from scaling.cluster import Cluster
    from scaling.plan import Plan, Study


def study(
    settings: "Study", workdir: Path, workers: int = 0, cluster: "Cluster | None" = None
) -> Path:
    """Runs a study to its end, or on from where it is, and returns the path of its report.

    Raises:
      InputError: `workdir` holds another study, or the runs cannot carry a law.
      scaling.sweep.Stopped: by Ctrl-C; the same call goes on.
    """
    from scaling import records, report, sealing
    from scaling.sweep import sweep

    plan = _plan(settings, workdir)
    sweep(workdir, plan, "fit", workers, cluster)
    records.save_table(workdir, plan)
    _fit(workdir)
    if settings.heldout:
        # The forecast is on disk, sealed by its digest, before the first held-out step is taken.
        sealing.seal(workdir)
        sweep(workdir, plan, "heldout", workers, cluster)
        records.save_table(workdir, plan)
        sealing.score(workdir)
    return report.write(workdir)


def _plan(settings: "Study", workdir: Path) -> "Plan":
    from scaling import plan as planning

    path = workdir / "plan.json"
    plan = planning.make(settings)
    there = planning.load(path) if path.exists() else plan
    plan = planning.with_names_of(plan, there)
    if there.runs != plan.runs:
        ours, theirs = ({(r.run, r.config_sha256) for r in p.runs} for p in (plan, there))
        raise InputError(
            f"{workdir} holds another study: {len(theirs - ours)} of its {len(theirs)} runs are not"
            " of this config; give a new workdir"
        )
    planning.save(path, plan)
    return plan


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
    values, workdir = config_values("configs/studies/demo.py"), flags.FLAGS.workdir
    if not workdir:
        raise InputError("--workdir: missing; give a folder for the study")
    from scaling import plan
    from scaling.sweep import Stopped

    settings = plan.resolve(values)
    try:
        page = study(settings, Path(workdir), flags.FLAGS.workers, sweeping.cluster_of_flags())
    except Stopped as stopped:
        print(f"{workdir}: {stopped}")
        return 130
    _show(Path(workdir))
    print(f"report: {page}")
    return 0


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    flags.DEFINE_string("workdir", None, "The study's folder; made if it is not there.")
    sweeping.define_flags()
    flags.adopt_module_key_flags(sweeping)  # so that --help shows them
    run_main(main)
