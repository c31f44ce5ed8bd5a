"""What a sweep shows while it runs: runs done, what is under way with its loss, time left."""

import heapq
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from train.terminal import clock

if TYPE_CHECKING:
    from scaling.runs.plans import PlannedRun


class SweepProgress:
    """A live display on a terminal; elsewhere one line for each run that ends."""

    def __init__(
        self, study: str, role: str, chosen: Sequence["PlannedRun"], todo: Sequence["PlannedRun"]
    ):
        self.title = f"{study}: {role} runs"
        self.runs = {run.run: run for run in todo}
        self.total, self.ended_before = len(chosen), len(chosen) - len(todo)
        self.statuses: Counter[str] = Counter()
        self.left = 0  # runs left for the next call
        self.active: dict[str, tuple[int, float]] = {}
        self.waiting = set(self.runs)
        self.slots = 1  # most runs that were under way at a time
        self.since: dict[str, float] = {}  # when a run was started
        self.took: list[tuple[float, float]] = []  # FLOPs and seconds, start to record
        self.note = ""
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
        self.active[run.run], self.since[run.run] = (0, math.nan), time.monotonic()
        self.waiting.discard(run.run)
        self.slots = max(self.slots, len(self.active))

    def moved(self, name: str, step: int, loss: float) -> None:
        """A run has come to a step."""
        self.active[name] = (step, loss)

    def ended(self, name: str, status: str) -> None:
        """A run has its record."""
        self.active.pop(name, None)
        self.statuses[status] += 1
        if status == "ok":
            self.took.append((self._flops(name), time.monotonic() - self.since[name]))
        if not self.console.is_terminal:
            count = self.ended_before + sum(self.statuses.values())
            left = clock(self._seconds_left())
            self.console.print(
                f"{self.title}: {count} of {self.total}, {name} {status}, {left} left",
                highlight=False,
            )

    def lost(self, name: str, reason: str, again: bool) -> None:
        """A run was kept from its end; it is tried again now, or at the next call."""
        self.active.pop(name, None)
        if again:
            self.waiting.add(name)
        self.left += not again
        if not self.console.is_terminal:
            when = "to be tried again" if again else "not finished"
            self.console.print(
                f"{self.title}: {name} {when}: {reason}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def stopping(self) -> None:
        """The sweep was asked to stop."""
        self.note = "stopping: saving what is under way"

    def tick(self) -> None:
        """Called about once a second."""
        if self.console.is_terminal:
            self.live.refresh()

    def _flops(self, name: str) -> float:
        return self.runs[name].C["forward"]

    def _share(self, name: str) -> float:
        return self.active[name][0] / self.runs[name].config["steps"]

    def _seconds_left(self) -> float:
        """Until the last run has its record, if runs take what those before them took."""
        known = self.took or [
            (self._flops(name), (time.monotonic() - self.since[name]) / self._share(name))
            for name in self.active
            if self._share(name)
        ]
        if not known:
            return math.nan
        start, second = _line(known)
        slots = [(start + second * self._flops(n)) * (1 - self._share(n)) for n in self.active]
        slots += [0.0] * (self.slots - len(slots))
        heapq.heapify(slots)
        for flops in sorted(map(self._flops, self.waiting), reverse=True):
            heapq.heapreplace(slots, slots[0] + start + second * flops)
        return max(slots)

    def _show(self) -> Group:
        count = self.ended_before + sum(self.statuses.values())
        bad = "".join(f", {n} {status}" for status, n in self.statuses.items() if status != "ok")
        bad += f", {self.left} not finished" if self.left else ""
        head = (
            f"{self.title}: {count} of {self.total} done{bad}, {clock(self._seconds_left())} left"
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


def _line(known: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Seconds that any run takes, to start, compile and evaluate, and seconds per FLOP.

    Least squares, neither of the two negative.
    """
    flops, seconds = (statistics.fmean(x) for x in zip(*known))
    spread = sum((x - flops) ** 2 for x, _ in known)
    slope = sum((x - flops) * (y - seconds) for x, y in known) / spread if spread else math.inf
    slope = min(max(slope, 0.0), seconds / flops)
    return seconds - slope * flops, slope
