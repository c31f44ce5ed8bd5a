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

from train.cli import InputError, run_main

if TYPE_CHECKING:
    from scaling.plan import Plan, Study


def study(settings: "Study", workdir: Path, workers: int = 0) -> Path:
    """Runs a study to its end, or on from where it is, and returns the path of its report.

    Raises:
      InputError: `workdir` holds another study, or the runs cannot carry a law.
      scaling.sweep.Stopped: by Ctrl-C; the same call goes on.
    """
    from scaling import forecast, records, report
    from scaling.sweep import sweep

    plan = _plan(settings, workdir)
    sweep(workdir, plan, "fit", workers)
    records.save_table(workdir, plan)
    _fit(workdir)
    if settings.heldout:
        # The forecast is on disk, sealed by its digest, before the first held-out step is taken.
        forecast.seal(workdir)
        sweep(workdir, plan, "heldout", workers)
        records.save_table(workdir, plan)
        forecast.score(workdir)
    return report.write(workdir)


def _plan(settings: "Study", workdir: Path) -> "Plan":
    from scaling import plan as planning

    path = workdir / "plan.json"
    plan = planning.make(settings)
    if path.exists() and (there := planning.load(path)).runs != plan.runs:
        ours, theirs = ({(r.run, r.config_sha256) for r in p.runs} for p in (plan, there))
        raise InputError(
            f"{workdir} holds another study: {len(theirs - ours)} of its {len(theirs)} runs are not"
            " of this config; give a new workdir"
        )
    planning.save(path, plan)
    return plan


def _fit(workdir: Path) -> None:
    """Approaches 3 (law.json) and 2 (isoflop.json) on the runs that ended well."""
    from scaling import isoflop
    from scaling.fit import fit
    from scaling.table import read_runs

    runs = read_runs(str(workdir / "runs.csv"))
    fit(runs).save(str(workdir / "law.json"))
    isoflop.isoflop(runs).save(str(workdir / "isoflop.json"))


def main() -> int:
    """Runs the study of the flags."""
    config, workdir = flags.FLAGS.config, flags.FLAGS.workdir
    if config is None or not workdir:
        raise InputError("--config and --workdir: give both, e.g. --config=configs/studies/demo.py")
    from scaling import plan, terminal
    from scaling.sweep import Stopped

    settings = plan.resolve(config.to_dict())
    try:
        page = study(settings, Path(workdir), flags.FLAGS.workers)
    except Stopped as stopped:
        print(f"{workdir}: {stopped}")
        return 130
    terminal.print_study(Path(workdir))
    print(f"report: {page}")
    return 0


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    flags.DEFINE_string("workdir", None, "The study's folder; made if it is not there.")
    flags.DEFINE_integer("workers", 0, "Processes; 0 = one a core on CPU, one on accelerators.", 0)
    run_main(main)
