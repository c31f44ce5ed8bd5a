"""Prints a fit for a person to read."""

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scaling.fitted import Fit
from scaling.isoflop import IsoflopFit
from scaling.laws import LAWS, PUBLISHED
from scaling.schedules import NEEDED
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
        columns = NEEDED[:-1] if law.schedules else law.columns
        laws.add_row(law.name, escape(formula), " ".join(columns), escape(law.source))
    console.print(laws)
    console.print(
        "Laws that read schedule, step and lr: one row a logged step; without a column schedule "
        "each file is one (--runs='curves/*.csv'). Give --warmup in steps.",
        highlight=False,
    )
    published = Table(box=box.SIMPLE_HEAD, title="Published parameters", title_justify="left")
    for column in ("name", "law", "parameters", "source"):
        published.add_column(column, overflow="fold")
    for name, entry in PUBLISHED.items():
        values = " ".join(f"{key}={number(value)}" for key, value in entry.params.items())
        published.add_row(name, entry.law, values, escape(entry.source))
    console.print(published)


def print_fit(
    fit: Fit, runs: pd.DataFrame, out: str | None = None, minima: IsoflopFit | None = None
) -> None:
    """Parameters with intervals and back-test, diagnostics, worst runs, held-out errors, notes.

    `minima` is approach 2 on the same runs, shown with its bias beside what the law advises.
    """
    console = Console()
    law = fit.law
    console.print(f"[bold]{law.name}[/]: {law.target} = {escape(law.formula)}", highlight=False)
    console.print(f"{escape(law.source)}; {fit.n} runs; {fit.c_convention}", highlight=False)
    console.print(_parameters(fit))
    for line in fit.backtest.lines() if fit.backtest else ():
        console.print(escape(line), highlight=False, soft_wrap=True)
    if minima is not None:
        console.print(_optimum(fit, minima))
        for line in minima.warnings:
            console.print(f"[yellow]note[/] {escape(line)}", highlight=False)
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


def _optimum(fit: Fit, minima: IsoflopFit) -> Table:
    """N* at the largest budget with a minimum, and its exponent, by approach 2, with its bias."""
    C = max(b.C for b in minima.budgets if not b.problem)
    title = f"Best size at C = {C:.3g}, and N* ~ C^a"
    table = _table(title, "", "N*", f"{fit.level:.0%} from", "to", "a", "from", "to")
    at = minima.optimum(C)
    ends = (*at["intervals"]["N"], minima.N_exponent, *minima.intervals["N_exponent"])
    table.add_row("approach 2", *map(number, (at["N"], *ends)))
    if minima.bias:
        shift, N = minima.bias["exponent_bias"], f"{minima.bias['N_bias']:+.1%}"
        table.add_row("its bias here", N, "", "", f"{shift:+.4f}", "", "")
    return table


def _quality(fit: Fit) -> Table:
    report, objective = fit.diagnostics, fit.objective
    table = _table("Fit", "", "")
    shown = f", delta {objective.delta:g}" if objective.name == "huber_log" else ""
    table.add_row(f"objective ({objective.name}{shown})", f"{fit.value:.7g}")
    table.add_row("residual standard deviation", f"{fit.residual_std:.3%}")
    if report.seed_noise is not None:
        table.add_row("noise between seeds", f"{report.seed_noise:.3%}")
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
