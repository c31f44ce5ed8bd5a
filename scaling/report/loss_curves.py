"""The training loss of every run while its compute is spent, and the envelope of all."""

import numpy as np

from scaling.report.drawing import GREEN, GREY, Axis, Figure, Series
from scaling.report.files import Run, Study
from scaling.report.marks import describe, shades, task_loss_label
from scaling.runs.numbers import scientific

_BINS = 25
_ENVELOPE_POINTS = 80


def averaged(run: Run, highest: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs spent and training loss of a run, up to `_BINS` values each; none without a curve.

    They are means in bins even in log step: the loss of one batch is mostly noise. Losses above
    `highest` are left out.
    """
    curve = np.array([(step, y) for step, y in run.record.curve if step > 0 and 0 < y <= highest])
    if not len(curve):
        return np.zeros(0), np.zeros(0)
    steps = curve[:, 0]
    edges = np.geomspace(steps.min(), steps.max() * (1 + 1e-9), _BINS + 1)
    place = np.digitize(steps, edges)
    taken, loss = np.array([curve[place == bin].mean(axis=0) for bin in np.unique(place)]).T
    whole = run.record.config.get("steps")
    whole = whole if isinstance(whole, (int, float)) and whole > 0 else run.record.curve[-1][0]
    return run.C * taken / max(whole, 1), loss


def figure(study: Study) -> Figure | None:
    """All curves, coloured by budget."""
    runs = [run for run in study.runs if run.record and run.record.curve]
    if not runs:
        return None
    budgets = sorted({run.budget for run in runs})
    colours = dict(zip(budgets, shades(budgets)))
    # A diverged run may end at any height; above the others' start it would only squeeze them.
    highest = max((loss for run in runs if run.ok for _, loss in run.record.curve), default=np.inf)
    series, kept = [], []
    for run in sorted(runs, key=lambda run: run.budget):
        x, loss = averaged(run, highest)
        if not len(x):
            continue
        name = f"C = {scientific(run.budget, 2)}" + (" held out" if run.role == "heldout" else "")
        style = {"shade": colours[run.budget]} if run.ok else {"colour": GREY, "dashed": True}
        style["faint"] = len(runs) > 1  # the envelope stands out
        series.append(Series(name if run.ok else "not ok", x, loss, hover=describe(run), **style))
        kept += [(x, loss)] if run.ok else []
    if len(kept) > 1:
        series.append(_envelope(kept))
    axes = Axis("FLOPs spent so far", True), Axis(f"training {task_loss_label(study)}", True)
    return Figure("Training loss while the compute is spent", *axes, (*series,))


def _envelope(curves: list[tuple[np.ndarray, np.ndarray]]) -> Series:
    """The least loss that any run has at each compute."""
    ends = [min(x[0] for x, _ in curves), max(x[-1] for x, _ in curves)]
    grid = np.geomspace(*ends, _ENVELOPE_POINTS)
    at = [
        np.exp(np.interp(np.log(grid), np.log(x), np.log(y), left=np.inf, right=np.inf))
        for x, y in curves
    ]
    return Series("envelope", grid, np.min(at, axis=0), colour=GREEN)
