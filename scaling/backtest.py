"""Back-tests the default forecast on whole collections of runs: error, coverage, width, time.

    python -m scaling.backtest --runs='tables/*.csv' [--out=backtest.json]

A table with a column that says fit or heldout is forecast from the one to the other; one without is
cut by compute, its dearest fifth held out. No table sees another, and nothing is tuned to any.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from scaling import inputs
from train.cli import InputError, define_path, run_main

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.2  # share of the runs, the dearest, held out of a table that names none


@dataclass(frozen=True)
class Task:
    """How the forecast of one table came out; shares of 1, None where it was refused.

    Attributes:
      error: median |forecast / loss - 1| over the held-out runs. bias: its signed median.
      cover50, cover90: share of the held-out runs inside their interval.
      half_width90: median relative half-width of the 90% interval.
      decades: median distance of the held-out runs in compute.
      seconds: wall time. refused: why there is no forecast, or "".
    """

    name: str
    fitted: int
    heldout: int
    law: str = ""
    error: float | None = None
    bias: float | None = None
    cover50: float | None = None
    cover90: float | None = None
    half_width90: float | None = None
    decades: float | None = None
    seconds: float = 0.0
    refused: str = ""


def backtest(name: str, runs: "pd.DataFrame", law: str | None = None) -> Task:
    """Forecasts the held-out runs of one table and compares.

    Raises:
      InputError: the table is wrong. A refusal to forecast is a result, not an error.
    """
    from scaling.forecast import forecast
    from scaling.table import fit_rows, heldout_rows, validate

    runs = validate(runs)
    if "split" not in runs.columns:
        runs = cut_by_compute(runs)
    known, held = fit_rows(runs), heldout_rows(runs)
    if held.empty:
        raise InputError(f"{name}: no run is held out, and they cannot be cut by compute")
    begin = time.monotonic()
    try:
        made = forecast(known, held, law)
    except InputError as refusal:
        seconds = time.monotonic() - begin
        return Task(name, len(known), len(held), seconds=seconds, refused=str(refusal))
    loss = held["loss"].to_numpy()
    error = made.median / loss - 1

    def cover(ends: np.ndarray) -> float:
        return float(np.mean((ends[:, 0] <= loss) & (loss <= ends[:, 1])))

    return Task(
        name,
        len(known),
        len(held),
        law=made.law,
        error=float(np.median(np.abs(error))),
        bias=float(np.median(error)),
        cover50=cover(made.interval50),
        cover90=cover(made.interval90),
        half_width90=float(np.median(made.half_width90)),
        decades=float(np.median(made.decades)),
        seconds=time.monotonic() - begin,
    )


def cut_by_compute(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Marks the dearest HELD_OUT of the runs as held out; runs of equal compute stay together."""
    compute = runs["C"].to_numpy()
    cut = np.sort(compute)[max(int((1 - HELD_OUT) * len(compute)) - 1, 0)]
    if (compute <= cut).all():
        below = compute[compute < compute.max()]
        cut = below.max() if len(below) else cut
    return runs.assign(split=np.where(compute <= cut, "fit", "heldout"))


def summary(tasks: Sequence[Task]) -> dict[str, Any]:
    """Medians and means over the tasks that were forecast."""
    made = [task for task in tasks if not task.refused]
    result: dict[str, Any] = {
        "tasks": len(tasks),
        "refused": len(tasks) - len(made),
        "seconds": sum(task.seconds for task in tasks),
    }
    if made:
        result |= {
            "median_error": float(np.median([task.error for task in made])),
            "mean_error": float(np.mean([task.error for task in made])),
            "mean_cover50": float(np.mean([task.cover50 for task in made])),
            "mean_cover90": float(np.mean([task.cover90 for task in made])),
            "median_half_width90": float(np.median([task.half_width90 for task in made])),
        }
    return result


def _print(tasks: Sequence[Task]) -> None:
    from rich.markup import escape

    from scaling.printed import console, show, table

    columns = ("task", "fit", "held", "decades", "law", "|error|", "50%", "90%", "+-90%", "s")
    shown = table("", *columns)
    for task in tasks:
        counts = (escape(task.name), str(task.fitted), str(task.heldout))
        if task.refused:
            shown.add_row(*counts, "", "refused", "", "", "", "", f"{task.seconds:.1f}")
            continue
        shown.add_row(
            *counts,
            f"{task.decades:.2f}",
            task.law,
            f"{task.error:.2%}",
            f"{task.cover50:.0%}",
            f"{task.cover90:.0%}",
            f"{task.half_width90:.2%}",
            f"{task.seconds:.1f}",
        )
    on = console()
    show(on, shown)
    total = summary(tasks)
    if total["refused"] < total["tasks"]:
        on.print(
            f"{total['tasks']} tasks: median |error| {total['median_error']:.2%}, mean cover "
            f"{total['mean_cover50']:.0%} of 50% and {total['mean_cover90']:.0%} of 90% intervals, "
            f"median half-width of 90% {total['median_half_width90']:.2%}; "
            f"{total['seconds']:.0f} s",
            highlight=False,
        )
    for task in tasks:
        if task.refused:
            on.print(f"{escape(task.name)}: {escape(task.refused)}", highlight=False)


def main() -> None:
    """Entry point: back-tests every table that --runs matches."""
    given = flags.FLAGS
    if not given.runs:
        raise InputError("--runs: not given; a CSV file, or a pattern such as 'tables/*.csv'")
    from scaling.forecast import check_law
    from scaling.table import matching

    check_law(given.law)
    paths = matching(given.runs)
    if not paths:
        raise InputError(f"--runs: {given.runs!r} matches no file; a path or pattern of CSV files")
    from train.compilation import use_cache

    use_cache()
    tasks = []
    for path in paths:
        tasks.append(backtest(Path(path).stem, inputs.runs_of(given, path), given.law))
    _print(tasks)
    if given.out:
        from train.record import save_json

        values = {"summary": summary(tasks), "tasks": [dataclasses.asdict(task) for task in tasks]}
        save_json(Path(given.out), values)


def _define_flags() -> None:
    inputs.define_flags("CSV of runs, or a pattern for many.")
    flags.DEFINE_string(
        "law", None, "A law to use for all; default by back-test within each table."
    )
    define_path("out", None, "JSON file for the results.")


if __name__ == "__main__":
    _define_flags()
    run_main(main)
