"""What a study's finished runs say of runs to come: the forecast along compute, and what to train.

All of it is computed again from the study's files by the code that sealed the forecast.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scaling.design import expect
from scaling.design import points as layout
from scaling.fit.fitted import noise_of
from scaling.fit.origins import CANDIDATES
from scaling.forecast.forecasting import SPARE_SPAN, forecast
from scaling.report.drawing import Series
from scaling.report.files import Study
from scaling.report.frontier import Advice, advise_at, split
from scaling.runs.numbers import count, scientific
from scaling.runs.numbers import loss as show_loss
from scaling.runs.table import fit_rows, read_runs
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.design.points import Design
    from scaling.forecast.forecasting import Forecast

_CURVE_POINTS = 24
_AHEAD = (1, 10, 100, 1000)  # times the largest run fitted
_SAME = 0.1  # of its half width: a forecast made again that differs by more is another one
_SPREAD = 4.0  # a next run lies within this factor of the law's best size
_STUDIES = 200  # simulated, for what a next run would bring
_WORTH = 0.03  # of the interval's width: less is said to bring little
_TRUSTED = 0.1  # a law of less weight in the forecast gives a hint, not advice


@dataclass(frozen=True)
class Ahead:
    """What the average of laws forecasts at n runs: C, N, D, median [n], interval90 [n, 2]."""

    C: np.ndarray
    N: np.ndarray
    D: np.ndarray
    median: np.ndarray
    interval90: np.ndarray


@dataclass(frozen=True)
class Outlook:
    """What lies ahead.

    Attributes:
      refused: why there is no forecast, in words; "" where there is one, or none was wanted yet.
      curve: the forecast of runs of the held-out run's shape, from the cheapest run to it.
      budgets: budgets ahead at the law's best N and D; `advice` is what the law says there.
      law: what was forecast with, a law's name or "average".
      following: what to run next, a sentence.
      notes: what is not as it should be, in words.
    """

    refused: str = ""
    curve: Ahead | None = None
    budgets: Ahead | None = None
    advice: Advice | None = None
    law: str = ""
    following: str = ""
    notes: tuple[str, ...] = field(default=())


def look(study: Study, refused: str = "") -> Outlook:
    """Looks ahead as far as the study's files carry it; `refused` is what sealing said, if it did.

    Nothing is forecast before all runs to fit have ended.
    """
    table = study.folder / "runs.csv"
    if not table.exists() or not all(run.record for run in study.role("fit")):
        return Outlook(refused)
    try:
        runs = fit_rows(read_runs(str(table), split="role"))
    except InputError as error:
        return Outlook(refused or str(error))
    advice, following = _advice(study, runs), _following(study)
    targets = [(target.N, target.D, target.C) for target in _targets(study)]
    known = targets + shape(study, runs)
    try:
        made = _forecast(study, runs, known, advice)
    except InputError as error:
        refused, known = "" if study.forecast else refused or str(error), []
        try:
            made = _forecast(study, runs, known, advice)
        except InputError:
            return Outlook(refused, following=following)
    notes = _other_than_sealed(study, made) if known else ()
    drawn = len(known) > len(targets) and not notes and not refused
    return Outlook(
        refused,
        _part(made, len(targets), len(known)) if drawn else None,
        _part(made, len(known), len(made.median)),
        advice,
        made.law,
        following,
        notes,
    )


def _targets(study: Study) -> list:
    """The runs that were forecast, or are to be."""
    return list(study.forecast.targets) if study.forecast else study.role("heldout")


def _advice(study: Study, runs: "pd.DataFrame") -> Advice | None:
    """The law's best sizes at the budgets ahead that a forecast may reach."""
    if study.fit is None:
        return None
    largest, span = runs["C"].max(), np.log10(runs["C"].max() / runs["C"].min())
    wanted = [*(target.C for target in _targets(study)), *(largest * more for more in _AHEAD)]
    kept = [C for C in wanted if np.log10(C / largest) <= SPARE_SPAN * span]
    return advise_at(study.fit, np.unique(np.float64([f"{C:.6g}" for C in kept])), largest)


def _forecast(
    study: Study,
    runs: "pd.DataFrame",
    known: list[tuple[float, float, float]],
    advice: Advice | None,
) -> "Forecast":
    """One forecast of the runs `known` (N, D, C each) and, after them, of the budgets ahead.

    The farthest budgets are given up until the forecast is not refused.
    """
    weights = study.forecast.weights if study.forecast else {}
    alone = next(iter(weights)) if len(weights) == 1 else None
    ahead = list(zip(advice.N, advice.D, advice.C)) if advice else []
    law = alone if alone not in CANDIDATES else None
    while True:
        try:
            return forecast(runs, on_data(study, known + ahead), law)
        except InputError:
            if len(ahead) <= (not known):  # one target there must be
                raise
            ahead.pop()


def on_data(study: Study, points: list[tuple[float, float, float]]) -> "pd.DataFrame":
    """Runs (N, D, C each) as a forecast takes them: on the study's data, which may repeat."""
    import pandas as pd

    made, unique = pd.DataFrame(points, columns=["N", "D", "C"]), study.runs[-1].account.unique
    return made.assign(epochs=made["D"] / unique) if unique else made


