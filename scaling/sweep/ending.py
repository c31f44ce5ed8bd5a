"""How work on many runs ends: well, by a signal, with runs left over, or by what may pass; and the
exit code that says so.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from train.cli import Unavailable
from train.stopping import AGAIN, INTERRUPTED

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Work was asked to stop by a signal, and goes on at the next call.

    It may be raised anywhere, as KeyboardInterrupt is, and no `except Exception` is meant for it.
    """

    def __init__(self, by: int, kept: Mapping[str, str] | None = None):
        lines = [f"{name}: not saved now: {reason}" for name, reason in (kept or {}).items()]
        words = "on from here" if not lines else "on, from the newest checkpoints of these:"
        super().__init__("\n".join([f"stopped; the same command goes {words}", *lines]))
        self.by = by


class Unfinished(Exception):
    """Runs that have no record: what kept each from its end may pass."""

    def __init__(self, role: str, total: int, reasons: Mapping[str, str]):
        lines = [f"{name}: not finished: {reason}" for name, reason in reasons.items()]
        lines.append(
            f"{len(reasons)} of {total} {role} runs are not finished; the same command tries them"
            " again"
        )
        super().__init__("\n".join(lines))


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Gives the signals that ask for an end to a handler, and back to the one before.

    Where SIGHUP is ignored, as under nohup, it stays ignored.
    """
    before = {number: signal.getsignal(number) for number in _STOPPING}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Has a stop that was raised where Python drops what is raised come once more, a little later.

    Finalisers, and callbacks of weak references and of C libraries, are such places.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if isinstance(dropped.exc_value, Stopped):
            threading.Timer(0.02, os.kill, (os.getpid(), dropped.exc_value.by)).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def ended(workdir: Path, work: Callable[[], None]) -> int:
    """Does work on many runs; says in one line what kept it from its end, and with which exit code.

    What may pass is no error of the user's: whoever starts programs may start this one again.
    """

    def stop(number: int, _frame: Any) -> None:
        raise Stopped(number)

    try:
        with handled(stop), _raised_again():
            work()
    except Stopped as stopped:
        print(f"{workdir}: {stopped}")
        return INTERRUPTED if stopped.by == signal.SIGINT else AGAIN
    except Unfinished as unfinished:
        print(unfinished)
        return AGAIN
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return AGAIN
    except OSError as error:
        where, why = error.filename or workdir, error.strerror or error
        print(f"error: {where}: {why}; the same command goes on from here", file=sys.stderr)
        return AGAIN
    return 0
