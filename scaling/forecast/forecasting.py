"""The loss of runs not trained yet: laws averaged by their back-test, and its intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.fit import origins, repeats
from scaling.forecast import calibration, illtrained, words
from scaling.forecast.words import repeated
from scaling.laws import LAWS
from scaling.runs import replicates
from scaling.runs.table import drop_failed, fit_rows, named, validate
from train.cli import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit

AVERAGE = "average"
WIDEST = 0.25  # a 90% interval with a larger relative half-width says nothing: refused
SPARE_SPAN = 2.0  # farthest forecast, in spans of the runs' compute: beyond, nothing is known
MAX_TARGETS = 1_000_000
# What a law may read; U are the unique examples.
_READS = ({"N", "D"}, {"N", "D", "U"}, {"N_enc", "N_dec"})
_ALONE = 0.95  # a law with this much weight is named as the forecast's law


@dataclass(frozen=True)
class Number:
    """What is forecast: a loss, or something else that laws can follow.

    Attributes:
      candidates: the laws that are averaged.
      widest: the largest relative half width of a 90% interval that is not refused.
      structure: by how much a decade the best fit errs, see scaling.forecast.calibration.
      lean: how much more dear runs count, see scaling.fit.origins.
      drift: by how much a decade the average of several laws lies too high.
    """

    candidates: tuple[str, ...]
    widest: float
    structure: float
    lean: float = origins.LEAN
    drift: float = 0.0


LOSS = Number(origins.CANDIDATES, WIDEST, structure=calibration.STRUCTURE, drift=calibration.DRIFT)


@dataclass(frozen=True)
class Forecast:
    """Predictions of the loss at T targets.

    Attributes:
      targets: the T targets with N, D, C (and what else was given).
      law: the law used, or 'average' of those in `weights`.
      median: [T]. interval50, interval90: [T, 2], or None where nothing can calibrate them.
      by_law: each law's own prediction [T].
      decades: [T], log10 of C over the largest C of the runs; 0 inside, NaN where not known.
      weights: of the laws, sum 1.
      reasons: why this law, in words. warnings: what may make it wrong, in words.
    """

    targets: "pd.DataFrame"
    law: str
    median: np.ndarray
    interval50: np.ndarray | None
    interval90: np.ndarray | None
    by_law: Mapping[str, np.ndarray]
    decades: np.ndarray
    weights: Mapping[str, float]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def half_width90(self) -> np.ndarray | None:
        """Half of the 90% interval, relative to the median [T]."""
        if self.interval90 is None:
            return None
        return (self.interval90[:, 1] - self.interval90[:, 0]) / 2 / self.median


def forecast(
    runs: "pd.DataFrame",
    targets: "pd.DataFrame",
    law: str | None = None,
    seed: int = 0,
    *,
    number: Number = LOSS,
) -> Forecast:
    """Forecasts the loss at `targets` from the runs that are not held out.

    Args:
      runs: a table of runs (see scaling.runs.table): N, D, loss, and C where it is not 6 N D;
        optionally loss_se, seed, epochs, U (unique examples), split or role, and columns of kind
        (family, recipe, schedule, ...). The law data_constrained needs U.
      targets: N and D; C where it is known; the same optional columns.
      law: a name in scaling.laws.LAWS; by default several are averaged by back-test.
      seed: of the fits' random starts and resamples.
      number: what kind of number is forecast.

    Raises:
      InputError: bad columns, or runs that cannot carry the forecast (and what would help).
    """
    check_law(law)
    columns = ("N", "D") if law is None else LAWS[law].columns
    known = fit_rows(_checked(runs, columns))
    targets = _complete(targets, known, columns)
    known, said = _well_trained(known, columns, number, seed)
    if law is None:
        laws, seen, ahead, counted = repeats.counted(known, targets, number.candidates)
    else:
        laws, seen, ahead, counted = (law,), known, targets, ()
    found = origins.backtest(seen, laws, seed, lean=number.lean)
    judged = calibration.calibrate(found, _known_noise(known), number.structure)
    centre, scale = judged.centre_and_scale(ahead)
    far = origins.beyond(targets, known)
    centre = centre - number.drift * far * (len(found.laws) > 1)
    ends = {level: calibration.interval(centre, scale, level) for level in (0.5, 0.9)}
    decades = np.maximum(np.log10(targets["C"].to_numpy() / known["C"].max()), 0)
    ratio = ends[0.9][:, 1] / ends[0.9][:, 0]
    _refuse(known, targets, far, ratio, number.widest, judged)
    weights = dict(zip(found.laws, map(float, judged.weights)))
    best = max(weights, key=weights.__getitem__)
    return Forecast(
        targets=targets,
        law=best if weights[best] >= _ALONE else AVERAGE,
        median=np.exp(centre),
        interval50=ends[0.5],
        interval90=ends[0.9],
        by_law=dict(zip(found.laws, np.exp(judged.by_law(ahead)))),
        decades=decades,
        weights=weights,
        reasons=(*words.reasons(judged, law), *counted),
        warnings=(
            *said,
            *words.warnings(known, targets, bool(counted) or "U" in columns),
            *words.far(known, targets, found.distances().max()),
        ),
    )


def check_law(name: str | None) -> None:
    """Raises InputError for a law that no forecast from runs may use; None is the default."""
    usable = [n for n, w in LAWS.items() if w.target == "loss" and set(w.columns) in _READS]
    if name is not None and name not in usable:
        raise InputError(f"--law: {name!r}; {nearest(name, usable)}")


def forecast_by(fit: "Fit", targets: "pd.DataFrame") -> Forecast:
    """Forecasts by a fitted law alone, without its runs; by a published one with no interval.

    The interval then has the law's residuals, its bootstrap draws and the usual growth with
    distance, but no back-test and no other law to compare with.
    """
    if fit.law.target != "loss":
        raise InputError(f"--law: {fit.law.name!r} predicts {fit.law.target}; a law of the loss")
    if "C" not in targets:
        targets = targets.assign(C=fit.flops_per_nd * targets["N"] * targets["D"])
    _needs_unique(fit.law.name, fit.law.columns, targets)
    points = {k: targets[k].to_numpy(np.float64) for k in fit.law.columns if k in targets}
    median = np.asarray(fit.predict(**points), np.float64)
    known = (name for name in ("C", "N", "D") if name in fit.data_range)
    past = {k: np.log10(targets[k].to_numpy() / fit.data_range[k][1]) for k in known}
    inside = np.zeros(len(targets))
    interval50 = interval90 = None
    warnings = ["the law comes without its runs: no back-test and no other law stands behind this"]
    if len(fit.draws) and len(fit.residuals):
        noise = float(np.quantile(np.abs(fit.residuals), 0.683))
        with np.errstate(all="ignore"):
            low, high = np.nanquantile(np.log(fit.predict_draws(**points)), [0.16, 0.84], axis=0)
        far = np.max([inside, *past.values()], axis=0)
        scale = calibration.scale(noise, 0.0, far, ((high - low) / 2) ** 2)
        ends = [calibration.interval(np.log(median), scale, level) for level in (0.5, 0.9)]
        interval50, interval90 = ends
    else:
        warnings.append("this law comes with no data and no draws: a point, with no interval")
    warnings += [] if "U" in fit.law.columns else repeated(targets)
    name = fit.law.name
    return Forecast(
        targets=targets,
        law=name,
        median=median,
        interval50=interval50,
        interval90=interval90,
        by_law={name: median},
        decades=np.maximum(past["C"], 0) if "C" in past else np.full(len(targets), np.nan),
        weights={name: 1.0},
        reasons=(f"{name}: given", *fit.diagnostics.warnings),
        warnings=tuple(warnings),
    )


def _needs_unique(law: str, columns: Sequence[str], targets: "pd.DataFrame") -> None:
    if "U" in columns and "U" not in targets.columns:
        raise InputError(f"--unique: not given; law {law!r} needs the targets' unique examples")


def _checked(runs: "pd.DataFrame", columns: Sequence[str]) -> "pd.DataFrame":
    if "split" not in runs.columns and "role" in runs.columns:
        runs = runs.assign(split=runs["role"])
    notes = list(runs.attrs.get("notes", ()))
    runs = drop_failed(runs, "runs", notes).copy()
    runs.attrs["notes"] = notes
    runs = validate(runs, (*columns, "loss"))
    for name in ("D", "C"):
        if name not in runs.columns:
            raise InputError(f"--runs: the table has no {name}; N, D (or C) and loss are needed")
    return runs


def _complete(
    targets: "pd.DataFrame", known: "pd.DataFrame", columns: Sequence[str]
) -> "pd.DataFrame":
    """Checks the targets; where C is not given it is what the runs say that N D costs."""
    if not 0 < len(targets) <= MAX_TARGETS:
        raise InputError(f"targets: {len(targets)} of them; from 1 to {MAX_TARGETS}")
    targets = targets.copy()
    _needs_unique("data_constrained", columns, targets)
    if "C" not in targets.columns and {"N", "D"} <= set(targets.columns):
        ratio = np.exp(np.mean(np.log(known["C"] / known["N"] / known["D"])))
        targets["C"] = ratio * targets["N"] * targets["D"]
    for name in dict.fromkeys(("N", "D", "C", *columns)):
        if name not in targets.columns:
            raise InputError(f"targets: no column {name!r}; N and D are needed")
        values = np.asarray(targets[name], np.float64)
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"targets: {name}: {values.min()!r}; positive numbers")
        targets[name] = values
    return targets


def _well_trained(known: "pd.DataFrame", columns: Sequence[str], number: Number, seed: int):
    """The runs that a forecast of a loss is made from, and which were left out, in sentences."""
    if number != LOSS or not {"N", "D"} <= set(columns):
        return known, []
    stay, said = illtrained.left_out(known, seed)
    kept = known[stay]
    kept.attrs = dict(known.attrs)
    return kept, said


def _known_noise(known: "pd.DataFrame") -> float:
    """Relative noise of one loss: of its evaluation, and between runs that differ in seed alone."""
    noise = 0.0
    if "loss_se" in known.columns:
        errors = np.asarray(known["loss_se"], np.float64) / known["loss"].to_numpy()
        if np.isfinite(errors).any():
            noise = float(np.nanmedian(errors))
    seeds = replicates.seed_noise(known, ("N", "D"), "loss")
    return max(noise, seeds or 0.0)


def _refuse(
    known: "pd.DataFrame",
    targets: "pd.DataFrame",
    far: np.ndarray,
    ratio: np.ndarray,
    widest: float,
    judged: "calibration.Calibration",
) -> None:
    """Raises where the runs cannot carry the farthest target."""
    span = float(np.log10(known["C"].max() / known["C"].min()))
    place = int(np.argmax(far))
    where = f"N={targets['N'].iloc[place]:.3g}, D={targets['D'].iloc[place]:.3g}"
    if far[place] > SPARE_SPAN * span:
        raise InputError(
            f"targets: {where} lies {far[place]:.2f} decades beyond the runs, which span "
            f"{span:.2f} decades of compute; at most {SPARE_SPAN:g} times their span: train larger "
            "runs first, or give a nearer target"
        )
    half = (ratio - 1) / (ratio + 1)
    what = named(known, "loss")
    what = "the loss" if what == "loss" else what
    worst = int(np.nanargmax(half)) if np.isfinite(half).any() else 0
    if not half[worst] <= widest:
        raise InputError(
            f"targets: N={targets['N'].iloc[worst]:.3g}, D={targets['D'].iloc[worst]:.3g}: these "
            f"{len(known)} runs leave a 90% interval of +-{half[worst]:.0%} of {what}, above "
            f"{widest:.0%}; {words.advice(judged, far[worst])}"
        )
