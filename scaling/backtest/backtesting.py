"""The default forecast on tables of runs whose outcome is known: error, coverage, width, time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.forecast.forecasting import forecast
from scaling.forecast.words import FAR
from scaling.runs.table import fit_rows, heldout_rows, validate
from train.cli import InputError

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
      warned: whether the forecast said that its targets lie far beyond the runs.
      source: where the runs come from; tables of one source err alike.
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
    warned: bool | None = None
    source: str = ""
    seconds: float = 0.0
    refused: str = ""


def backtest(name: str, runs: "pd.DataFrame", law: str | None = None) -> Task:
    """Forecasts the held-out runs of one table and compares.

    Its source is what a column `source` says, else the name up to its first underscore.

    Raises:
      InputError: the table is wrong. A refusal to forecast is a result, not an error.
    """
    runs = validate(runs)
    if "split" not in runs.columns:
        runs = cut_by_compute(runs)
    known, held = fit_rows(runs), heldout_rows(runs)
    if held.empty:
        raise InputError(f"{name}: no run is held out, and they cannot be cut by compute")
    source = str(runs["source"].iloc[0]) if "source" in runs.columns else name.split("_")[0]
    begin = time.monotonic()
    try:
        made = forecast(known, held, law)
    except InputError as refusal:
        seconds = time.monotonic() - begin
        return Task(
            name, len(known), len(held), source=source, seconds=seconds, refused=str(refusal)
        )
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
        warned=any(line.startswith(FAR) for line in made.warnings),
        source=source,
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


def by_source(tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """The `summary` of each source's tasks."""
    sources = sorted({task.source for task in tasks})
    return {name: summary([task for task in tasks if task.source == name]) for name in sources}


def summary(tasks: Sequence[Task]) -> dict[str, Any]:
    """Medians and means over the tasks that were forecast; each counts the same."""
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
