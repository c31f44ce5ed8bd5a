"""What a run shows a person: a progress line while it trains, a few numbers at its end."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from train.record import Record


@contextlib.contextmanager
def run_progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar of steps with loss and time left; yields the callback that moves it."""
    columns = (
        TextColumn("step"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("run", total=steps, loss=float("nan"))

    def move(step: int, loss: float) -> None:
        bar.start()  # not before there is progress: a run that is refused shows its reason alone
        bar.update(task, completed=step, loss=loss)

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def print_record(result: Record, workdir: Path, already: bool) -> None:
    """Prints the outcome of a run."""
    print(f"{workdir}: {'was already finished' if already else 'finished'}: {result.status}")
    if result.status != "ok":
        print(f"  {result.reason}")
        return
    bits = "" if result.bits_per_byte is None else f", {result.bits_per_byte:.4f} bits per byte"
    print(f"  loss {result.loss:.4f} +- {result.loss_se:.4f} per {result.unit}{bits}")
    print(f"  N {result.N['total']:,}  D {result.D:,.0f}  C {result.C['forward']:.3g} FLOPs")
    print(f"  {result.seconds['total']:.1f} s; record: {workdir / 'record.json'}")
