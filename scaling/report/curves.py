"""The figures of a study, as data."""

from scaling.report import best_sizes, exponents, loss_curves, metrics, outlook, residuals
from scaling.report.drawing import GREEN, GREY, ORANGE, VERMILION, Axis, Figure, Series
from scaling.report.files import Study, Target
from scaling.report.findings import Findings
from scaling.report.frontier import frontier
from scaling.report.marks import COMPUTE, describe, fitted, loss_label, points, renamed
from scaling.runs.numbers import count
from scaling.runs.numbers import loss as show_loss

_NORMAL90 = 1.645  # half width of a 90% interval, standard errors


def figures(study: Study, found: Findings) -> dict[str, Figure]:
    """All figures that the study's files can fill, by the name of their files."""
    drawn = {
        "forecast": _forecast(study, found),
        "forecast_by_law": _by_law(study),
        **best_sizes.figures(study, found),
        "cloud": exponents.cloud(found.estimates, found.C),
        **residuals.figures(study),
    }
    drawn = {name: renamed(figure, study) for name, figure in drawn.items() if figure}
    drawn |= metrics.figures(study)
    training = loss_curves.figure(study)
    return drawn | ({"loss_curves": training} if training else {})


def _forecast(study: Study, found: Findings) -> Figure | None:
    """The forecast's own curve; where there is none, the law's."""
    runs, held = fitted(study), study.role("heldout")
    if not runs:
        return None
    series = [points("runs fitted", runs, "C", colour=GREY, faint=True)]
    if found.outlook.curve:
        series = outlook.curve_series(found.outlook, max(run.C for run in runs)) + series
    elif found.advice:
        series = frontier(found.advice) + series
    if study.isoflop:
        good = [b for b in study.isoflop.budgets if not b.problem]
        hover = [f"IsoFLOP minimum\nN {count(b.N)}, loss {show_loss(b.loss)}" for b in good]
        at = {"x": [b.C for b in good], "y": [b.loss for b in good], "hover": hover}
        series.append(Series("IsoFLOP minima", kind="points", marker="ring", colour=GREEN, **at))
    if held:
        seen = [max(run.C for run in runs)]
        series.append(Series("largest budget fitted", seen, kind="vline", colour=GREY, dashed=True))
    series += _sealed(study) + _outcomes(study)
    title = "Loss against compute" + (": the forecast and the outcome" if study.forecast else "")
    return Figure(title, Axis(COMPUTE, True), Axis(loss_label(study), True), (*series,))


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
    return [points("outcome", held, "C", marker="star", colour=VERMILION)] if held else []


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
        loss, error = run.loss, _NORMAL90 * (run.loss_se or 0.0)
        across = [-0.6, *range(len(laws) + 1), len(laws) + 0.6]  # a pointer finds points alone
        many = len(across)
        line = {"hover": [describe(run)] * many, "colour": VERMILION}
        around = {"y_low": [loss - error] * many, "y_high": [loss + error] * many}
        name = "outcome, 90% of its evaluation error"
        series.append(Series(name, across, kind="band", colour=VERMILION, **around))
        series.append(Series("outcome", across, [loss] * many, **line))
    hover = [f"{law}: {show_loss(target.by_law[law])}" for law in laws]
    predictions = {"x": range(1, len(laws) + 1), "y": [target.by_law[law] for law in laws]}
    if laws:
        series.append(Series("one law alone", kind="points", hover=hover, **predictions))
    sealed = {"x": [0], "y": [target.median], "kind": "points", "hover": [_describe_target(target)]}
    ends = {"y_low": [target.interval90[0]], "y_high": [target.interval90[1]]}
    name = "sealed forecast, 90% interval"
    series.append(Series(name, marker="diamond", colour=ORANGE, **sealed, **ends))
    names = ("forecast", *laws)
    title = "The held-out run, law by law"
    return Figure(title, Axis("", names=names), Axis(loss_label(study)), (*series,))
