"""The best size at each budget: IsoFLOP curves, N* and D* against compute, the loss surface."""

import numpy as np

from scaling.fit.envelope import EnvelopeFit
from scaling.report.drawing import GREEN, GREY, ORANGE, PINK, VERMILION, Axis, Figure, Series
from scaling.report.files import Run, Study
from scaling.report.findings import Findings
from scaling.report.frontier import POINTS, contours
from scaling.report.marks import COMPUTE, SIZE, describe, fitted, loss_label, points, shades
from scaling.runs.numbers import count, scientific

_LINE_POINTS = 60


def figures(study: Study, found: Findings) -> dict[str, Figure | None]:
    """The figures by the name of their files; None where there is nothing to draw."""
    return {
        "isoflop": _isoflop(study),
        "optimal_N": _optimum(study, "N", found),
        "optimal_D": _optimum(study, "D", found),
        "contours": _contours(study, found),
    }


def _contours(study: Study, found: Findings) -> Figure | None:
    runs, held = fitted(study), [run for run in study.role("heldout") if run.ok]
    if not study.fit or not runs:
        return None
    marks = [points("runs fitted", runs, "C", "N", colour=GREY)]
    if held:
        marks.append(points("held-out run", held, "C", "N", marker="star", colour=VERMILION))
    return contours(study.fit, found.advice, marks)


def _isoflop(study: Study) -> Figure | None:
    runs = fitted(study)
    if not runs:
        return None
    budgets = sorted({run.budget for run in runs})
    series = []
    for budget, shade in zip(budgets, shades(budgets)):
        mine = sorted((run for run in runs if run.budget == budget), key=lambda run: run.N)
        series += _law_at(study, mine, shade)
        series.append(points(f"C = {scientific(budget, 2)}", mine, "N", shade=shade))
    good = [b for b in study.isoflop.budgets if not b.problem] if study.isoflop else []
    for curve in good:
        nearest = int(np.argmin(np.abs(np.log(budgets) - np.log(curve.C))))
        used = curve.sizes[curve.used]
        sizes = np.geomspace(used.min() / 1.1, used.max() * 1.1, _LINE_POINTS)
        if curve.coefficients:
            loss = np.exp(np.polyval(curve.coefficients, np.log(sizes / curve.N0)))
            hover = f"parabola of C = {scientific(curve.C)}"
            shade = shades(budgets)[nearest]
            series.append(Series("parabola", sizes, loss, hover=hover, shade=shade))
    if good:
        hover = [f"minimum at C {scientific(b.C)}\nN {count(b.N)}, D {count(b.D)}" for b in good]
        at = {"x": [b.N for b in good], "y": [b.loss for b in good], "hover": hover}
        series.append(Series("minima", kind="points", marker="ring", colour=GREEN, **at))
    return Figure(
        "Loss at each budget against size",
        Axis(SIZE, True),
        Axis(loss_label(study), True),
        (*series,),
    )


def _law_at(study: Study, runs: list[Run], shade: float) -> list[Series]:
    """The law along the runs of one budget, in order of size; D is theirs, or lies between."""
    if not study.fit or set(study.fit.law.columns) != {"N", "D"} or len(runs) < 2:
        return []
    N, D = (np.array([getattr(run, name) for run in runs]) for name in "ND")
    sizes = np.geomspace(N[0], N[-1], _LINE_POINTS)
    law = study.fit.predict(sizes, np.exp(np.interp(np.log(sizes), np.log(N), np.log(D))))
    name = f"the law {study.fit.law.name}"
    hover = f"{name} at C = {scientific(runs[0].budget)}"
    return [Series(name, sizes, law, dashed=True, shade=shade, hover=hover)]


def _optimum(study: Study, which: str, found: Findings) -> Figure | None:
    """Best N or D at each budget, by the three approaches."""
    runs = fitted(study)
    if not study.isoflop or not runs:
        return None
    iso, C = study.isoflop, [run.C for run in study.runs]
    grid = np.geomspace(min(C) / 1.2, max(C) * 1.3, POINTS)
    best = iso.optimum(grid)
    exponent = getattr(iso, f"{which}_exponent")
    low, high = best["intervals"][which]
    band = {"kind": "band", "y_low": low, "y_high": high}
    series = [Series(f"{iso.level:.0%} band, approach 2", grid, **band)]
    line = f"approach 2, exponent {exponent:.2f}"
    hover = [f"{which}* {count(v)} at C {scientific(at)}" for at, v in zip(grid, best[which])]
    series.append(Series(line, grid, best[which], hover=hover))
    if isinstance(found.first, EnvelopeFit):
        series.append(_first(found.first, grid, which))
    if advice := found.advice:
        ends = advice.bands[which]
        if np.isfinite(ends).all():
            band = {"kind": "band", "y_low": ends[:, 0], "y_high": ends[:, 1], "colour": GREY}
            series.insert(0, Series(f"{advice.level:.0%} band, approach 3", advice.C, **band))
        law = {"x": advice.C, "y": getattr(advice, which), "dashed": True, "colour": GREY}
        series.append(Series(f"approach 3: {study.fit.law.name}", **law))
    good = [b for b in iso.budgets if not b.problem]
    minima = {"x": [b.C for b in good], "y": [getattr(b, which) for b in good], "kind": "points"}
    series.append(Series("IsoFLOP minima", marker="ring", colour=GREEN, **minima))
    held = study.role("heldout")
    if held:
        at = {"x": [run.C for run in held], "y": [getattr(run, which) for run in held]}
        hover = [describe(run) for run in held]
        diamond = {"kind": "points", "marker": "diamond", "colour": ORANGE, "hover": hover}
        series.append(Series("held-out run as planned", **at, **diamond))
    label = SIZE if which == "N" else f"D, training {study.unit}s"
    title = f"Best {'size' if which == 'N' else 'amount of data'} at each budget, {which}*(C)"
    return Figure(title, Axis(COMPUTE, True), Axis(label, True), (*series,))


def _first(line: EnvelopeFit, C: np.ndarray, which: str) -> Series:
    """N* or D* by approach 1 at the budgets C."""
    N = np.exp(line.height + line.exponent * np.log(C / line.C0))
    values = N if which == "N" else C / line.flops_per_nd / N
    exponent = line.exponent if which == "N" else 1 - line.exponent
    hover = [f"{which}* {count(v)} at C {scientific(at)}" for at, v in zip(C, values)]
    name = f"approach 1, exponent {exponent:.2f}"
    return Series(name, C, values, dashed=True, colour=PINK, hover=hover)
