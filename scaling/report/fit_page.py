"""A page about one fit: how well the law follows the runs, its parameters, what it advises."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scaling.fit.fitted import Fit
from scaling.report import page
from scaling.report.drawing import GREY, ORANGE, Axis, Figure, Series
from scaling.report.frontier import Advice, advise, contours, frontier
from scaling.report.page import Cell
from scaling.runs import numbers

if TYPE_CHECKING:
    import pandas as pd

MAX_POINTS = 5_000  # more are a random sample: a page of 10^6 points cannot be opened
_LEVELS = 6
_MOVED = "Points: runs, each moved along the law to the nearest line; its distance is its residual."
_LABELS = {"N": "N, parameters", "D": "D, training examples", "C": "C, training FLOPs"}


def figures(fit: Fit, runs: "pd.DataFrame") -> dict[str, Figure]:
    """The figures that this law and these runs can fill, by the name of their files."""
    table = runs.sample(MAX_POINTS, random_state=0) if len(runs) > MAX_POINTS else runs
    values = {name: table[name] for name in fit.law.columns if name in table.columns}
    table = table.assign(predicted=fit.predict(**values))
    held = table["split"] == "heldout" if "split" in table.columns else np.zeros(len(table), bool)
    parts = {"runs fitted": table[~held], "runs held out": table[held]}
    parts = {name: rows for name, rows in parts.items() if len(rows)}
    across = "C" if "C" in table.columns else fit.law.columns[0]
    drawn: dict[str, Figure | None] = {
        "predicted": _predicted(fit, parts),
        "residuals": _residuals(fit, parts, across),
    }
    for other in (name for name in ("N", "D") if name in table.columns and name != across):
        drawn[f"residuals_by_{other}"] = _residuals(fit, parts, other)
    if set(fit.law.columns) == {"N", "D"}:
        drawn["loss_by_size"] = _slices(fit, table, by="N", along="D")
        drawn["loss_by_budget"] = _slices(fit, table, by="C", along="N")
        seen = parts["runs fitted"]["C"].max() if "runs fitted" in parts else np.inf
        advice = advise(fit, table["C"].min(), table["C"].max() * 10, seen)
        drawn["contours"] = contours(fit, advice, _runs(fit, parts, "N"))
        drawn["frontier"] = _frontier(fit, parts, advice) if advice else None
    elif len(fit.law.columns) == 1:
        drawn["law"] = _law(fit, parts)
    return {name: figure for name, figure in drawn.items() if figure}


def body(fit: Fit, drawn: Mapping[str, Figure]) -> str:
    """The page's sections as HTML."""
    law = fit.law
    low, high = fit.data_range.get("C", (np.nan, np.nan))
    reach = f", {numbers.scientific(low)} to {numbers.scientific(high)} FLOPs" if high > 0 else ""
    lead = f"{law.target} = {law.formula}, fitted to {fit.n} runs{reach}."
    quality = f"The law is off by {100 * fit.residual_std:.2f}% at a typical run."
    head = f'<p class="kicker">Allometry · a fitted law</p><h1>{page.text(law.name)}</h1>'
    captions = {
        "predicted": "On the line the law is exact.",
        "residuals": "A trend says that the form does not fit.",
        "residuals_by_N": "The same along N.",
        "residuals_by_D": "The same along D.",
        "contours": "Lines of equal loss, each leftmost, that is cheapest, at its best size; the "
        "frontier through these is dashed beyond the largest run fitted.",
        "loss_by_size": f"Lines: the law at fixed sizes. {_MOVED}",
        "loss_by_budget": f"Lines: the law at fixed budgets. {_MOVED}",
        "frontier": "Least loss at each budget, dashed beyond the largest run fitted.",
        "law": "The law, with the spread of its bootstrap refits.",
    }
    shown = {name: page.figure(name, drawn, {"": captions[name]}) for name in drawn}
    pairs = [
        f'<div class="pair">{shown.get(a, "")}{shown.get(b, "")}</div>'
        for a, b in (
            ("predicted", "residuals"),
            ("residuals_by_N", "residuals_by_D"),
            ("loss_by_size", "loss_by_budget"),
            ("frontier", "contours"),
        )
    ]
    return "\n".join(
        [
            head,
            page.paragraph(f"{lead} {quality}", "lead"),
            page.section("Parameters", parameters(fit), diagnostics(fit)),
            page.section("Against the runs", *pairs[:2]),
            page.section("The law", shown.get("law", ""), *pairs[2:]),
            page.section("Source", page.paragraph(f"{law.source}. {fit.c_convention}.")),
        ]
    )


