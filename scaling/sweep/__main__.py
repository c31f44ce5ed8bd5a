"""Trains the runs of a plan side by side: on this machine, one process a core on CPU and one for
the accelerators; or on a cluster run on Ray.

    python -m scaling.sweep --workdir=studies/demo --role=fit
    python -m scaling.sweep --workdir=/shared/demo --executor=ray --gpus_per_run=1

A run that came to an end of its own leaves a record, the same one on any executor: it is ok, it
diverged, or its config or code failed. Called again, a sweep does what is left: a finished run is
never done twice, one that was stopped or killed goes on from its checkpoint. What kept a run from
its end and may pass (a lock, a missing file, a full disk, a worker that died or hung) leaves no
record: why stands in runs/<run>/attempts.jsonl, what libraries said in worker.log; the others go
on, and the next call tries that run again. One whose worker has died 6 times in a row without a
newer checkpoint is recorded as failed; --retry=failed tries such runs again. For what a cluster
needs see scaling/sweep/cluster.py.

Exit codes: 0 all runs have ended, 2 bad input, 130 stopped by Ctrl-C, and 75 to be started again:
some runs are not finished, or it was stopped by SIGTERM or SIGHUP.
"""

from pathlib import Path

from absl import flags

from scaling.console import executors
from scaling.sweep.ending import ended
from train.cli import InputError, define_path, run_main


def main() -> int:
    """Sweeps the plan of the flags."""
    from scaling.plan import planning
    from scaling.sweep.sweeping import sweep

    if not flags.FLAGS.workdir:
        raise InputError(
            "--workdir: missing; the folder that `python -m scaling.plan` wrote plan.json to"
        )
    workdir, options = Path(flags.FLAGS.workdir), executors.flag_values()

    def work() -> None:
        plan = planning.load(workdir / "plan.json")
        for record in sweep(workdir, plan, flags.FLAGS.role, **options):
            came_to = record.reason or f"{record.of_record} {record.loss:.4f}"
            print(f"{record.run}: {record.status} {came_to}")

    return ended(workdir, work)


if __name__ == "__main__":
    define_path("workdir", None, "The study's folder, with plan.json.")
    flags.DEFINE_enum("role", "fit", ["fit", "heldout"], "Which of the plan's runs.")
    executors.define_flags()
    run_main(main)
