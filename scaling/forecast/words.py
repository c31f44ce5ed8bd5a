"""A forecast in words: why this law, and what may make it wrong."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling.fit import repeats
from scaling.forecast.calibration import GROWTH, NOISE
from scaling.runs.replicates import KINDS, mixed

if TYPE_CHECKING:
    from scaling.forecast.calibration import Calibration
    from scaling.forecast.forecasting import Forecast

# Values that say that a run ended with its rate still up.
_UNDECAYED = dict.fromkeys(KINDS, ()) | {
    "schedule": ("constant", "const", "none", "stable"),
    "decayed": ("false", "no", "0", "0.0"),
}
FAR = "far target"  # what a warning of the distance begins with
_FAR = 0.5  # decades beyond all runs
_MOSTLY_REPEATED = 4.0  # epochs up to which repeated data is nearly as good as new


def reasons(judged: "Calibration", law: str | None) -> tuple[str, ...]:
    """Why a forecast is as it is, in sentences; `law` is the one that was asked for, if any."""
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
        short = float(np.log10(known[name].min() / targets[name].min()))
        if short > 0.1:
            lines.append(
                f"{name}: the smallest target lies {short:.2f} decades below every run's {name}"
            )
    return tuple(lines)


def far(known: "pd.DataFrame", targets: "pd.DataFrame", tested: float) -> list[str]:
    """In words, where targets lie beyond the runs: `tested` decades are what a back-test reached.

    A law can be back-tested no farther than the runs reach, and what changes with scale alone, a
    recipe or a bottleneck of the data, is in none of them.
    """
    past = {n: float(np.log10(targets[n].max() / known[n].max())) for n in ("C", "N", "D")}
    leaves = [f"{name} {by:.2f}" for name, by in past.items() if by > _FAR]
    if not leaves:
        return []
    return [
        f"{FAR}: the farthest lies beyond every run by these decades: {', '.join(leaves)}; the "
        f"back-test inside the runs reached {tested:.2f}. A recipe that changes at larger scale "
        "cannot be seen from them: nearer runs are the only check"
    ]


def advice(judged: "Calibration", decades: float) -> str:
    """What would narrow an interval most: of what makes it wide, the largest."""
    noise = NOISE * judged.noise
    distance = float(np.hypot(GROWTH * judged.growth, judged.structure)) * decades
    runs = judged.backtest.runs
    if distance > noise:
        return (
            "the back-test errs too much for this distance: runs nearer to the target, or a nearer "
            "target, would narrow it most"
        )
    ratio = (runs["D"] / runs["N"]).to_numpy()
    stray = np.abs(judged.weights @ judged.backtest.residual)
    thirds = np.array_split(np.argsort(ratio), 3)
    worst = max((part for part in thirds if len(part)), key=lambda part: np.median(stray[part]))
    return (
        f"they scatter by {judged.noise:.1%} around every law, most where D/N is "
        f"{ratio[worst].min():.2g} to {ratio[worst].max():.2g}: such runs trained longer, tuned "
        "better or averaged over seeds would narrow it, as would more runs at other N and D"
    )


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
