"""Trains one run.

    python -m train --config=configs/gpt.py --workdir=/tmp/run1 --config.model.width=128

The same command again resumes a run that was stopped, and does nothing for one that is finished.
Exit codes: 0 finished, 2 bad input, 3 diverged, 130 stopped and resumable.
"""

import signal
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from train.cli import InputError, config_values, run_main


def main() -> int:
    """Runs the experiment of the flags."""
    values, folder = config_values("configs/gpt.py"), flags.FLAGS.workdir
    if not folder:
        raise InputError("--workdir: missing; give a folder for the run")
    from train import compilation, config, terminal
    from train.run import Interrupted, finished, run

    resolved = config.resolve(values)
    workdir = Path(folder)
    compilation.use_cache()
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(True))
    before = finished(workdir)
    try:
        with terminal.run_progress(resolved.steps) as progress:
            result = run(resolved, workdir, progress=progress, should_stop=lambda: bool(stop))
    except Interrupted as interrupted:
        print(f"{workdir}: {interrupted}; the same command goes on from there")
        return 130
    terminal.print_record(result, workdir, already=before is not None)
    return 0 if result.status == "ok" else 3


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="What to train.", lock_config=True)
    flags.DEFINE_string("workdir", None, "The run's folder; made if it is not there.")
    run_main(main)
