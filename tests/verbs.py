"""Verbs called in the process of a test: all of `python -m scaling.fit ...` but the new Python.

As processes they are started where a signal, a death or what gets imported is what is tested, and
all of them by tests/train/test_command.py.
"""

import contextlib
import io
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from absl import app, flags, logging

from train import cli

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Done:
    """How a verb ended; named as `subprocess.run` names it."""

    returncode: int
    stdout: str
    stderr: str


def call(module: str, *arguments: str) -> Done:
    """Does what `python -m module arguments` does; what would be a traceback is raised."""
    said, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        _as_found(),
        mock.patch.dict(os.environ),
        mock.patch.object(os, "_exit", sys.exit),
        mock.patch.object(sys, "argv", [module, *arguments]),
        mock.patch.object(cli, "never_fail_to_print"),  # it writes past the streams
        mock.patch.object(app, "_run_init", lambda argv, parse: parse(argv)),  # once a process
        warnings.catch_warnings(action="ignore"),  # of libraries, which Python does not show
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
    ):
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    return Done(code, said.getvalue(), errors.getvalue())


@contextlib.contextmanager
def _as_found() -> Iterator[None]:
    """Leaves flags, signal handlers and the level of absl's log as they were."""
    known = {k: v.copy() if isinstance(v, dict) else v for k, v in vars(flags.FLAGS).items()}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    level = logging.get_verbosity()
    # Where ml_collections puts a config's file: the next one is read into what the last one left.
    sys.modules.pop("config_config", None)
    try:
        yield
    finally:
        vars(flags.FLAGS).update(known)
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        logging.set_verbosity(level)
