"""What a run shows a person: a progress line while it trains, a few numbers at its end."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from train.pace import Speed
from train.record import Record


@contextlib.contextmanager
def run_progress(steps: int) -> Iterator[Callable[[int, float, Speed], None]]:
    """A bar of steps with loss, pace and time left; yields the callback that moves it."""
    columns = (
        TextColumn("step"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}{task.fields[pace]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("run", total=steps, loss=math.nan, pace="")

    def move(step: int, loss: float, speed: Speed) -> None:
        bar.start()  # not before there is progress: a run that is refused shows its reason alone
        bar.update(task, completed=step, loss=loss, pace=_pace(speed))

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def clock(seconds: float) -> str:
    """A time as 1:02 or 1:02:03; ? where it is not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    front = f"{hours}:{minutes % 60:02d}" if hours else f"{minutes}"
    return f"{front}:{int(seconds) % 60:02d}"


def _pace(speed: Speed) -> str:
    if math.isnan(speed.per_second):
        return ""
    share = "" if speed.mfu is None else f" MFU {speed.mfu:.1%}"
    return f" {speed.per_second:,.0f} {speed.unit}s/s{share} {clock(speed.seconds_left)} left"


def print_record(result: Record, workdir: Path, already: bool) -> None:
    """Prints the outcome of a run."""
    print(f"{workdir}: {'was already finished' if already else 'finished'}: {result.status}")
    if result.status != "ok":
        print(f"  {result.reason}")
        return
    for name, (value, error) in result.metrics.items():
        known = "" if error is None else f" +- {error:.4f}"
        print(f"  {name} {value:.4f}{known}{f' per {result.unit}' if name == 'loss' else ''}")
    print(f"  N {result.N['total']:,}  D {result.D:,.0f}  C {result.C['forward']:.3g} FLOPs")
    if result.throughput is not None:
        kind = result.device["kind"]
        share = f"n/a ({kind})" if result.mfu is None else f"{result.mfu:.1%} of {kind}"
        print(f"  {result.throughput:,.0f} {result.unit}s a second, MFU {share}")
    print(f"  {result.seconds['total']:.1f} s; record: {workdir / 'record.json'}")
