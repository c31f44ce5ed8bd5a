"""Prints forecasts, and how they came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scaling.console.printed import console, show, table
from scaling.forecast import scoring, sealing
from scaling.runs import measure, plans
from train.cli import InputError

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit
    from scaling.forecast.forecasting import Forecast

_SHOWN = 20  # rows of a printed table


def print_forecast(made: "Forecast") -> None:
    """The targets with their intervals, the reasons and the warnings."""
    shown = table("Forecast of the loss", "N", "D", "C", "decades", "median", "50%", "90%")
    for place in range(min(len(made.targets), _SHOWN)):
        target = made.targets.iloc[place]
        ends = [_ends(made.interval50, place), _ends(made.interval90, place)]
        shown.add_row(
            *(f"{target[k]:.3g}" for k in ("N", "D", "C")),
            f"{made.decades[place]:.2f}" if np.isfinite(made.decades[place]) else "unknown",
            f"{made.median[place]:.4f}",
            *ends,
        )
    on = console()
    show(on, shown)
    if len(made.targets) > _SHOWN:
        on.print(f"... and {len(made.targets) - _SHOWN} more targets", highlight=False)
    on.print(f"law: {made.law}", highlight=False)
    _print_lines(on, made.reasons, made.warnings)


def print_allocation(fit: "Fit", targets: pd.DataFrame) -> None:
    """The best N and D at each target's compute, by a ready-made law."""
    on = console()
    shown = table("Best use of the same compute", "C", "N", "D", "loss")
    for C in targets["C"].iloc[:_SHOWN]:
        try:
            best = fit.allocate(float(C))
        except InputError as error:
            on.print(escape(str(error)), highlight=False)
            return
        shown.add_row(*(f"{v:.3g}" for v in (C, best["N"], best["D"])), f"{best['loss']:.4f}")
    show(on, shown)


def print_study(folder: Path) -> None:
    """The sealed forecast of a study and, if it is there, its score."""
    sealed, path = sealing.load(folder / "forecast.json"), folder / "score.json"
    scores, notes = scoring.load(path) if path.exists() else ({}, [])
    fitted = measure.target(plans.load(folder / "plan.json").study).label
    columns = ("run", "C", "decades", "median", "90%", "outcome", "error", "inside")
    shown = table(f"Sealed forecast of the {escape(fitted)}", *columns)
    for target in sealed["targets"]:
        score = scores.get(target["run"], {})
        low, high = target["interval90"]
        loss, error = score.get("loss"), score.get("error")
        shown.add_row(
            escape(target["run"]),
            f"{target['C']:.3g}",
            f"{target['decades']:.2f}",
            f"{target['median']:.4f}",
            f"{low:.4f}–{high:.4f}",
            score.get("status", "") if loss is None else f"{loss:.4f}",
            "" if error is None else f"{error:+.2%}",
            "" if error is None else ("yes" if score["inside90"] else "no"),
        )
    on = console()
    show(on, shown)
    if sealed.get("metrics"):
        show(on, _metrics(sealed["metrics"], scores))
    on.print(f"law: {escape(sealed['law'])}; sealed {sealed['created']}", highlight=False)
    # Published elsewhere, it shows that this forecast was made before the outcome was known.
    on.print(f"seal: sha256 {sealed['sha256']}", highlight=False, soft_wrap=True)
    missing = [f"{run}: missing ({why})" for run, why in sealed.get("missing", {}).items()]
    missing += [
        f"{name}: no forecast: {made['refused']}"
        for name, made in sealed.get("metrics", {}).items()
        if "refused" in made
    ]
    _print_lines(on, sealed["reasons"], [*missing, *sealed["warnings"], *notes])


def _metrics(sealed: dict[str, Any], scores: dict[str, dict[str, Any]]) -> Table:
    """The forecasts of further metrics, and how they came out."""
    columns = ("metric", "run", "median", "90%", "outcome", "off by", "inside")
    shown = table("Sealed forecasts of metrics", *columns)
    for name, made in sealed.items():
        for target in made.get("targets", ()):
            score = scores.get(target["run"], {}).get("metrics", {}).get(name)
            low, high = target["interval90"]
            row = [escape(name), escape(target["run"]), f"{target['median']:.4g}"]
            row.append(f"{low:.4g}–{high:.4g}")
            if score:
                inside = "yes" if score["inside90"] else "no"
                row += [f"{score['value']:.4g}", f"{score['error']:+.2g}", inside]
            shown.add_row(*row)
    return shown


def _print_lines(on: Console, reasons, warnings) -> None:
    for line in reasons:
        on.print(f"  {escape(line)}", highlight=False)
    for line in warnings:
        on.print(f"[yellow]note[/] {escape(line)}", highlight=False)


def _ends(interval: np.ndarray | None, place: int) -> str:
    return "none" if interval is None else f"{interval[place, 0]:.4f}–{interval[place, 1]:.4f}"
