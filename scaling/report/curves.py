"""The figures of a study, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling.figures import GREEN, GREY, ORANGE, RED, Axis, Figure, Series
from scaling.fitted import Fit
from scaling.report.files import Run, Study, Target
from scaling.report.page import count, number, percent, scientific
from scaling.report.page import loss as show_loss
from scaling.surface import allocate
from train.cli import InputError

_COMPUTE = "C, training FLOPs"
_SIZE = "N, parameters"
_CURVE_BINS = 25
_FRONTIER_POINTS = 12
_NORMAL90 = 1.645  # half width of a 90% interval, standard errors


def figures(study: Study) -> dict[str, Figure]:
    """All figures that the study's files can fill, by the name of their files."""
    advice = None
    if study.fit:
        C = [run.C for run in study.runs]
        seen = max((run.C for run in _fitted(study)), default=max(C))
        advice = advise(study.fit, min(C) / 1.1, max(C) * 1.3, seen)
    drawn = {
        "forecast": _forecast(study, advice),
        "forecast_by_law": _by_law(study),
        "isoflop": _isoflop(study),
        "optimal_N": _optimum(study, "N", advice),
        "optimal_D": _optimum(study, "D", advice),
        "loss_curves": _loss_curves(study),
        "residuals": _residuals(study),
    }
    return {name: figure for name, figure in drawn.items() if figure}


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
    grid = np.unique(np.append(np.geomspace(low, high, _FRONTIER_POINTS), min(seen, high)))
    try:
        best = allocate(fit, grid)
    except InputError:  # for some laws the loss keeps falling towards one end
        return None
    values = {name: best[name] for name in ("N", "D", "loss")}
    bands = {name: np.stack(ends, axis=1) for name, ends in best["intervals"].items()}
    return Advice(law=fit.law.name, C=grid, **values, bands=bands, level=fit.level, seen=seen)


def frontier(advice: Advice) -> list[Series]:
    """Least loss at each budget with its band, dashed beyond what was fitted."""
    series = []
    band = advice.bands["loss"]
    if np.isfinite(band).all():
        ends = {"y_low": band[:, 0], "y_high": band[:, 1]}
        series.append(
            Series(f"{advice.level:.0%} band of that curve", advice.C, kind="band", **ends)
        )
    budgets = advice.C
    for part, dashed in ((budgets <= advice.seen, False), (budgets >= advice.seen, True)):
        if part.sum() > 1:
            C, loss = budgets[part], advice.loss[part]
            hover = [
                f"C {scientific(at)}: best loss {show_loss(value)}" for at, value in zip(C, loss)
            ]
            series.append(Series(f"best loss by {advice.law}", C, loss, dashed=dashed, hover=hover))
    return series


def _loss_label(study: Study) -> str:
    """The loss and its unit."""
    return f"loss, nats per {study.unit}" if study.unit == "token" else f"loss per {study.unit}"


def _describe(run: Run) -> str:
    """A run for one who points at it."""
    lines = [run.name, f"N {count(run.N)}, D {count(run.D)} {run.unit}s, C {scientific(run.C)}"]
    if run.ok:
        lines.append(f"loss {show_loss(run.record.loss)} ± {number(run.record.loss_se, 2)}")
    return "\n".join(lines)


def _points(name: str, runs: Sequence[Run], x: str, **style) -> Series:
    places = [getattr(run, x) for run in runs]
    losses = [run.record.loss for run in runs]
    return Series(name, places, losses, "points", hover=[_describe(r) for r in runs], **style)


def _fitted(study: Study) -> list[Run]:
    return [run for run in study.role("fit") if run.ok]


def _forecast(study: Study, advice: Advice | None) -> Figure | None:
    runs, held = _fitted(study), study.role("heldout")
    if not runs:
        return None
    series = [_points("runs fitted", runs, "C", colour=GREY, faint=True)]
    if advice:
        series = frontier(advice) + series
    if study.isoflop:
        good = [b for b in study.isoflop.budgets if not b.problem]
        hover = [f"IsoFLOP minimum\nN {count(b.N)}, loss {show_loss(b.loss)}" for b in good]
        at = {"x": [b.C for b in good], "y": [b.loss for b in good], "hover": hover}
        series.append(Series("IsoFLOP minima", kind="points", marker="ring", colour=GREEN, **at))
    if held:
        seen = [max(run.C for run in runs)]
        series.append(Series("largest budget fitted", seen, kind="vline", colour=GREY, dashed=True))
    series += _sealed(study) + _outcomes(study)
    return Figure(
        "Loss against compute: the forecast and the outcome",
        Axis(_COMPUTE, log=True),
        Axis(_loss_label(study), True),
        (*series,),
    )


