"""Every metric of a study's runs against compute: its errors, its forecast, and its bar."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.forecast import metric
from scaling.report import outlook, page
from scaling.report.drawing import GREEN, GREY, ORANGE, VERMILION, Axis, Figure, Series
from scaling.report.files import Run, Study, Target
from scaling.report.forecast_section import main_target, score_of
from scaling.report.frontier import split
from scaling.report.marks import COMPUTE, describe
from scaling.report.page import Cell
from scaling.runs.numbers import NONE, number, scientific
from scaling.runs.table import fit_rows, read_runs
from train.cli import InputError

_SAME = 0.1  # of its half width: a forecast made again that differs by more is another one
_CAPTION = {
    "runs fitted": "Grey: the runs that laws are fitted to, with their standard errors.",
    "forecast,": "The line is the forecast for runs of the held-out run’s shape with the 90% "
    "interval of one run, dashed beyond the largest run fitted.",
    "sealed forecast": "Diamond: the forecast, sealed before the held-out run started.",
    "outcome": "Star: what came out.",
    "bar": "Across: the bar, and whether the best run of the largest budget met it.",
}


def shown(study: Study) -> list[str]:
    """The metrics that have a figure: all but the one that laws are fitted to, which has one as
    well where it has a bar. Parts of a whole (recall/cat) stand in the table of runs alone; what a
    further set says (SET/loss) is no part."""
    names = dict.fromkeys(n for run in study.runs if run.record for n in run.record.metrics)
    fitted = {study.target.name or run.record.of_record for run in study.runs if run.record}
    evals = {k for run in study.runs if run.record for k in run.record.config.get("evals", ())}
    further = tuple(f"{name}/" for name in evals)
    parts = {n for n in names if "/" in (n.partition("/")[2] if n.startswith(further) else n)}
    return [n for n in names if n not in parts and (n not in fitted or n in _bars(study))]


def figures(study: Study) -> dict[str, Figure]:
    """A figure of each, by the name of its files."""
    drawn = {name: _figure(study, name) for name in shown(study)}
    return {_file(name): made for name, made in drawn.items() if made}


def section(study: Study, drawn: Mapping[str, Figure]) -> str:
    """The metrics of the largest budget, and all figures; "" for a study that has no other."""
    rows = [_row(study, name) for name in shown(study)]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    sealed = study.forecast.metrics if study.forecast else {}
    refused = [f"{k}: no forecast: {made.refused}" for k, made in sealed.items() if made.refused]
    first = ("metric", "best of the largest budget", "±", "bar", "")
    columns = (*first, "forecast", "90%", "off by", "")
    pieces = [page.figure(_file(name), drawn, _CAPTION) for name in shown(study)]
    pairs = ["".join(pieces[place : place + 2]) for place in range(0, len(pieces), 2)]
    pairs = [f'<div class="pair">{pair}</div>' for pair in pairs]
    return page.section("Metrics", page.table(columns, rows), page.notes(refused), *pairs)


def _file(name: str) -> str:
    """A metric's name is a stranger's text; names that differ in it have files that do."""
    plain = re.sub(r"[^A-Za-z0-9]", "_", name)
    apart = "" if plain == name else "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"metric_{plain}{apart}"


def _bars(study: Study) -> dict[str, float]:
    return study.settings.get("bar", {})


def _having(study: Study, name: str) -> list[Run]:
    """The runs that ended well and have a metric."""
    return [r for r in study.runs if r.ok and study.measure(name).of(r.record)[0] is not None]


def _best(study: Study, name: str, runs: list[Run]) -> Run:
    """The best run of the largest budget; the dearest one where nobody said what is better."""
    of, budget = study.measure(name), max(run.budget for run in runs)
    largest = [run for run in runs if run.budget == budget]
    if name not in study.settings.get("best", {}):
        return max(largest, key=lambda run: run.C)
    return min(largest, key=lambda run: of.lack(of.of(run.record)[0]))


def _judged(study: Study, name: str, best: Run) -> str:
    """Whether a run is as good as the bar; "" where a larger budget is planned."""
    if any(run.budget > best.budget for run in study.runs):
        return ""
    value, _ = study.measure(name).of(best.record)
    return "met" if study.measure(name).meets(value, _bars(study)[name]) else "missed"


def _row(study: Study, name: str) -> list[Cell | str]:
    """What the best run of the largest budget says of a metric, and the forecast said."""
    runs = _having(study, name)
    if not runs:
        return []
    best = _best(study, name, runs)
    value, error = study.measure(name).of(best.record)
    row = [name, Cell(number(value), value), Cell(number(error, 2))]
    bar = _bars(study).get(name)
    row += [NONE, ""] if bar is None else [Cell(number(bar), bar), _judged(study, name, best)]
    target = _sealed(study, name)
    if target is None:
        return [*row, NONE, NONE, NONE, ""]
    low, high = target.interval90
    row += [Cell(number(target.median), 0.0), Cell(f"{number(low)} – {number(high)}", 0.0)]
    score = score_of(study, target.run)
    found = score.metrics.get(name) if score else None
    if found is None:
        return [*row, NONE, ""]
    off = Cell(f"{found['error']:+.2g}".replace("-", "−"), 0.0)
    return [*row, off, "inside" if found["inside90"] else "outside"]


def _sealed(study: Study, name: str) -> Target | None:
    """The sealed forecast of a metric for the largest held-out run."""
    main, made = main_target(study), (study.forecast.metrics if study.forecast else {}).get(name)
    if main is None or made is None:
        return None
    return next((target for target in made.targets if target.run == main.run), None)


def _figure(study: Study, name: str) -> Figure | None:
    runs = _having(study, name)
    if not runs:
        return None
    fitted = [run for run in runs if run.role == "fit"]
    held = [run for run in runs if run.role == "heldout"]
    series = [*_bar(study, name, runs), *_curve(study, name)]
    if fitted:
        points = _points(study, name, fitted)
        series.append(Series("runs fitted", colour=GREY, faint=True, **points))
    if target := _sealed(study, name):
        low, high = target.interval90
        place = {"x": [target.C], "y": [target.median], "y_low": [low], "y_high": [high]}
        style = {"kind": "points", "marker": "diamond", "colour": ORANGE}
        hover = f"forecast of {target.run}"
        series.append(Series("sealed forecast, 90% interval", hover=hover, **place, **style))
    if held:
        points = _points(study, name, held)
        series.append(Series("outcome", marker="star", colour=VERMILION, **points))
    title = f"{name.replace('_', ' ')} against compute"
    return Figure(title, Axis(COMPUTE, True), Axis(name.replace("_", " ")), (*series,))


def _bar(study: Study, name: str, runs: list[Run]) -> list[Series]:
    """A line at the bar, which says whether it was met; none without a bar."""
    bar = _bars(study).get(name)
    if bar is None:
        return []
    judged = _judged(study, name, _best(study, name, runs))
    every = [run.C for run in study.runs]
    colour = {"met": GREEN, "missed": VERMILION}.get(judged, GREY)
    style = {"colour": colour, "dashed": True}
    label = f"bar {bar:g}" + f": {judged}" * bool(judged)
    return [Series(label, [min(every), max(every)], [bar, bar], **style)]


def _points(study: Study, name: str, runs: list[Run]) -> dict[str, Any]:
    """A metric of some runs, with its standard errors, as the fields of a series."""
    pairs = [study.measure(name).of(run.record) for run in runs]
    values = [value for value, _ in pairs]
    errors = [error or 0.0 for _, error in pairs]
    low, high = ([v + s * e for v, e in zip(values, errors)] for s in (-1, 1))
    told = [f"{describe(r)}\n{name} {number(v)} ± {number(e, 2)}" for r, (v, e) in zip(runs, pairs)]
    place = {"x": [run.C for run in runs], "y": values, "y_low": low, "y_high": high}
    return place | {"kind": "points", "hover": told}


def _curve(study: Study, name: str) -> list[Series]:
    """The forecast of a metric along compute, made again by the code that sealed it; nothing where
    none is sealed, or it is not the one that was."""
    target, table = _sealed(study, name), study.folder / "runs.csv"
    if target is None or not table.exists():
        return []
    try:
        runs = fit_rows(read_runs(str(table), split="role"))
    except InputError:
        return []
    points = [(target.N, target.D, target.C), *outlook.shape(study, runs)]
    made = metric.sealed(runs, outlook.on_data(study, points), study.measure(name))
    if "refused" in made:
        return []
    again, *rest = made["targets"]
    half = (target.interval90[1] - target.interval90[0]) / 2
    if abs(again["median"] - target.median) > _SAME * half or not rest:
        return []
    C, median = (np.array([one[key] for one in rest]) for key in ("C", "median"))
    low, high = np.array([one["interval90"] for one in rest]).T
    law = "average of laws" if made["law"] == "average" else made["law"]
    hover = [f"C {scientific(x)}: forecast {number(y)}" for x, y in zip(C, median)]
    band = Series("90% interval of a run", C, kind="band", y_low=low, y_high=high)
    return [band, *split(f"forecast, {law}", C, median, hover, float(runs["C"].max()))]
