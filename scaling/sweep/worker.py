"""Runs of a sweep on this machine: worker processes, each on its share of the cores, and what the
sweep says to them and hears from them.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from train import allocator
from train.cli import never_fail_to_print

# A fork of a process that has used JAX can deadlock; one of a server that has only imported it is
# there at once, where a new process takes seconds.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["train.run"])
_SECONDS_BETWEEN_REPORTS = 0.25
_SECONDS_BETWEEN_BEATS = 5.0
_LEAST_USE = 0.25  # seconds of a processor between two beats that are work
UNDER_WAY = ("progress", "alive")  # messages of a run that goes on
# What a terminal or a scheduler sends to all processes of a group.
_TO_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_workers() -> int:
    """One worker a core on CPU; one in all where JAX has an accelerator."""
    return 1 if allocator.on_accelerator() else len(_cores())


class Processes:
    """The executor of one machine; see `scaling.sweep.Executor`."""

    # A process that dies may have been killed for memory by chance: its run gets a second try.
    tries = 2

    def __init__(self, count: int):
        with _deaf():  # this starts a process as well, which looks after the event
            self._stop = FORKSERVER.Event()
        # Small models run slower on two cores than on one, so a worker keeps to its share even
        # where runs are fewer than workers.
        self.workers = [self._worker(cores) for cores in _share_cores(count)]

    def room(self, waiting: int) -> bool:
        """Whether a worker is idle."""
        return waiting > 0 and any(worker.run is None for worker in self.workers)

    def start(self, run: str, config: dict[str, Any], data_sha256: str, folder: Path) -> None:
        """Gives a run to an idle worker."""
        worker = next(worker for worker in self.workers if worker.run is None)
        worker.run = run
        # If the worker has just died, its closed connection will say so.
        with contextlib.suppress(OSError):
            worker.connection.send((run, config, data_sha256, str(folder)))

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

    def kill(self, run: str) -> None:
        """Ends the worker of a run."""
        worker = next(worker for worker in self.workers if worker.run == run)
        worker.process.kill()
        # A process that waits for a broken disk may live on, and then keeps the run's folder.
        worker.process.join(timeout=10)
        worker.connection.close()
        self._replace(worker)

    def close(self) -> None:
        """Ends all workers."""
        try:
            for worker in self.workers:
                worker.connection.close()
            for worker in self.workers:
                worker.process.join(timeout=10)
        finally:
            for worker in self.workers:
                worker.process.kill()

    def _worker(self, cores: list[int] | None) -> "_Process":
        return _Process(self._stop, cores)

    def _replace(self, worker: "_Process") -> None:
        self.workers[self.workers.index(worker)] = self._worker(worker.cores)

    def _hear(self, worker: "_Process") -> Iterator[tuple]:
        try:
            while worker.run is not None and worker.connection.poll():
                message = worker.connection.recv()
                if message[0] not in UNDER_WAY:
                    worker.run = None
                yield message
        except (EOFError, OSError):
            worker.process.join()
            self._replace(worker)
            reason = f"worker process died with exit code {worker.process.exitcode}"
            yield "died", worker.run, reason


class _Process:
    """A worker process and the run it is at."""

    def __init__(self, stop, cores: list[int] | None):
        self.connection, theirs = FORKSERVER.Pipe()
        arguments = (theirs, stop, cores)
        self.process = FORKSERVER.Process(target=_serve, args=arguments, daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()
        self.cores = cores
        self.run: str | None = None


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes started inside never hear what is sent to a whole group, from their first moment.

    The sweep hears it, decides what it means, and sets `stop`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_THE_GROUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, stop: Any, cores: list[int] | None) -> None:
    """Trains the runs it is sent until the connection closes. This is the worker process.

    Args:
      connection: to the sweep.
      stop: a multiprocessing Event; once set, the run under way saves a checkpoint and stops.
      cores: the processor cores this worker keeps to; None = all.
    """
    _die_with_parent()
    never_fail_to_print()
    if cores:
        # Before JAX looks for devices: it sizes its thread pools by the cores it is allowed.
        os.sched_setaffinity(0, cores)
    allocator.keep_memory()
    one_at_a_time = threading.Lock()

    def tell(message: tuple) -> None:
        with one_at_a_time:
            connection.send(message)

    while True:
        try:
            name, values, data_sha256, folder = connection.recv()
        except EOFError:
            return
        _print_into(Path(folder) / "worker.log")
        tell(train(tell, stop.is_set, name, values, data_sha256, Path(folder)))


def _print_into(path: Path) -> None:
    """From now on what libraries print goes to a file: a terminal shows what the sweep says."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def train(
    tell: Callable[[tuple], None],
    should_stop: Callable[[], bool],
    name: str,
    values: dict[str, Any],
    data_sha256: str,
    folder: Path,
) -> tuple:
    """Trains one run in this process, on any executor.

    Args:
      tell: takes ("progress", run, step, loss), a few times a second at most, and ("alive", run)
        from another thread, as long as steps are taken or, before the first one, work is done.
      should_stop: polled after every step; True saves a checkpoint and stops.
      name: of the run.
      values: its config.
      data_sha256: of the data it was planned on; "" = any.
      folder: its workdir.

    Returns:
      How it ended: ("done", run, status of its record), ("stopped", run), or, with the traceback in
      `folder`, ("failed", run, reason) by its own config or code, or ("kept", run, reason) from its
      end by what may pass.
    """
    from train import cache, config, run

    last = [0.0]

    def progress(step: int, loss: float, *_) -> None:
        if time.monotonic() - last[0] > _SECONDS_BETWEEN_REPORTS:
            last[0] = time.monotonic()
            tell(("progress", name, step, loss))

    try:
        cache.use_cache()
        with _beating(lambda: tell(("alive", name))) as beat:
            result = run.run(
                config.resolve(values),
                folder,
                name=name,
                data_sha256=data_sha256,
                progress=progress,
                should_stop=lambda: beat() or should_stop(),
            )
    except run.Interrupted:
        return ("stopped", name)
    except Exception as error:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "traceback.txt").write_text(traceback.format_exc())
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return ("kept" if _may_pass(error) else "failed", name, reason)
    return ("done", name, result.status)


