"""What a sweep shows while it runs: runs done, what is under way with its loss, time left."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from scaling.plan import PlannedRun


class SweepProgress:
    """A live display on a terminal; elsewhere one line for each run that ends."""

    def __init__(
        self, study: str, role: str, chosen: Sequence["PlannedRun"], todo: Sequence["PlannedRun"]
    ):
        self.title = f"{study}: {role} runs"
        self.runs = {run.run: run for run in todo}
        self.total, self.ended_before = len(chosen), len(chosen) - len(todo)
        self.statuses: Counter[str] = Counter()
        self.active: dict[str, tuple[int, float]] = {}
        self.done_flops, self.all_flops = 0.0, sum(run.C["forward"] for run in todo)
        self.begin, self.note = time.monotonic(), ""
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, get_renderable=self._show, refresh_per_second=4)

    def __enter__(self) -> "SweepProgress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def started(self, run: "PlannedRun") -> None:
        """A worker has taken a run."""
        self.active[run.run] = (0, math.nan)

    def moved(self, name: str, step: int, loss: float) -> None:
        """A run has come to a step."""
        self.active[name] = (step, loss)

    def ended(self, name: str, status: str) -> None:
        """A run has its record."""
        self.active.pop(name, None)
        self.statuses[status] += 1
        self.done_flops += self.runs[name].C["forward"]
        if not self.console.is_terminal:
            count = self.ended_before + sum(self.statuses.values())
            left = _clock(self._seconds_left())
            self.console.print(
                f"{self.title}: {count} of {self.total}, {name} {status}, {left} left",
                highlight=False,
            )

    def lost(self, name: str, reason: str) -> None:
        """A run's worker is gone; the run waits for another."""
        self.active.pop(name, None)
        if not self.console.is_terminal:
            self.console.print(
                f"{self.title}: {name} to be tried again: {reason}", highlight=False, soft_wrap=True
            )

    def stopping(self) -> None:
        """The sweep was asked to stop."""
        self.note = "stopping: saving what is under way"

    def tick(self) -> None:
        """Called about once a second."""
        if self.console.is_terminal:
            self.live.refresh()

    def _share(self, name: str) -> float:
        return self.active[name][0] / self.runs[name].config["steps"]

    def _seconds_left(self) -> float:
        done = self.done_flops + sum(
            self._share(n) * self.runs[n].C["forward"] for n in self.active
        )
        elapsed = time.monotonic() - self.begin
        return elapsed * (self.all_flops / done - 1) if done else math.nan

    def _show(self) -> Group:
        count = self.ended_before + sum(self.statuses.values())
        bad = "".join(f", {n} {status}" for status, n in self.statuses.items() if status != "ok")
        head = (
            f"{self.title}: {count} of {self.total} done{bad}, {_clock(self._seconds_left())} left"
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_column(overflow="fold")  # of a narrow line, the names give way, never the numbers
        for _ in range(3):
            grid.add_column(no_wrap=True)
        width = min(30, max(4, self.console.width - 60))
        for name, (step, loss) in self.active.items():
            steps = self.runs[name].config["steps"]
            bar = ProgressBar(total=steps, completed=step, width=width)
            grid.add_row(f"  {name}", bar, f"{step:,} of {steps:,}", f"loss {loss:.4f}")
        return Group(Text(f"{head}  {self.note}"), grid)


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
