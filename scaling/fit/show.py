"""Prints a fit for a person to read."""

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from scaling.console.printed import console, show, table
from scaling.fit import optimum
from scaling.fit.bias import trusted
from scaling.fit.fitted import Fit
from scaling.fit.isoflop import IsoflopFit
from scaling.fit.solve import Objective
from scaling.runs.numbers import plain
from scaling.runs.table import heldout_rows
from train.cli import InputError

_WORST = 3


def number(value: float | None) -> str:
    """Four digits, or that there is none."""
    if value is None or not np.isfinite(value):
        return "open"
    return plain(value)


def print_fit(
    fit: Fit,
    runs: pd.DataFrame,
    out: str | None = None,
    minima: IsoflopFit | None = None,
    better: Objective | None = None,
) -> None:
    """Parameters with intervals and back-test, diagnostics, worst runs, held-out errors, notes.

    `minima` is approach 2 on the same runs, shown with its bias beside what the law advises;
    `better` is an objective that the noise found asks for.
    """
    on = console()
    law = fit.law
    on.print(f"[bold]{law.name}[/]: {law.target} = {escape(law.formula)}", highlight=False)
    on.print(f"{escape(law.source)}; {fit.n} runs; {fit.c_convention}", highlight=False)
    show(on, _parameters(fit))
    for line in fit.backtest.lines() if fit.backtest else ():
        on.print(escape(line), highlight=False, soft_wrap=True)
    if (best := _optimum(fit, minima)) is not None:
        show(on, best)
        for line in (*(minima.warnings if minima else ()), trusted(fit, minima)):
            on.print(f"[yellow]note[/] {escape(line)}", highlight=False)
    show(on, _quality(fit))
    show(on, _worst_runs(fit))
    held = heldout_rows(runs)
    if len(held) and set(law.columns) <= set(held.columns):
        show(on, _heldout(fit, held))
    for warning in fit.diagnostics.warnings:
        on.print(f"[yellow]note[/] {escape(warning)}", highlight=False)
    if better is not None:
        delta = f" --delta={better.delta:.2g}" if better.name == "huber_log" else ""
        asked = f"--objective={better.name}{delta}"
        words = f"the noise of these runs clearly asks for another objective: {asked}"
        on.print(f"[yellow]note[/] {escape(words)}", highlight=False)
    if out:
        on.print(f"written: {escape(out)}", highlight=False)


def _parameters(fit: Fit) -> Table:
    percent = f"{fit.level:.0%}"
    made = table("Parameters", "", "estimate", f"{percent} from", "to", "profile from", "to")
    for name, value in fit.params.items():
        low, high = fit.intervals[name]
        ends = fit.diagnostics.profiles.get(name, (None, None))
        made.add_row(name, *map(number, (value, low, high, *ends)))
    return made


def _optimum(fit: Fit, minima: IsoflopFit | None) -> Table | None:
    """Best size by the law and, with its bias, by approach 2, at the largest budget with a minimum;
    None where the law has no best size there."""
    if not optimum.over_size(fit.law):
        return None
    C = max(b.C for b in minima.budgets if not b.problem) if minima else fit.data_range["C"][1]
    percent = f"{fit.level:.0%} from"
    columns = ("N*", percent, "to", "D*", "a", percent, "to")
    made = table(f"Best size at C = {C:.3g}, and N* ~ C^a", "", *columns)
    try:
        at = fit.allocate(C)
    except InputError:
        if minima is None:
            return None
        made.add_row(fit.law.name, *["none"] * 2, *[""] * 5)
    else:
        a = float(optimum.elasticity(optimum.surface(fit), C)[0])
        ends = (np.nan, np.nan)
        if len(fit.draws):
            drawn = optimum.elasticity(optimum.surface(fit, draws=True), C)
            ends = fit.interval(drawn[np.isfinite(drawn)])
        numbers = (at["N"], *at["intervals"]["N"], at["D"], a, *ends)
        made.add_row(fit.law.name, *map(number, numbers))
    if minima is None:
        return made
    at = minima.optimum(C)
    ends = (*at["intervals"]["N"], at["D"], minima.N_exponent, *minima.intervals["N_exponent"])
    made.add_row("approach 2", *map(number, (at["N"], *ends)))
    if minima.bias:
        shift, N = minima.bias["exponent_bias"], f"{minima.bias['N_bias']:+.1%}"
        made.add_row("its bias here", N, "", "", "", f"{shift:+.4f}", "", "")
    return made


def _quality(fit: Fit) -> Table:
    report, objective = fit.diagnostics, fit.objective
    made = table("Fit", "", "")
    shown = f", delta {objective.delta:g}" if objective.name == "huber_log" else ""
    made.add_row(f"objective ({objective.name}{shown})", f"{fit.value:.7g}")
    made.add_row("residual standard deviation", f"{fit.residual_std:.3%}")
    if report.seed_noise is not None:
        made.add_row("noise between seeds", f"{report.seed_noise:.3%}")
    made.add_row("starts that reached the optimum", f"{report.start_share:.1%}")
    made.add_row("largest gradient / objective", f"{report.gradient:.1e}")
    made.add_row("condition number", f"{report.condition:.3g}")
    made.add_row("bootstrap refits", f"{len(fit.draws)} ({report.redrawn} redrawn)")
    return made


def _worst_runs(fit: Fit) -> Table:
    made = table("Runs furthest from the law", "run", f"{fit.law.target} against law")
    for place in np.argsort(-np.abs(fit.residuals))[:_WORST]:
        made.add_row(escape(fit.runs[place]), f"{np.expm1(fit.residuals[place]):+.2%}")
    return made


def _heldout(fit: Fit, held: pd.DataFrame) -> Table:
    target = held[fit.law.target].to_numpy()
    prediction = fit.predict(**{name: held[name].to_numpy() for name in fit.law.columns})
    error = prediction / target - 1
    made = table("Held-out runs (not fitted)", "", "")
    made.add_row("runs", str(len(held)))
    made.add_row("median |error|", f"{np.median(np.abs(error)):.2%}")
    made.add_row("largest |error|", f"{np.max(np.abs(error)):.2%}")
    return made
