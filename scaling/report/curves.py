"""The figures of a study, as data."""

from collections.abc import Sequence

import numpy as np

from scaling.figures import GREEN, GREY, ORANGE, RED, Axis, Figure, Series
from scaling.fitted import Fit
from scaling.report.files import Run, Study, Target
from scaling.report.page import count, percent, scientific
from train.cli import InputError

_COMPUTE = "C, training FLOPs"
_SIZE = "N, parameters"
_CURVE_POINTS = 200
_FRONTIER_POINTS = 25
_NORMAL90 = 1.645  # half width of a 90% interval, standard errors


def figures(study: Study) -> dict[str, Figure]:
    """All figures that the study's files can fill, by the name of their files."""
    drawn = {
        "forecast": _forecast(study),
        "forecast_by_law": _by_law(study),
        "isoflop": _isoflop(study),
        "optimal_N": _optimum(study, "N"),
        "optimal_D": _optimum(study, "D"),
        "loss_curves": _loss_curves(study),
        "residuals": _residuals(study),
    }
    return {name: figure for name, figure in drawn.items() if figure}


def frontier(fit: Fit, low: float, high: float, seen: float, name: str) -> list[Series]:
    """Least loss at each C from `low` to `high`, with its band; dashed beyond `seen` FLOPs."""
    grid = np.unique(np.append(np.geomspace(low, high, _FRONTIER_POINTS), min(seen, high)))
    try:
        best = [fit.allocate(C) for C in grid]
    except InputError:  # the law has no best size at some budget: there is no frontier to show
        return []
    loss = np.array([at["loss"] for at in best])
    ends = np.array([at["intervals"]["loss"] for at in best])
    inside, beyond = grid <= seen, grid >= seen
    series = []
    if np.isfinite(ends).all():
        band = f"{fit.level:.0%} band of the curve"
        series.append(Series(band, grid, kind="band", y_low=ends[:, 0], y_high=ends[:, 1]))
    for part, dashed in ((inside, False), (beyond, True)):
        if part.sum() > 1:
            hover = [
                f"C {scientific(C)}: best loss {v:.4f}" for C, v in zip(grid[part], loss[part])
            ]
            series.append(Series(name, grid[part], loss[part], dashed=dashed, hover=hover))
    return series


def loss_label(study: Study) -> str:
    """The loss and its unit."""
    return f"loss, nats per {study.unit}" if study.unit == "token" else f"loss per {study.unit}"


def describe(run: Run) -> str:
    """A run for one who points at it."""
    lines = [run.name, f"N {count(run.N)}, D {count(run.D)} {run.unit}s, C {scientific(run.C)}"]
    if run.ok:
        lines.append(f"loss {run.record.loss:.4f} ± {run.record.loss_se:.4f}")
    return "\n".join(lines)


def _points(name: str, runs: Sequence[Run], x: str, **style) -> Series:
    places = [getattr(run, x) for run in runs]
    losses = [run.record.loss for run in runs]
    return Series(name, places, losses, "points", hover=[describe(r) for r in runs], **style)


def _fitted(study: Study) -> list[Run]:
    return [run for run in study.role("fit") if run.ok]


