"""An error in a user's model, task or data set, told by the frames that are theirs."""

import sys
import sysconfig
import traceback
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_MACHINERY = (_ROOT / "train", _ROOT / "scaling")
_TASKS = _ROOT / "train" / "tasks"
_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
)


def print_theirs(error: BaseException) -> bool:
    """Prints an error with its traceback, without what only calls a model, a task or a data set.

    False, and nothing printed, if it comes from nowhere else.
    """
    told = traceback.TracebackException.from_exception(error)
    theirs = [frame for frame in told.stack if _is_theirs(frame.filename)]
    if not theirs:
        return False
    told.stack = traceback.StackSummary.from_list(theirs)
    # JAX adds how to see its own frames.
    notes = told.__notes__ or []
    told.__notes__ = [note for note in notes if "JAX_TRACEBACK_FILTERING" not in note]
    print("".join(told.format(chain=False)), end="", file=sys.stderr)
    return True


def _is_theirs(file: str) -> bool:
    if file.startswith("<"):
        return False
    path = Path(file).resolve()
    if any(path.is_relative_to(folder) for folder in _LIBRARIES):
        return False
    return path.is_relative_to(_TASKS) or not any(path.is_relative_to(f) for f in _MACHINERY)
