"""Trains one run.

    python -m train --config=configs/gpt.py:width=128,tokens=1e7 --workdir=/tmp/run1
    python -m train --config=configs/gpt.py --workdir=/tmp/run2 --config.model.dropout=0.1

A recipe's dials stand behind the file's name and set all that follows from them; any other field
is a flag.

The same command again resumes a run that was stopped, and does nothing for one that is finished.
For several processes, start it once in each: on a TPU VM, under Slurm (srun) and under Open MPI
they find each other, elsewhere --coordinator, --processes and --process say how.

Exit codes: 0 finished, 1 an error in a model, task or data set, whose traceback is shown, 2 bad
input, 3 diverged, 74 not saved (disk full), 130 stopped by Ctrl-C, and 75 to be started again:
stopped by SIGTERM, as at preemption, by SIGHUP, as when its terminal is closed (under nohup it goes
on), or by the loss of another process. 75 is EX_TEMPFAIL of sysexits.h, and no shell or library
uses it for anything else, so a launcher's rule can be "75: again" (Slurm: RequeueExit=75). 143,
which SIGTERM leaves by itself, would not say whether the state was saved.

Whoever is stopped saves after the step under way; before the first one, and while the last weights
are evaluated, there is nothing to save and it ends at once. A second Ctrl-C does not wait either.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from train import failure, stopping
from train.cli import CONFIG_HELP, InputError, config_values, define_path, run_main

if TYPE_CHECKING:
    from train.config import RunConfig

NOT_SAVED = 74  # EX_IOERR of sysexits.h


def main() -> int:
    """Runs the experiment of the flags."""
    values, folder = config_values("configs/gpt.py"), flags.FLAGS.workdir
    if not folder:
        raise InputError("--workdir: missing; give a folder for the run")
    # Before the processes join: then SIGTERM is JAX's, which tells the other processes.
    requests = stopping.Requests(folder)
    try:
        return _join(values, Path(folder), requests)
    except InputError:
        raise
    except Exception as error:
        if not failure.print_theirs(error):
            raise
        return 1


def _join(values: dict[str, Any], workdir: Path, requests: stopping.Requests) -> int:
    """Runs as one process of a run, or the only one."""
    # Before the first import of JAX, whose C++ parts would tell of a lost process in many lines.
    # What is an error for the run is raised as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from train import allocator, cache, config
    from train.checkpoint import SaveError
    from train.devices import hosts

    resolved = config.resolve(values)
    cache.use_cache()
    allocator.keep_memory()
    given = flags.FLAGS
    try:
        with hosts.joined(given.coordinator, given.processes, given.process):
            return _run(resolved, workdir, requests)
    except (SaveError, OSError) as error:
        known = isinstance(error, SaveError)
        text = error if known else f"{error.filename or workdir}: {error.strerror or error}"
        print(f"error: {text}", file=sys.stderr, flush=True)
        # Libraries that would write out what they hold have nowhere to, and would say so at length.
        os._exit(NOT_SAVED)


def _run(config: "RunConfig", workdir: Path, requests: stopping.Requests) -> int:
    """Runs, and says in process 0 how it ended."""
    from train import terminal
    from train.devices import hosts
    from train.run import Interrupted, finished, run

    say = print if hosts.leads() else lambda *_, **__: None
    before = hosts.first(lambda: finished(workdir) is not None)
    try:
        with terminal.run_progress(config.steps) as progress:
            result = run(
                config,
                workdir,
                progress=progress,
                should_stop=requests.asked,
                resumed=lambda step: say(
                    f"{workdir}: goes on from step {step} of {config.steps}", flush=True
                ),
                saved=requests.all_saved,
                tell=lambda line: line and say(line, file=sys.stderr),
            )
    except Interrupted as interrupted:
        say(f"{workdir}: {interrupted}; the same command goes on from there")
        return requests.exit_code()
    if hosts.leads():
        terminal.print_record(result, workdir, already=before)
    return 0 if result.status == "ok" else 3


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string=CONFIG_HELP, lock_config=True)
    define_path("workdir", None, "The run's folder; made if it is not there.")
    flags.DEFINE_string("coordinator", None, "Several processes: host:port of process 0.")
    flags.DEFINE_integer("processes", None, "Several processes: how many.", 1)
    flags.DEFINE_integer("process", None, "Several processes: which this one is, from 0.", 0)
    run_main(main)