def _forecast(study: Study) -> Figure | None:
    runs, held = _fitted(study), study.role("heldout")
    if not runs:
        return None
    low, seen = min(run.C for run in runs), max(run.C for run in runs)
    high = max([seen, *(run.C for run in held)]) * 1.3
    series = [_points("runs fitted", runs, "C", colour=GREY, faint=True)]
    if study.fit:
        series = frontier(study.fit, low, high, seen, "best loss by the law") + series
    if study.isoflop:
        good = [b for b in study.isoflop.budgets if not b.problem]
        hover = [f"IsoFLOP minimum\nN {count(b.N)}, loss {b.loss:.4f}" for b in good]
        at = {"x": [b.C for b in good], "y": [b.loss for b in good], "hover": hover}
        series.append(Series("IsoFLOP minima", kind="points", marker="ring", colour=GREEN, **at))
    if held:
        edge = "largest budget fitted"
        series.append(Series(edge, [seen], kind="vline", colour=GREY, dashed=True))
    series += _sealed(study) + _outcomes(study)
    return Figure(
        "Forecast and outcome", Axis(_COMPUTE, log=True), Axis(loss_label(study), True), (*series,)
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
    return f"forecast of {target.run}\n{target.median:.4f}, 90% {low:.4f} to {high:.4f}"


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
        line = {"hover": f"outcome {loss:.4f} ± {run.record.loss_se:.4f}", "colour": RED}
        around = {"y_low": [ends[0]] * 2, "y_high": [ends[1]] * 2, "colour": RED}
        series.append(Series("outcome, 90% of its evaluation error", edges, kind="band", **around))
        series.append(Series("outcome", edges, [loss] * 2, **line))
    hover = [f"{law}: {target.by_law[law]:.4f}" for law in laws]
    predictions = {"x": range(1, len(laws) + 1), "y": [target.by_law[law] for law in laws]}
    if laws:
        series.append(Series("one law alone", kind="points", hover=hover, **predictions))
    sealed = {"x": [0], "y": [target.median], "kind": "points", "hover": _describe_target(target)}
    ends = {"y_low": [target.interval90[0]], "y_high": [target.interval90[1]]}
    name = "sealed forecast, 90% interval"
    series.append(Series(name, marker="diamond", colour=ORANGE, **sealed, **ends))
    names = ("forecast", *laws)
    title = "What each law says of the held-out run"
    return Figure(title, Axis("", names=names), Axis(loss_label(study)), (*series,))


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
        series.append(Series("minimum", kind="points", marker="star", colour=RED, **at))
    return Figure("IsoFLOP curves", Axis(_SIZE, True), Axis(loss_label(study), True), (*series,))


def _optimum(study: Study, which: str) -> Figure | None:
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
    line = f"approach 2: {which}* ∝ C^{exponent:.2f}"
    hover = [f"{which}* {count(v)} at C {scientific(at)}" for at, v in zip(grid, best[which])]
    series.append(Series(line, grid, best[which], hover=hover))
    if study.fit:
        try:
            law = [study.fit.allocate(at)[which] for at in grid]
            name = f"approach 3: {study.fit.law.name}"
            series.append(Series(name, grid, law, dashed=True, colour=GREEN))
        except InputError:
            pass  # this law has no best size; approach 2 stands alone
    good = [b for b in iso.budgets if not b.problem]
    minima = {"x": [b.C for b in good], "y": [getattr(b, which) for b in good], "kind": "points"}
    series.append(Series("IsoFLOP minima", marker="star", colour=RED, **minima))
    held = study.role("heldout")
    if held:
        at = {"x": [run.C for run in held], "y": [getattr(run, which) for run in held]}
        hover = [describe(run) for run in held]
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
        curve = run.record.curve[:: max(1, len(run.record.curve) // _CURVE_POINTS)]
        curve = [(step, loss) for step, loss in curve if step > 0 and 0 < loss <= highest]
        x = [run.C * step / max(steps, 1) for step, _ in curve]
        name = f"C = {scientific(run.budget, 2)}" + (" held out" if run.role == "heldout" else "")
        style = {"shade": shades[run.budget]} if run.ok else {"colour": GREY, "dashed": True}
        y = [loss for _, loss in curve]
        series.append(Series(name if run.ok else "not ok", x, y, hover=describe(run), **style))
    axes = Axis("FLOPs spent so far", True), Axis(f"training {loss_label(study)}", True)
    return Figure("Loss curves", *axes, (*series,))


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
        hover = f"{describe(run)}\n{percent(errors[run.name])} against the law"
        at = {"x": [run.C], "y": [errors[run.name]], "hover": [hover]}
        series.append(Series("", kind="points", shade=shade, **at))
    if held and {"N", "D"} >= set(fit.law.columns):
        law = fit.predict([run.N for run in held], [run.D for run in held])
        off = [run.record.loss / value - 1 for run, value in zip(held, law)]
        hover = [f"{describe(run)}\n{percent(e)} against the law" for run, e in zip(held, off)]
        at = {"x": [run.C for run in held], "y": off, "hover": hover}
        star = {"kind": "points", "marker": "star", "colour": RED}
        series.append(Series("held-out run, not fitted", **at, **star))
    title = f"Residuals of {fit.law.name}: loss against the law"
    return Figure(title, Axis(_COMPUTE, True), Axis("loss / law − 1", percent=True), (*series,))
