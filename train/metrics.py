"""Metrics of a run: `metrics.jsonl`, the one source, and TensorBoard event files made beside it."""

import json
import os
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from train.record import save_text

FILE = "metrics.jsonl"


def read(workdir: Path) -> list[dict[str, float]]:
    """All whole lines of a run's metrics; a line cut off by a crash is left out."""
    path = workdir / FILE
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


class NoWriter:
    """Stands in for a `Writer` where another process writes."""

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Writer:
    """Appends metrics after `step`, and takes back what was logged later than that.

    A resumed run repeats the steps since its checkpoint; without taking their lines back they would
    stand twice.
    """

    def __init__(self, workdir: Path, step: int):
        kept = [line for line in read(workdir) if line["step"] <= step]
        save_text(workdir / FILE, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = (workdir / FILE).open("a", buffering=1)  # by lines, for who looks on
        self._board = SummaryWriter(
            str(workdir / "tensorboard"), purge_step=step + 1, flush_secs=30
        )

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Logs the values of one step; floats keep every bit."""
        values = {k: float(v) for k, v in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Returns once all that was written is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Writes out and closes the files."""
        self.sync()
        self._file.close()
        self._board.close()
