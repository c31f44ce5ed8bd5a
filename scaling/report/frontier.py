"""The best N and D at each budget by a law, the loss there, and the surface they lie on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.fit.fitted import Fit
from scaling.fit.optimum import allocate, data_needed, surface
from scaling.report.drawing import GREEN, Axis, Figure, Series
from scaling.report.marks import COMPUTE, SIZE
from scaling.runs.numbers import count, scientific
from scaling.runs.numbers import loss as show_loss
from train.cli import InputError

POINTS = 12  # budgets at which the best size is computed
_LEVELS = 8
_CONTOUR_POINTS = 60


@dataclass(frozen=True)
class Advice:
    """The best N and D, and the loss there, that a law expects at each budget.

    Attributes:
      C: [n] budgets in FLOPs, one of them `seen`, the largest that was fitted.
      law: the law's name.
      N, D, loss: [n] each; bands: of each of them, its interval [n, 2] at `level`.
    """

    law: str
    C: np.ndarray
    N: np.ndarray
    D: np.ndarray
    loss: np.ndarray
    bands: Mapping[str, np.ndarray]
    level: float
    seen: float


def advise(fit: Fit, low: float, high: float, seen: float) -> Advice | None:
    """What the law advises from `low` to `high` FLOPs; None where it has no best size."""
    grid = np.unique(np.append(np.geomspace(low, high, POINTS), min(seen, high)))
    return advise_at(fit, grid, seen)


def advise_at(fit: Fit, budgets: np.ndarray, seen: float) -> Advice | None:
    """What the law advises at the budgets [n] alone; None where it has no best size."""
    try:
        best = allocate(fit, budgets)
    except InputError:  # for some laws the loss keeps falling towards one end
        return None
    values = {name: best[name] for name in ("N", "D", "loss")}
    bands = {name: np.stack(ends, axis=1) for name, ends in best["intervals"].items()}
    return Advice(law=fit.law.name, C=budgets, **values, bands=bands, level=fit.level, seen=seen)


def frontier(advice: Advice) -> list[Series]:
    """Least loss at each budget with its band, dashed beyond what was fitted."""
    series = []
    band = advice.bands["loss"]
    if np.isfinite(band).all():
        ends = {"y_low": band[:, 0], "y_high": band[:, 1]}
        series.append(
            Series(f"{advice.level:.0%} band of that curve", advice.C, kind="band", **ends)
        )
    name = f"best loss by {advice.law}"
    hover = [
        f"C {scientific(at)}: best loss {show_loss(y)}" for at, y in zip(advice.C, advice.loss)
    ]
    return series + split(name, advice.C, advice.loss, hover, advice.seen)


def split(
    name: str, x: np.ndarray, y: np.ndarray, hover: list[str], seen: float, **style
) -> list[Series]:
    """A line [n] that is dashed where x lies beyond what was seen."""
    series = []
    for part, dashed in ((x <= seen, False), (x >= seen, True)):
        if part.sum() > 1:
            told = [text for text, kept in zip(hover, part) if kept]
            series.append(Series(name, x[part], y[part], dashed=dashed, hover=told, **style))
    return series


def contours(fit: Fit, advice: Advice | None, points: list[Series]) -> Figure | None:
    """Lines of equal loss over (C, N) by the law, the best N at each C, and `points` on top."""
    try:
        on = surface(fit)
    except InputError:
        return None
    every = {side: np.concatenate([getattr(p, side) for p in points]) for side in ("x", "y")}
    low, high = every["x"].min() / 1.6, every["x"].max() * 1.6
    N = np.geomspace(every["y"].min() / 1.6, every["y"].max() * 1.6, _CONTOUR_POINTS)
    C = np.geomspace(low, high, _CONTOUR_POINTS)[:, None]
    there = on.loss(N[None].repeat(len(C), 0), C / (on.flops_per_nd * N))
    # Even steps in log loss, without the corners where the loss is huge.
    ends = np.log(np.quantile(there, [0.02, 0.9]))
    levels = np.unique([float(f"{v:.3g}") for v in np.exp(np.linspace(*ends, _LEVELS))])
    needed = data_needed(on, levels[:, None], N[None].repeat(len(levels), 0))
    cost = on.flops_per_nd * N * needed
    series = []
    for place, (level, x) in enumerate(zip(levels, cost)):
        inside = (x >= low) & (x <= high)
        if inside.sum() > 1:
            shade = place / max(len(levels) - 1, 1)
            line = {"x": np.where(inside, x, np.nan), "y": N, "shade": shade}
            series.append(Series(f"loss {level:g}", **line, hover=f"loss {level:g}"))
    if advice:
        inside = (low <= advice.C) & (high >= advice.C)
        at, best = advice.C[inside], advice.N[inside]
        hover = [f"N* {count(v)} at C {scientific(b)}" for b, v in zip(at, best)]
        series += split("efficient frontier", at, best, hover, advice.seen, colour=GREEN)
    title = f"The loss by {fit.law.name} over compute and size"
    return Figure(title, Axis(COMPUTE, True), Axis(SIZE, True), (*series, *points))
