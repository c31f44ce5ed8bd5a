"""What to do next, as a report says it: the budgets ahead with their cost, and the next run."""

import numpy as np

from scaling.plan import prices
from scaling.report import page
from scaling.report.files import Study
from scaling.report.outlook import Outlook
from scaling.report.page import Cell
from scaling.runs.numbers import NONE, count, loss, scientific
from train.cli import InputError

DEVICE = "h100"  # that budgets ahead are priced on, at the share of its peak of `prices.MFU`


def section(study: Study, outlook: Outlook) -> str:
    """The section; "" where nothing is known of what lies ahead."""
    parts = []
    if outlook.following:
        parts += ["<h3>What to run next</h3>", page.paragraph(outlook.following)]
    if outlook.budgets is not None:
        parts.append(_table(study, outlook))
    return page.section("Budgets ahead", *parts) if parts else ""


def _table(study: Study, outlook: Outlook) -> str:
    """N*, D*, the loss forecast there, time and money at each budget."""
    own, hired = _own(study), prices.rate(device=DEVICE)
    advice, made = outlook.advice, outlook.budgets
    rows = []
    for place, C in enumerate(made.C):
        row = [scientific(C)]
        for name in ("N", "D"):
            row += [count(getattr(advice, name)[place]), _ends(advice.bands[name][place], count)]
        row += [loss(made.median[place]), _ends(made.interval90[place], loss)]
        row += [_time(own, C), _time(hired, C)]
        row.append("< $0.01" if hired.dollars(C) < 0.01 else prices.spent(hired, C)[1])
        rows.append([Cell(text, 0.0) for text in row])
    level = f"{advice.level:.0%}"
    fitted = study.target.label
    columns = ("C", "N*", level, "D*", level, fitted, "90%", "here", f"one {DEVICE}", "cost")
    what = "the average of laws" if outlook.law == "average" else f"the law {outlook.law}"
    words = [
        f"N* and D* ({study.unit}s) are the best by the law {advice.law}, with the interval of its "
        f"refits; the {fitted} there is forecast by {what}, with the interval of one run. A budget "
        "farther out than a forecast may reach has no row."
    ]
    if own:
        words.append(
            f"Here: {own.words}; another size reaches another share of this device’s peak."
        )
    words.append(f"One {DEVICE}: {hired.words}.")
    return page.table(columns, rows) + "".join(map(page.paragraph, words))


def _time(rate: prices.Rate | None, C: float) -> str:
    if rate is None:
        return NONE
    return "< 1 s" if rate.hours(C) * 3600 < 1 else prices.spent(rate, C)[0]


def _ends(ends: np.ndarray, words) -> str:
    return " – ".join(map(words, ends)) if np.isfinite(ends).all() else NONE


def _own(study: Study) -> prices.Rate | None:
    """The throughput that the study's dearest run measured; None where it measured none."""
    runs = [run for run in study.runs if run.ok]
    if not runs:
        return None
    dearest = max(runs, key=lambda run: run.C)
    path = study.folder / "runs" / dearest.name / "record.json"
    try:
        return prices.rate(throughput=str(path))
    except InputError:
        return None
