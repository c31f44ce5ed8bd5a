"""A worker process of a sweep: trains the runs it is sent and tells how they go."""

import ctypes
import os
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_SECONDS_BETWEEN_REPORTS = 0.25


def serve(connection: Connection, stop: Any, cores: list[int] | None) -> None:
    """Trains until the connection closes.

    Receives (run name, config as a dict, workdir); sends ("progress", run, step, loss) and in the
    end one of ("done", run, status), ("stopped", run) or ("failed", run, reason).

    Args:
      connection: to the sweep.
      stop: a multiprocessing Event; once set, the run under way saves a checkpoint and stops.
      cores: the processor cores this worker keeps to; None = all.
    """
    _die_with_parent()
    # Ctrl-C reaches every process of a terminal; the sweep decides what it means and sets `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores:
        # Before JAX is imported: it sizes its thread pools by the cores it is allowed.
        os.sched_setaffinity(0, cores)
    from train import compilation

    compilation.use_cache()
    while True:
        try:
            name, values, workdir = connection.recv()
        except EOFError:
            return
        connection.send(_train(connection, stop, name, values, Path(workdir)))


def _train(connection: Connection, stop: Any, name: str, values: dict, workdir: Path) -> tuple:
    from train import config, run

    last = [0.0]

    def progress(step: int, loss: float) -> None:
        if time.monotonic() - last[0] > _SECONDS_BETWEEN_REPORTS:
            last[0] = time.monotonic()
            connection.send(("progress", name, step, loss))

    try:
        result = run.run(
            config.resolve(values), workdir, name=name, progress=progress, should_stop=stop.is_set
        )
    except run.Interrupted:
        return ("stopped", name)
    except Exception as error:
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "traceback.txt").write_text(traceback.format_exc())
        return ("failed", name, " ".join(f"{type(error).__name__}: {error}".split())[:500])
    return ("done", name, result.status)


def _die_with_parent() -> None:
    """Asks Linux to end this process when the sweep's process ends, however it ends."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
