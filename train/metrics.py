"""Metrics of a run: `metrics.jsonl`, the one source, and TensorBoard event files made beside it."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from train import strict
from train.record import save_text

FILE = "metrics.jsonl"


def read(workdir: Path) -> list[dict[str, float]]:
    """All whole lines of a run's metrics, by step; others, as a crash leaves them, are left out.

    Where a step has two lines of one kind, the later one in the file is taken.
    """
    return _read(workdir / FILE)[0]


def is_evaluation(line: dict[str, float]) -> bool:
    """Whether a line is of sets that a run is evaluated on, not of a training step."""
    return any(name.startswith("eval_") for name in line)


def evaluated(line: dict[str, float]) -> dict[str, list[float | None]]:
    """The metrics of such a line: {name: [value, standard error]}."""
    found = {k.removeprefix("eval_"): v for k, v in line.items() if k.startswith("eval_")}
    return {
        name: [value, found.get(f"{name}_se")]
        for name, value in found.items()
        if not name.endswith("_se")
    }


def evaluated_at(workdir: Path, step: int) -> dict[str, list[float | None]]:
    """The metrics that a run logged at a step where it was evaluated; {} if it was not."""
    lines = (line for line in read(workdir) if line["step"] == step and is_evaluation(line))
    return next(map(evaluated, lines), {})


def evaluations(workdir: Path) -> list[dict[str, Any]]:
    """What a run logged of the sets that it is evaluated on, as it stands in a record."""
    return [
        {"step": line["step"], "metrics": evaluated(line)}
        for line in read(workdir)
        if is_evaluation(line)
    ]


def rose(workdir: Path, loss: float) -> bool:
    """Whether a run's last training loss and a validation `loss` are above its first one.

    A cheap sign that it may have diverged, which seldom comes.
    """
    seen = [line["loss"] for line in read(workdir) if "loss" in line]
    return min(seen[-1], loss) > seen[0] if seen else False


def _read(path: Path) -> tuple[list[dict[str, float]], list[int]]:
    """The lines, see `read`, and the numbers of those left out, but for a last one cut off."""
    try:
        texts = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    lines, left_out = {}, []
    for number, text in enumerate(texts, start=1):
        line = _line(text)
        if line is not None:
            lines[line["step"], is_evaluation(line)] = line
        elif text and number < len(texts):
            left_out.append(number)
    return sorted(lines.values(), key=lambda line: line["step"]), left_out


def _line(text: bytes) -> dict[str, float] | None:
    """The values of a line; None if it is no line of ours."""
    try:
        line = strict.parse(text.decode())
    except ValueError:
        return None
    known = isinstance(line, dict) and type(line.get("step")) is int and line["step"] >= 0
    return line if known and all(type(v) in (int, float) for v in line.values()) else None


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
        lines, left_out = _read(workdir / FILE)
        kept = [line for line in lines if line["step"] <= step]
        if left_out:
            print(
                f"warning: {workdir / FILE}: {len(left_out)} damaged lines are dropped, the first "
                f"of them line {left_out[0]}",
                file=sys.stderr,
            )
        save_text(workdir / FILE, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = (workdir / FILE).open("a", buffering=1)  # by lines, for who looks on
        self._board = _Board(workdir / "tensorboard", step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Logs the values of one step; floats keep every bit."""
        values = {k: float(v) for k, v in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._board.write(step, values)

    def sync(self) -> None:
        """Returns once all that was written is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Writes out and closes the files."""
        self.sync()
        self._file.close()
        self._board.close()


class _Board:
    """An event file for TensorBoard. Where it cannot be written the run goes on without.

    tensorboardX's own writer hands events to a thread, which dies of a full disk; and whoever fills
    its queue then waits for ever.
    """

    def __init__(self, folder: Path, begins: int):
        """Makes a file, whose steps from `begins` on replace those of files before it."""
        self._folder, self._file = folder, None
        try:
            folder.mkdir(exist_ok=True)
            self._file = EventsWriter(str(folder / "events"))
        except OSError as error:
            self._lost(error)
        self._add(Event(step=begins, file_version="brain.Event:2"))
        self._add(Event(step=begins, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._add(Event(step=step, summary=scalar(name, value)))
        self._flush()

    def close(self) -> None:
        self._flush()
        if self._file is not None:
            self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            if self._file is not None:
                self._file.write_event(event)
        except OSError as error:
            self._lost(error)

    def _flush(self) -> None:
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        why = error.strerror or error
        print(f"warning: {self._folder}: {why}; goes on without TensorBoard", file=sys.stderr)
        if self._file is not None:
            with contextlib.suppress(OSError):  # its own close begins by writing the rest
                self._file._py_recordio_writer.close()
        self._file = None
