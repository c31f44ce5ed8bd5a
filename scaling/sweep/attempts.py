"""What kept a run from its end, call after call: runs/<run>/attempts.jsonl, a line an attempt."""

import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

from scaling.runs.plans import run_folder


def note(study: Path, name: str, reason: str, died: bool) -> None:
    """Adds a line; where it cannot be written either, the reason is still printed.

    Args:
      study: its folder.
      name: of the run.
      reason: in words.
      died: whether the worker did, of which `deaths` counts.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    folder = run_folder(study, name)
    line: dict[str, Any] = {"ended": now, "reason": reason}
    if died:
        line["died_after"] = _newest_checkpoint(folder)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "attempts.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def deaths(study: Path, name: str) -> int:
    """How often in a row, up to the last line, the run's worker died after the same checkpoint."""
    try:
        text = (run_folder(study, name) / "attempts.jsonl").read_text(errors="replace")
    except OSError:
        return 0
    found = [_died_after(line) for line in text.splitlines()]
    row = 0
    while row < len(found) and found[-1 - row] is not None and found[-1 - row] == found[-1]:
        row += 1
    return row


def _died_after(line: str) -> int | None:
    """The step of the checkpoint after which a worker died; None for another end."""
    try:
        value = json.loads(line)
    except ValueError:  # half a line, of a sweep that was killed
        return None
    return value.get("died_after") if isinstance(value, dict) else None


def _newest_checkpoint(folder: Path) -> int:
    """The step of a run's newest checkpoint, 0 where there is none. JAX is not asked."""
    names = [path.name for path in (folder / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)
