"""How every entry point starts and fails: one clear line on standard error and exit code 2."""

import difflib
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

from absl import app, flags, logging

from train.dials import left_behind

BAD_INPUT = 2
CONFIG_HELP = (
    "What to train: FILE.py, or FILE.py:width=128,tokens=1e7 to turn the dials of its recipe."
)


class InputError(Exception):
    """The user gave something wrong: the message names it, its value, and what is allowed."""


class Unavailable(InputError):
    """Something a run needs is not there now, which may pass: a lock, a file, room on a disk.

    It says nothing about the run: whoever trains many of them tries this one again.
    """


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Says what is allowed where `name` stood, the nearest valid name first."""
    allowed = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}"


def numbers(flag: str, given: Iterable[str]) -> list[float]:
    """The positive numbers of a flag that takes a list. Raises InputError naming the wrong one."""
    values = []
    for text in given:
        try:
            values.append(float(text))
        except ValueError:
            raise InputError(f"--{flag}: {text!r}; a number, or several with commas") from None
        if not (math.isfinite(values[-1]) and values[-1] > 0):
            raise InputError(f"--{flag}: {text!r}; a positive number")
    return values


def config_values(example: str) -> dict[str, Any]:
    """The values of --config, overrides applied. Raises InputError if it is missing."""
    config = flags.FLAGS.config
    if config is None:
        raise InputError(f"--config: missing; give a file, e.g. --config={example}")
    try:
        values = config.to_dict()
    except OSError as error:  # a missing file comes to light at the first look at its values
        raise InputError(f"--config: {error}") from None
    for line in left_behind(flags.FLAGS["config"], values):
        print(f"note: {line}", file=sys.stderr)
    return values


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except SystemExit:  # --help has printed its text; absl would leave with 1
        sys.exit(0)
    # Config overrides are applied while flags are parsed, and ml_collections reports a bad one with
    # whichever of these exceptions the assignment raised.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def run_main(main: Callable[[], int | None]) -> None:
    """Parses flags, calls `main`, and exits with its code (None is 0).

    `InputError` becomes one line and exit code 2; any other exception is a defect of ours and keeps
    its traceback.
    """

    def guarded(argv: list[str]) -> int:
        try:
            if len(argv) > 1:
                raise InputError(f"unexpected argument {argv[1]!r}: everything is given by flags")
            # absl shows what libraries say about themselves by default; a person asked for our
            # output.
            if not flags.FLAGS["verbosity"].present:
                logging.set_verbosity(logging.WARNING)
            return main() or 0
        except InputError as error:
            print(f"error: {_one_line(error)}", file=sys.stderr)
            return BAD_INPUT

    app.run(guarded, flags_parser=_parse_flags)