def _sealed(study: Study) -> list[Series]:
    targets = study.forecast.targets if study.forecast else ()
    if not targets:
        return []
    low, high = zip(*(target.interval90 for target in targets))
    hover = [_describe_target(target) for target in targets]
    place = {"x": [t.C for t in targets], "y": [t.median for t in targets], "hover": hover}
    style = {"kind": "points", "marker": "diamond", "colour": ORANGE}
    return [Series("sealed forecast, 90% interval", y_low=low, y_high=high, **place, **style)]


def _describe_target(target: Target) -> str:
    low, high = target.interval90
    ends = f"{show_loss(low)} to {show_loss(high)}"
    return f"forecast of {target.run}\n{show_loss(target.median)}, 90% {ends}"


def _outcomes(study: Study) -> list[Series]:
    held = [run for run in study.role("heldout") if run.ok]
    return [_points("outcome", held, "C", marker="star", colour=RED)] if held else []


def _by_law(study: Study) -> Figure | None:
    """Every law's own prediction of the largest held-out run beside the sealed one."""
    targets = study.forecast.targets if study.forecast else ()
    if not targets:
        return None
    target = max(targets, key=lambda t: t.C)
    laws = sorted(target.by_law, key=target.by_law.get)
    run = study.run(target.run)
    series = []
    if run and run.ok:
        loss, error = run.record.loss, _NORMAL90 * run.record.loss_se
        edges, ends = [-0.6, len(laws) + 0.6], (loss - error, loss + error)
        line = {"hover": _describe(run), "colour": RED}
        around = {"y_low": [ends[0]] * 2, "y_high": [ends[1]] * 2, "colour": RED}
        series.append(Series("outcome, 90% of its evaluation error", edges, kind="band", **around))
        series.append(Series("outcome", edges, [loss] * 2, **line))
    hover = [f"{law}: {show_loss(target.by_law[law])}" for law in laws]
    predictions = {"x": range(1, len(laws) + 1), "y": [target.by_law[law] for law in laws]}
    if laws:
        series.append(Series("one law alone", kind="points", hover=hover, **predictions))
    sealed = {"x": [0], "y": [target.median], "kind": "points", "hover": _describe_target(target)}
    ends = {"y_low": [target.interval90[0]], "y_high": [target.interval90[1]]}
    name = "sealed forecast, 90% interval"
    series.append(Series(name, marker="diamond", colour=ORANGE, **sealed, **ends))
    names = ("forecast", *laws)
    title = "The held-out run, law by law"
    return Figure(title, Axis("", names=names), Axis(_loss_label(study)), (*series,))


def _shades(values: Sequence[float]) -> list[float]:
    """Places on the ramp, even in the logarithm."""
    logs = np.log(np.asarray(values, np.float64))
    span = max(logs.max() - logs.min(), 1e-9)
    return [float((at - logs.min()) / span) for at in logs]


def _isoflop(study: Study) -> Figure | None:
    runs = _fitted(study)
    if not runs:
        return None
    budgets = sorted({run.budget for run in runs})
    series = []
    for budget, shade in zip(budgets, _shades(budgets)):
        mine = sorted((run for run in runs if run.budget == budget), key=lambda run: run.N)
        series.append(_points(f"C = {scientific(budget, 2)}", mine, "N", shade=shade))
    good = [b for b in study.isoflop.budgets if not b.problem] if study.isoflop else []
    for curve in good:
        nearest = int(np.argmin(np.abs(np.log(budgets) - np.log(curve.C))))
        used = curve.sizes[curve.used]
        sizes = np.geomspace(used.min() / 1.1, used.max() * 1.1, 60)
        if curve.coefficients:
            loss = np.exp(np.polyval(curve.coefficients, np.log(sizes / curve.N0)))
            hover = f"parabola of C = {scientific(curve.C)}"
            shade = _shades(budgets)[nearest]
            series.append(Series("", sizes, loss, hover=hover, shade=shade))
    if good:
        hover = [f"minimum at C {scientific(b.C)}\nN {count(b.N)}, D {count(b.D)}" for b in good]
        at = {"x": [b.N for b in good], "y": [b.loss for b in good], "hover": hover}
        series.append(Series("minima", kind="points", marker="ring", colour=GREEN, **at))
    return Figure(
        "Loss at each budget against size",
        Axis(_SIZE, True),
        Axis(_loss_label(study), True),
        (*series,),
    )