def parameters(fit: Fit) -> str:
    """Table of the parameters with both kinds of intervals."""
    level = f"{fit.level:.0%}"
    rows = []
    for name, value in fit.params.items():
        ends = fit.diagnostics.profiles.get(name, (None, None))
        shown = [numbers.number(v) for v in (value, *fit.intervals[name])]
        sides = ["open" if end is None else numbers.number(end) for end in ends]
        verdict = "not identified" if name in fit.diagnostics.flat else ""
        verdict = "at the edge of its range" if name in fit.diagnostics.at_bound else verdict
        cells = [Cell(text, 0.0) for text in (*shown, *sides)]
        rows.append([Cell(name), *cells, verdict])
    columns = ("", "estimate", f"{level} from", "to", "profile from", "to", "")
    return page.table(columns, rows)


def diagnostics(fit: Fit) -> str:
    """What the fit says about itself, in words."""
    report, objective = fit.diagnostics, fit.objective
    delta = f", δ = {objective.delta:g}" if objective.name == "huber_log" else ""
    words = (
        f"{report.start_share:.0%} of the random starts reached this optimum "
        f"({objective.name}{delta}: {numbers.number(fit.value)}). Condition number "
        f"{numbers.number(report.condition, 3)}; {len(fit.draws)} bootstrap refits, "
        f"{report.redrawn} resamples redrawn; residual standard deviation "
        f"{100 * fit.residual_std:.3f}%. Intervals are of the bootstrap over runs; the profile is "
        "the range in which the other parameters, fitted again, still follow the runs."
    )
    if report.seed_noise is not None:
        words += f" Runs that differ in seed alone scatter by {100 * report.seed_noise:.3f}%."
    past = fit.backtest.lines() if fit.backtest else ()
    errors = "".join(page.paragraph(f"{line[0].upper()}{line[1:]}.") for line in past)
    return errors + page.paragraph(words) + page.notes(report.warnings)


def _label(fit: Fit) -> str:
    return "loss" if fit.law.target == "loss" else fit.law.target


def _hover(fit: Fit, rows: "pd.DataFrame") -> list[str]:
    names = rows["run"].astype(str) if "run" in rows.columns else "run " + rows.index.astype(str)
    off = rows[fit.law.target] / rows["predicted"] - 1
    given = [name for name in ("N", "D", "C") if name in rows.columns]
    texts = []
    for place, name in enumerate(names):
        row = rows.iloc[place]
        at = ", ".join(f"{key} {numbers.scientific(row[key])}" for key in given)
        loss = f"{numbers.loss(row[fit.law.target])}, law {numbers.loss(row['predicted'])}"
        texts.append(f"{name}\n{at}\n{_label(fit)} {loss} ({numbers.percent(off.iloc[place])})")
    return texts


def _style(name: str) -> dict:
    return {"colour": ORANGE, "marker": "diamond"} if name == "runs held out" else {}


def _predicted(fit: Fit, parts: Mapping[str, "pd.DataFrame"]) -> Figure:
    target = fit.law.target
    every = np.concatenate(
        [rows[[target, "predicted"]].to_numpy().ravel() for rows in parts.values()]
    )
    ends = [every.min(), every.max()]
    series = [Series("exact", ends, ends, colour=GREY, dashed=True)]
    for name, rows in parts.items():
        x, y = rows["predicted"].to_numpy(), rows[target].to_numpy()
        series.append(Series(name, x, y, "points", hover=_hover(fit, rows), **_style(name)))
    axes = Axis(f"{_label(fit)} by the law", True), Axis(f"{_label(fit)} of the run", True)
    return Figure("Runs against the law", *axes, (*series,))


