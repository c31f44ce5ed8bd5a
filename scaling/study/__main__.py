"""The whole line in one command: plan, sweep, fit, forecast, train what was forecast, score,
report.

    python -m scaling.study --config=configs/studies/demo.py --workdir=studies/demo

Every step reads and writes files under the workdir and skips what is there already, so a study that
was stopped goes on where it was (exit codes are those of scaling.sweep):

    plan.json  runs/<run>/record.json  runs.csv  isoflop.json  law.json  forecast.json  score.json
    report.html
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from scaling.console import executors
from scaling.sweep.ending import ended
from train.cli import InputError, config_values, define_path, run_main


def main() -> int:
    """Runs the study of the flags."""
    values, folder = config_values("configs/studies/demo.py"), flags.FLAGS.workdir
    if not folder:
        raise InputError("--workdir: missing; give a folder for the study")
    from scaling.plan import planning
    from scaling.study.line import study
    from scaling.study.show import print_study

    settings, workdir = planning.resolve(values), Path(folder)
    allow_missing, sweeping = flags.FLAGS.allow_missing, executors.flag_values()

    def work() -> None:
        page = study(settings, workdir, allow_missing, **sweeping)
        print_study(workdir)
        print(f"report: {page}")

    return ended(workdir, work)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    define_path("workdir", None, "The study's folder; made if it is not there.")
    flags.DEFINE_bool(
        "allow_missing", False, "Seal the forecast without runs that failed or are not finished."
    )
    executors.define_flags()
    run_main(main)
