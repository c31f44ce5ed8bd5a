"""Runs of a sweep on this machine: worker processes, each on its share of the cores, and what the
sweep says to them and hears from them.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from train.cli import never_fail_to_print

_SECONDS_BETWEEN_REPORTS = 0.25


def default_workers() -> int:
    """One worker a core on CPU; one in all where JAX has an accelerator."""
    plugins = [p.name for p in metadata.entry_points(group="jax_plugins")]
    if plugins and os.environ.get("JAX_PLATFORMS") != "cpu":
        return 1
    return len(_cores())


class Processes:
    """The executor of one machine; see `scaling.sweep.Executor`."""

    # A process that dies may have been killed for memory by chance: its run gets a second try.
    tries = 2

    def __init__(self, count: int):
        # A fork of a process that has used JAX can deadlock; a spawned one starts clean.
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        # Small models run slower on two cores than on one, so a worker keeps to its share even
        # where runs are fewer than workers.
        self.workers = [self._worker(cores) for cores in _share_cores(count)]

    def room(self, waiting: int) -> bool:
        """Whether a worker is idle."""
        return waiting > 0 and any(worker.run is None for worker in self.workers)

    def start(self, run: str, config: dict[str, Any], folder: Path) -> None:
        """Gives a run to an idle worker."""
        worker = next(worker for worker in self.workers if worker.run is None)
        worker.run = run
        # If the worker has just died, its closed connection will say so.
        with contextlib.suppress(OSError):
            worker.connection.send((run, config, str(folder)))

    def messages(self, seconds: float) -> Iterator[tuple]:
        """What the workers say within some seconds."""
        busy = [worker for worker in self.workers if worker.run is not None]
        # A closed connection is readable too, so a death is noticed here.
        wait([worker.connection for worker in busy], timeout=seconds)
        for worker in busy:
            yield from self._hear(worker)

    def stop(self) -> None:
        """Asks for all runs to be saved."""
        self._stop.set()

    def close(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.connection.close()
        for worker in self.workers:
            worker.process.join(timeout=10)
            worker.process.kill()

    def _worker(self, cores: list[int] | None) -> "_Process":
        return _Process(self._context, self._stop, cores)

    def _hear(self, worker: "_Process") -> Iterator[tuple]:
        try:
            while worker.run is not None and worker.connection.poll():
                message = worker.connection.recv()
                if message[0] != "progress":
                    worker.run = None
                yield message
        except (EOFError, OSError):
            worker.process.join()
            self.workers[self.workers.index(worker)] = self._worker(worker.cores)
            reason = f"worker process died with exit code {worker.process.exitcode}"
            yield "died", worker.run, reason


class _Process:
    """A worker process and the run it is at."""

    def __init__(self, context, stop, cores: list[int] | None):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, stop, cores), daemon=True)
        self.process.start()
        theirs.close()
        self.cores = cores
        self.run: str | None = None


def _serve(connection: Connection, stop: Any, cores: list[int] | None) -> None:
    """Trains the runs it is sent until the connection closes. This is the worker process.

    Args:
      connection: to the sweep.
      stop: a multiprocessing Event; once set, the run under way saves a checkpoint and stops.
      cores: the processor cores this worker keeps to; None = all.
    """
    _die_with_parent()
    # Ctrl-C reaches every process of a terminal; the sweep decides what it means and sets `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    never_fail_to_print()
    if cores:
        # Before JAX is imported: it sizes its thread pools by the cores it is allowed.
        os.sched_setaffinity(0, cores)
    while True:
        try:
            name, values, folder = connection.recv()
        except EOFError:
            return
        connection.send(train(connection.send, stop.is_set, name, values, Path(folder)))


def train(
    tell: Callable[[tuple], None],
    should_stop: Callable[[], bool],
    name: str,
    values: dict[str, Any],
    folder: Path,
) -> tuple:
    """Trains one run in this process, on any executor.

    Args:
      tell: takes ("progress", run, step, loss), a few times a second at most.
      should_stop: polled after every step; True saves a checkpoint and stops.
      name: of the run.
      values: its config.
      folder: its workdir.

    Returns:
      How it ended: ("done", run, status of its record), ("stopped", run), or ("failed", run,
      reason), with the traceback in `folder`.
    """
    from train import compilation, config, run

    last = [0.0]

    def progress(step: int, loss: float, *_) -> None:
        if time.monotonic() - last[0] > _SECONDS_BETWEEN_REPORTS:
            last[0] = time.monotonic()
            tell(("progress", name, step, loss))

    compilation.use_cache()
    try:
        result = run.run(
            config.resolve(values), folder, name=name, progress=progress, should_stop=should_stop
        )
    except run.Interrupted:
        return ("stopped", name)
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "traceback.txt").write_text(traceback.format_exc())
        return ("failed", name, " ".join(f"{type(error).__name__}: {error}".split())[:500])
    return ("done", name, result.status)


def _die_with_parent() -> None:
    """Asks Linux to end this process when the sweep's process ends, however it ends."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _share_cores(count: int) -> list[list[int] | None]:
    """Splits the cores among workers; None where they cannot be pinned or are too few."""
    cores = _cores()
    if not hasattr(os, "sched_setaffinity") or count > len(cores):
        return [None] * count
    return [cores[i::count] for i in range(count)]
