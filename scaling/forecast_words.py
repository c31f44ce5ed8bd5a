"""A forecast in words and tables: why this law, what may make it wrong, how it came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape

from scaling import repeats
from scaling.printed import console, show, table
from scaling.replicates import KINDS, mixed
from train.cli import InputError

if TYPE_CHECKING:
    from scaling.calibration import Calibration
    from scaling.fitted import Fit
    from scaling.forecast import Forecast

# Values that say that a run ended with its rate still up.
_UNDECAYED = dict.fromkeys(KINDS, ()) | {
    "schedule": ("constant", "const", "none", "stable"),
    "decayed": ("false", "no", "0", "0.0"),
}
_MOSTLY_REPEATED = 4.0  # epochs up to which repeated data is nearly as good as new
_SHOWN = 20  # rows of a printed table


def reasons(judged: "Calibration", law: str | None) -> tuple[str, ...]:
    found = judged.backtest
    kinds = [origin.kind for origin in found.origins]
    far = found.distances()
    lines = [
        f"back-test from {len(kinds)} origins inside the {len(found.runs)} runs "
        f"({kinds.count('compute')} in compute, {kinds.count('size')} in N), median "
        f"{far.min():.2f} to {far.max():.2f} decades ahead"
    ]
    for i in np.argsort(-judged.weights):
        miss, weight = judged.miss[i], judged.weights[i]
        lines.append(f"{found.laws[i]}: median back-test error {miss:.2%}, weight {weight:.2f}")
    lines += [f"left out: {why}" for why in found.left_out.values()]
    lines.append(
        f"noise of a run {judged.noise:.2%}; back-test error grows by {judged.growth:.2%} a decade"
    )
    if law is not None:
        lines.append(f"{law} was asked for; the other laws were not tried")
    return tuple(lines)


def warnings(known: "pd.DataFrame", targets: "pd.DataFrame", counted: bool) -> tuple[str, ...]:
    """In words, where the targets differ in kind from the runs fitted.

    `counted` says whether repeated examples count for less than new ones.
    """
    lines = [*known.attrs.get("notes", ()), *mixed(known)]
    for name in (c for c in known.columns if c.lower() in KINDS):
        kinds = set(known[name].dropna().astype(str))
        asked = set(targets[name].dropna().astype(str)) if name in targets.columns else set()
        if asked - kinds:
            lines.append(
                f"{name}: the target has {', '.join(sorted(asked - kinds))}, the runs "
                f"{', '.join(sorted(kinds)[:5])}: a law of one kind need not hold for another"
            )
        held_up = known[name].astype(str).str.strip().str.lower().isin(_UNDECAYED[name.lower()])
        if held_up.any() and not asked:
            lines.append(
                f"{name}: {int(held_up.sum())} of the {len(known)} runs end before their learning "
                "rate has decayed; a run that decays it ends lower than this forecast"
            )
    if not counted:
        lines += repeated(targets, known)
    for name in ("N", "D"):
        past = float(np.log10(targets[name].max() / known[name].max()))
        if past > 0.5:
            lines.append(
                f"{name}: the farthest target lies {past:.2f} decades above every run's {name}"
            )
        short = float(np.log10(known[name].min() / targets[name].min()))
        if short > 0.1:
            lines.append(
                f"{name}: the smallest target lies {short:.2f} decades below every run's {name}"
            )
    return tuple(lines)


def repeated(targets: "pd.DataFrame", known: "pd.DataFrame | None" = None) -> list[str]:
    """In words, where targets pass more often over their data than the runs known did."""
    most = float(repeats.passes(targets).max())
    if most <= max(repeats.FEW, 1.0 if known is None else repeats.passes(known).max()):
        return []
    harm = "worth clearly less than" if most > _MOSTLY_REPEATED else "a little less good than"
    return [
        f"epochs: the target passes {most:.2f} times over its data, more than any run: repeated "
        f"data is {harm} new data (Muennighoff et al. 2023), here ignored; the law "
        "data_constrained counts it"
    ]


def to_json(made: "Forecast") -> dict[str, Any]:
    """A forecast as JSON values: law, weights, reasons, warnings and one entry a target."""
    entries = []
    for place, (_, target) in enumerate(made.targets.iterrows()):
        entry: dict[str, Any] = {k: float(target[k]) for k in ("N", "D", "C")}
        far = float(made.decades[place])
        entry |= {"decades": far if np.isfinite(far) else None, "median": float(made.median[place])}
        for name in ("interval50", "interval90"):
            ends = getattr(made, name)
            entry[name] = None if ends is None else [float(end) for end in ends[place]]
        entry["by_law"] = {name: float(values[place]) for name, values in made.by_law.items()}
        entries.append(entry)
    return {
        "law": made.law,
        "weights": dict(made.weights),
        "reasons": list(made.reasons),
        "warnings": list(made.warnings),
        "targets": entries,
    }


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
    from scaling import scoring, sealing

    sealed, path = sealing.load(folder / "forecast.json"), folder / "score.json"
    scores, notes = scoring.load(path) if path.exists() else ({}, [])
    shown = table(
        "Sealed forecast", "run", "C", "decades", "median", "90%", "loss", "error", "inside"
    )
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
    on.print(f"law: {escape(sealed['law'])}; sealed {sealed['created']}", highlight=False)
    # Published elsewhere, it shows that this forecast was made before the outcome was known.
    on.print(f"seal: sha256 {sealed['sha256']}", highlight=False, soft_wrap=True)
    missing = [f"{run}: missing ({why})" for run, why in sealed.get("missing", {}).items()]
    _print_lines(on, sealed["reasons"], [*missing, *sealed["warnings"], *notes])


def _print_lines(on: Console, reasons, warnings) -> None:
    for line in reasons:
        on.print(f"  {escape(line)}", highlight=False)
    for line in warnings:
        on.print(f"[yellow]note[/] {escape(line)}", highlight=False)


def _ends(interval: np.ndarray | None, place: int) -> str:
    return "none" if interval is None else f"{interval[place, 0]:.4f}–{interval[place, 1]:.4f}"
