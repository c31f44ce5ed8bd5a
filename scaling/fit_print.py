"""Prints a fit for a person to read."""

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scaling.fitted import Fit
from scaling.laws import LAWS, PUBLISHED
from scaling.table import heldout_rows

_WORST = 3


def number(value: float | None) -> str:
    """Four significant digits, a unit exponent only where the number is long."""
    if value is None or not np.isfinite(value):
        return "open"
    return f"{value:.4g}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    return table


def print_laws() -> None:
    """Lists the laws and the published parameter sets."""
    console = Console()
    laws = Table(box=box.SIMPLE_HEAD, title="Laws", title_justify="left")
    for column in ("name", "formula", "columns", "source"):
        laws.add_column(column, overflow="fold")
    for law in LAWS.values():
        formula = f"{law.target} = {law.formula}"
        laws.add_row(law.name, escape(formula), " ".join(law.columns), escape(law.source))
    console.print(laws)
    published = Table(box=box.SIMPLE_HEAD, title="Published parameters", title_justify="left")
    for column in ("name", "law", "parameters", "source"):
        published.add_column(column, overflow="fold")
    for name, entry in PUBLISHED.items():
        values = " ".join(f"{key}={number(value)}" for key, value in entry.params.items())
        published.add_row(name, entry.law, values, escape(entry.source))
    console.print(published)


def print_fit(fit: Fit, runs: pd.DataFrame, out: str | None = None) -> None:
    """Parameters with intervals, diagnostics, warnings, the worst runs, held-out errors."""
    console = Console()
    law = fit.law
    console.print(f"[bold]{law.name}[/]: {law.target} = {escape(law.formula)}", highlight=False)
    console.print(f"{escape(law.source)}; {fit.n} runs; {fit.c_convention}", highlight=False)
    console.print(_parameters(fit))
    console.print(_quality(fit))
    console.print(_worst_runs(fit))
    held = heldout_rows(runs)
    if len(held) and set(law.columns) <= set(held.columns):
        console.print(_heldout(fit, held))
    for warning in fit.diagnostics.warnings:
        console.print(f"[yellow]note[/] {escape(warning)}", highlight=False)
    if out:
        console.print(f"written: {escape(out)}", highlight=False)


def _parameters(fit: Fit) -> Table:
    percent = f"{fit.level:.0%}"
    table = _table("Parameters", "", "estimate", f"{percent} from", "to", "profile from", "to")
    for name, value in fit.params.items():
        low, high = fit.intervals[name]
        ends = fit.diagnostics.profiles.get(name, (None, None))
        table.add_row(name, *map(number, (value, low, high, *ends)))
    return table


def _quality(fit: Fit) -> Table:
    report, objective = fit.diagnostics, fit.objective
    table = _table("Fit", "", "")
    shown = f", delta {objective.delta:g}" if objective.name == "huber_log" else ""
    table.add_row(f"objective ({objective.name}{shown})", f"{fit.value:.7g}")
    table.add_row("residual standard deviation", f"{fit.residual_std:.3%}")
    table.add_row("starts that reached the optimum", f"{report.start_share:.1%}")
    table.add_row("largest gradient / objective", f"{report.gradient:.1e}")
    table.add_row("condition number", f"{report.condition:.3g}")
    table.add_row("bootstrap refits", f"{len(fit.draws)} ({report.redrawn} redrawn)")
    return table


def _worst_runs(fit: Fit) -> Table:
    table = _table("Runs furthest from the law", "run", f"{fit.law.target} against law")
    for place in np.argsort(-np.abs(fit.residuals))[:_WORST]:
        table.add_row(escape(fit.runs[place]), f"{np.expm1(fit.residuals[place]):+.2%}")
    return table


def _heldout(fit: Fit, held: pd.DataFrame) -> Table:
    target = held[fit.law.target].to_numpy()
    prediction = fit.predict(**{name: held[name].to_numpy() for name in fit.law.columns})
    error = prediction / target - 1
    table = _table("Held-out runs (not fitted)", "", "")
    table.add_row("runs", str(len(held)))
    table.add_row("median |error|", f"{np.median(np.abs(error)):.2%}")
    table.add_row("largest |error|", f"{np.max(np.abs(error)):.2%}")
    return table