def _optimum(study: Study, which: str, advice: Advice | None) -> Figure | None:
    """Best N or D at each budget, by approach 2 and by the law."""
    runs = _fitted(study)
    if not study.isoflop or not runs:
        return None
    iso, C = study.isoflop, [run.C for run in study.runs]
    grid = np.geomspace(min(C) / 1.2, max(C) * 1.3, _FRONTIER_POINTS)
    best = iso.optimum(grid)
    exponent = getattr(iso, f"{which}_exponent")
    low, high = best["intervals"][which]
    band = {"kind": "band", "y_low": low, "y_high": high}
    series = [Series(f"{iso.level:.0%} band, approach 2", grid, **band)]
    line = f"approach 2, exponent {exponent:.2f}"
    hover = [f"{which}* {count(v)} at C {scientific(at)}" for at, v in zip(grid, best[which])]
    series.append(Series(line, grid, best[which], hover=hover))
    if advice:
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
        hover = [_describe(run) for run in held]
        diamond = {"kind": "points", "marker": "diamond", "colour": ORANGE, "hover": hover}
        series.append(Series("held-out run as planned", **at, **diamond))
    label = _SIZE if which == "N" else f"D, training {study.unit}s"
    title = f"Best {'size' if which == 'N' else 'amount of data'} at each budget, {which}*(C)"
    return Figure(title, Axis(_COMPUTE, True), Axis(label, True), (*series,))


def _loss_curves(study: Study) -> Figure | None:
    runs = [run for run in study.runs if run.record and run.record.curve]
    if not runs:
        return None
    budgets = sorted({run.budget for run in runs})
    shades = dict(zip(budgets, _shades(budgets)))
    # A diverged run may end at any height; above the others' start it would only squeeze them.
    highest = max((loss for run in runs if run.ok for _, loss in run.record.curve), default=np.inf)
    series = []
    for run in sorted(runs, key=lambda run: run.budget):
        steps = run.record.config.get("steps")
        steps = steps if isinstance(steps, (int, float)) and steps > 0 else run.record.curve[-1][0]
        curve = np.array(
            [(step, y) for step, y in run.record.curve if step > 0 and 0 < y <= highest]
        )
        if not len(curve):
            continue
        taken, loss = _averaged(curve)
        x = run.C * taken / max(steps, 1)
        name = f"C = {scientific(run.budget, 2)}" + (" held out" if run.role == "heldout" else "")
        style = {"shade": shades[run.budget]} if run.ok else {"colour": GREY, "dashed": True}
        series.append(Series(name if run.ok else "not ok", x, loss, hover=_describe(run), **style))
    axes = Axis("FLOPs spent so far", True), Axis(f"training {_loss_label(study)}", True)
    return Figure("Training loss while the compute is spent", *axes, (*series,))


def _averaged(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of a curve [n, 2] in bins even in log step: the loss of one batch is mostly noise."""
    steps = curve[:, 0]
    edges = np.geomspace(steps.min(), steps.max() * (1 + 1e-9), _CURVE_BINS + 1)
    place = np.digitize(steps, edges)
    means = np.array([curve[place == bin].mean(axis=0) for bin in np.unique(place)])
    return means[:, 0], means[:, 1]


def _residuals(study: Study) -> Figure | None:
    if not study.fit:
        return None
    fit = study.fit
    errors = dict(zip(fit.runs, np.expm1(fit.residuals)))
    runs = [run for run in study.runs if run.name in errors]
    if not runs:
        return None
    held = [run for run in study.role("heldout") if run.ok]
    C = [run.C for run in [*runs, *held]]
    ends, spread = [min(C) / 1.2, max(C) * 1.2], fit.residual_std
    band = {"kind": "band", "y_low": [-spread] * 2, "y_high": [spread] * 2, "colour": GREY}
    series = [Series("± residual standard deviation", ends, **band)]
    series.append(Series("", ends, [0.0, 0.0], colour=GREY, hover="on the law"))
    for run, shade in zip(runs, _shades([run.N for run in runs])):
        hover = f"{_describe(run)}\n{percent(errors[run.name])} against the law"
        at = {"x": [run.C], "y": [errors[run.name]], "hover": [hover]}
        series.append(Series("", kind="points", shade=shade, **at))
    if held and {"N", "D"} >= set(fit.law.columns):
        law = fit.predict([run.N for run in held], [run.D for run in held])
        off = [run.record.loss / value - 1 for run, value in zip(held, law)]
        hover = [f"{_describe(run)}\n{percent(e)} against the law" for run, e in zip(held, off)]
        at = {"x": [run.C for run in held], "y": off, "hover": hover}
        star = {"kind": "points", "marker": "star", "colour": RED}
        series.append(Series("held-out run, not fitted", **at, **star))
    title = f"Residuals of {fit.law.name}: loss against the law"
    return Figure(title, Axis(_COMPUTE, True), Axis("loss / law − 1", percent=True), (*series,))