def _residuals(fit: Fit, parts: Mapping[str, "pd.DataFrame"], across: str) -> Figure:
    every = np.concatenate([rows[across].to_numpy() for rows in parts.values()])
    ends, spread = [every.min(), every.max()], fit.residual_std
    band = {"kind": "band", "y_low": [-spread] * 2, "y_high": [spread] * 2, "colour": GREY}
    series = [Series("± residual standard deviation", ends, **band)]
    for name, rows in parts.items():
        y = (rows[fit.law.target] / rows["predicted"] - 1).to_numpy()
        hover, x = _hover(fit, rows), rows[across].to_numpy()
        series.append(Series(name, x, y, "points", hover=hover, **_style(name)))
    x, y = Axis(_LABELS.get(across, across), True), Axis(f"{_label(fit)} / law − 1", percent=True)
    return Figure(f"Residuals along {across}", x, y, (*series,))


def _levels(values: np.ndarray) -> np.ndarray:
    """A few values that stand for all of them: the values themselves where there are few."""
    distinct = np.unique(values)
    if len(distinct) <= _LEVELS:
        return distinct
    return np.exp(np.quantile(np.log(distinct), np.linspace(0.05, 0.95, _LEVELS)))


def _slices(fit: Fit, table: "pd.DataFrame", by: str, along: str) -> Figure:
    """The law along one axis at a few values of another.

    A run is shown at the nearest line, moved there along the law, so that its distance from the
    line is its residual.
    """
    values, x = table[by].to_numpy(), table[along].to_numpy()
    levels = _levels(values)
    nearest = np.argmin(np.abs(np.log(values)[:, None] - np.log(levels)), axis=1)
    series: list[Series] = []
    for place, level in enumerate(levels):
        rows, own = table[nearest == place], x[nearest == place]
        if not len(rows):
            continue

        def line(x, level=level):
            if by == "N":
                return fit.predict(N=level, D=x)
            return fit.predict(N=x, D=level / (fit.flops_per_nd * x))

        grid = np.geomspace(own.min() / 1.5, own.max() * 1.5, 60)
        moved = line(own) * (rows[fit.law.target] / rows["predicted"]).to_numpy()
        shade = place / max(len(levels) - 1, 1)
        name = f"{by} = {numbers.count(level) if by == 'N' else numbers.scientific(level, 2)}"
        series.append(Series(name, grid, line(grid), shade=shade))
        series.append(Series("", own, moved, "points", shade=shade, hover=_hover(fit, rows)))
    title = "Loss at fixed size" if by == "N" else "Loss at fixed budget"
    return Figure(title, Axis(_LABELS[along], True), Axis(_label(fit), True), (*series,))


def _frontier(fit: Fit, parts: Mapping[str, "pd.DataFrame"], advice: Advice) -> Figure:
    runs = _runs(fit, parts, fit.law.target)
    axes = Axis(_LABELS["C"], True), Axis(_label(fit), True)
    return Figure("Least loss at each budget", *axes, (*runs[:1], *frontier(advice), *runs[1:]))


def _runs(fit: Fit, parts: Mapping[str, "pd.DataFrame"], height: str) -> list[Series]:
    """The runs as points over compute; `height` is a column."""
    series = []
    for name, rows in parts.items():
        at = {"x": rows["C"].to_numpy(), "y": rows[height].to_numpy(), "kind": "points"}
        style = _style(name) or {"colour": GREY, "faint": True}
        series.append(Series(name, hover=_hover(fit, rows), **at, **style))
    return series


def _law(fit: Fit, parts: Mapping[str, "pd.DataFrame"]) -> Figure:
    (column,) = fit.law.columns
    every = np.concatenate([rows[column].to_numpy() for rows in parts.values()])
    grid = np.geomspace(every.min() / 1.2, every.max() * 3, 80)
    series = []
    if len(fit.draws):
        low, high = fit.interval(fit.predict_draws(**{column: grid}))
        band = f"{fit.level:.0%} band of the curve"
        series.append(Series(band, grid, kind="band", y_low=low, y_high=high))
    series.append(Series(fit.law.name, grid, fit.predict(**{column: grid})))
    for name, rows in parts.items():
        at = {"x": rows[column].to_numpy(), "y": rows[fit.law.target].to_numpy(), "kind": "points"}
        series.append(Series(name, hover=_hover(fit, rows), **at, **_style(name)))
    axes = Axis(_LABELS.get(column, column), True), Axis(_label(fit), True)
    return Figure(f"{_label(fit).capitalize()} and the law", *axes, (*series,))