def shape(study: Study, runs: "pd.DataFrame") -> list[tuple[float, float, float]]:
    """N, D, C from the cheapest run to the largest held-out one, N growing as approach 2 has it."""
    held = _targets(study)
    if not held:
        return []
    end = max(held, key=lambda target: target.C)
    share = np.clip(study.isoflop.N_exponent, 0, 1) if study.isoflop else 0.5
    C = np.geomspace(runs["C"].min(), end.C, _CURVE_POINTS)
    away = C / end.C
    return list(zip(end.N * away**share, end.D * away ** (1 - share), C))


def _part(made: "Forecast", first: int, last: int) -> Ahead | None:
    """Some targets of a forecast; None for no target."""
    rows = made.targets.iloc[first:last]
    if rows.empty:
        return None
    sizes = (rows[name].to_numpy() for name in ("C", "N", "D"))
    return Ahead(*sizes, made.median[first:last], made.interval90[first:last])


def _other_than_sealed(study: Study, made: "Forecast") -> tuple[str, ...]:
    """In words, where the sealed forecast cannot be made again from the study's files."""
    for place, target in enumerate(study.forecast.targets if study.forecast else ()):
        half = (target.interval90[1] - target.interval90[0]) / 2
        if not abs(made.median[place] - target.median) <= _SAME * half:
            return (
                f"made again from runs.csv the forecast of {target.run} is "
                f"{show_loss(made.median[place])}, not the {show_loss(target.median)} that was "
                "sealed: its curve is not drawn",
            )
    return ()


def curve_series(outlook: Outlook, seen: float) -> list[Series]:
    """The forecast's curve with its interval, dashed beyond what was fitted."""
    curve = outlook.curve
    law = "average of laws" if outlook.law == "average" else outlook.law
    hover = [
        f"C {scientific(C)}, N {count(N)}: forecast {show_loss(y)}\n90% {show_loss(low)} to "
        f"{show_loss(high)}"
        for C, N, y, (low, high) in zip(
            curve.C, curve.N, curve.median, curve.interval90, strict=True
        )
    ]
    low, high = curve.interval90.T
    band = Series("90% interval of a run", curve.C, kind="band", y_low=low, y_high=high)
    return [band, *split(f"forecast, {law}", curve.C, curve.median, hover, seen)]


def _following(study: Study) -> str:
    """What to run next: sizes that bracket a budget's best first, then what narrows the loss."""
    for budget in study.isoflop.budgets if study.isoflop else ():
        if budget.problem and len(budget.sizes):
            best = budget.sizes[np.argmin(budget.losses)]
            side = {budget.sizes.min(): "smaller", budget.sizes.max(): "larger"}.get(best, "more")
            return (
                f"At C = {scientific(budget.C)} the sizes {count(budget.sizes.min())} to "
                f"{count(budget.sizes.max())} do not bracket the best one: train {side} sizes there"
                f" ({budget.problem})."
            )
    try:
        return _informative(study)
    except InputError:  # the law has no best size, or too few runs
        return ""


def _informative(study: Study) -> str:
    """The run that narrows the loss at ten times the largest run most, and by how much."""
    fit, runs = study.fit, [run for run in study.runs if run.ok]
    if fit is None or tuple(fit.law.columns) != ("N", "D") or not runs:
        return ""
    noise = noise_of(fit)
    if not noise:
        return ""
    known = layout.Design("known", *(np.array([getattr(r, k) for r in runs]) for k in "NDC"))
    largest = float(known.C.max())
    decades = max(np.log10(largest / known.C.min()), 0.5)
    region = layout.Region(largest, min(decades, 12.0), _SPREAD)
    target = expect.target_at(fit, 10 * largest)
    new = layout.most_informative(fit, known, region, 1, target)
    both = (np.append(known.N, new.N), np.append(known.D, new.D))
    noise = min(noise, expect.MAX_NOISE)
    rows = len(runs) + 1
    before, after = (
        expect.promise(fit, N, D, noise, target, _STUDIES, rows=rows).loss_width / 2
        for N, D in ((known.N, known.D), both)
    )
    return _advised(study, new, target.C, (before, after))


def _advised(study: Study, new: "Design", C: float, widths: tuple[float, float]) -> str:
    """The same in words; `widths` are the interval's half widths before and after."""
    before, after = widths
    size = f"N = {count(max(round(new.N[0]), 1))}"
    run = f"{size} on D = {count(new.D[0])} {study.unit}s (C = {scientific(new.C[0])})"
    law = study.fit.law.name
    weight = study.forecast.weights.get(law, 0.0) if study.forecast else 1.0
    hint = "" if weight >= _TRUSTED else f" ({law} has {weight:.0%} of the forecast: a hint only)"
    where = f"the 90% interval of the {study.target.label} at C = {scientific(C)},"
    where += " ten times the largest run,"
    change = f"±{100 * before:.2g}% to ±{100 * after:.2g}%"
    if after > before * (1 - _WORTH):
        return (
            f"No single run as cheap as the largest so far narrows {where} by much: the best, "
            f"{run}, from {change} if {law} is right{hint}. More is learnt from a larger budget."
        )
    return (
        f"One more run of {run} would, of all that cost no more than the largest so far, narrow "
        f"{where} most: from {change} if {law} is right{hint}."
    )