def _may_pass(error: Exception) -> bool:
    """Whether a run's end says nothing of the run, which may end well at another time or place."""
    from train.checkpoint import SaveError
    from train.cli import Unavailable

    # RESOURCE_EXHAUSTED is XLA's word for memory that others may have taken.
    return isinstance(
        error, (Unavailable, SaveError, OSError, MemoryError)
    ) or "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def _beating(say_alive: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Says every few seconds that work goes on, while it does; yields what to call at every step.

    Work is a step taken. Before the first step it is any use of a processor: reading data and
    compiling take their time, and a call that waits for something broken takes none.
    """
    steps, over = [0], threading.Event()

    def beat() -> None:
        steps[0] += 1

    def watch() -> None:
        before = (0, 0.0)
        while not over.wait(_SECONDS_BETWEEN_BEATS):
            now = (steps[0], time.process_time())
            if _worked(before, now):
                with contextlib.suppress(OSError):  # nobody listens any more
                    say_alive()
            before = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield beat
    finally:
        over.set()
        thread.join()


def _worked(before: tuple[int, float], now: tuple[int, float]) -> bool:
    """Whether work went on between two looks at (steps taken, seconds of processors used)."""
    return now[0] > before[0] or (not now[0] and now[1] - before[1] > _LEAST_USE)


def _die_with_parent() -> None:
    """Ends this process when the sweep's ends, however it ends, or has ended already.

    The server that forks the workers ends when the sweep does.
    """
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The signal is for a death that is still to come.
    if not multiprocessing.parent_process().is_alive():
        os._exit(1)


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
