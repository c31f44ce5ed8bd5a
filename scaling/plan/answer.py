"""What a plan will tell, by simulation, and what to do with its budget, in words."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from scaling.allocate import allocating
from scaling.console.printed import table
from scaling.design import designing
from scaling.design.expect import Promise, Target, promise, target_at
from scaling.fit import optimum
from scaling.fit.ready import ready_made
from scaling.forecast import calibration
from scaling.plan import prices
from scaling.runs.numbers import count
from train.cli import InputError

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit
    from scaling.runs.plans import Plan, PlannedRun

_OTHERS = ("besiroglu2024", "hoffmann2022_a3", "muennighoff2023_c4")  # laws to compare with
_ENDS = 3.29  # width of a normal's 90% interval, in standard deviations


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the runs to fit are expected to say of a target, by simulation.

    Attributes:
      unique: units that the target has before they repeat; 0 where none does or nobody knows.
      loss: at the target, by the law. worth: new units that give the same as the target's D.
    """

    law: str
    noise: float
    noise_source: str
    target: Target
    promise: Promise
    unique: float
    loss: float
    worth: float


def expected(plan: "Plan") -> Expected | None:
    """What the runs to fit will say of the dearest run; None where the study names no law.

    The target is the dearest held-out run, or the best run at the largest budget where none is held
    out. The law is taken at the plan's own C / (N D).

    Raises:
      InputError: no such law, or it cannot be fitted to so few runs or used at the target.
    """
    study = plan.study
    if not study["law"]:
        return None
    prior = ready_made(study["law"], "study.law")
    noise, source = designing.noise_or_guess(study["noise"] or None, prior)
    N, D, C = np.array([(r.N["total"], r.D, r.C["forward"]) for r in plan.runs], np.float64).T
    prior = dataclasses.replace(prior, flops_per_nd=float(np.exp(np.log(C / N / D).mean())))
    fitted = np.array([run.role == "fit" for run in plan.runs])
    target, unique = target_at(prior, float(C.max())), 0.0
    if not fitted.all():
        dearest = int(np.argmax(C))
        target = Target(float(C[dearest]), float(N[dearest]), float(D[dearest]))
        unique = plan.runs[dearest].unique or 0.0
    loss, worth = _loss_and_worth(prior, target, unique)
    fresh = dataclasses.replace(target, D=worth)
    found = promise(prior, N[fitted], D[fitted], noise, fresh)
    return Expected(study["law"], noise, source, target, found, unique, loss, worth)


def _loss_and_worth(prior: "Fit", target: "Target", unique: float) -> tuple[float, float]:
    """The law's loss at the target, and the new units that the target's D are worth."""
    N, D = np.array([[target.N]]), np.array([[target.D]])
    if not 0 < unique < target.D:
        return float(prior.predict(target.N, target.D)), target.D
    loss = optimum.surface(prior, unique=unique).loss(N, D)
    return float(loss[0, 0]), float(optimum.data_needed(optimum.surface(prior), loss, N)[0, 0])


def model_of(planned: "Plan") -> "PlannedRun | None":
    """The run that all others are for: the dearest held-out one."""
    held_out = [run for run in planned.runs if run.role == "heldout"]
    return max(held_out, key=lambda run: run.C["forward"], default=None)


def in_words(planned: "Plan", rate: prices.Rate, expected: Expected) -> list[str]:
    """The small runs, the model and its loss, for people."""
    model = model_of(planned)
    small = [run for run in planned.runs if run.role == "fit"]
    whole = sum(run.C["forward"] for run in planned.runs)
    cost = sum(run.C["forward"] for run in small)
    sizes = sorted(run.N["total"] for run in small)
    lines = [
        f"first {len(small)} small runs, N {count(sizes[0])} to {count(sizes[-1])}: "
        f"{cost:.3g} FLOPs, {cost / whole:.1%} of all, {_spent(rate, cost)}",
        f"then the model, N {count(model.N['total'])} on D {count(model.D)} {model.unit}s: "
        f"{model.C['forward']:.3g} FLOPs, {_spent(rate, model.C['forward'])}",
    ]
    if expected.worth < model.D:
        lines.append(
            f"  {model.epochs:.2f} passes over {count(expected.unique)} unique {model.unit}s, "
            f"worth {count(expected.worth)} new ones (Muennighoff et al. 2023)"
        )
    low, high = _interval(planned, expected)
    lines += [
        f"its loss: {expected.loss:.3f}, 90% interval {low:.3f} to {high:.3f}, by studies "
        f"simulated from {expected.law} and the usual error of a forecast that far",
        "  the level is that of the law's own text and tokens; yours is known when the small runs "
        "are (scaling.forecast)",
    ]
    return lines


def _spent(rate: prices.Rate, flops: float) -> str:
    return ", ".join(filter(None, prices.spent(rate, flops)))


def _interval(planned: "Plan", expected: Expected) -> tuple[float, float]:
    """90% interval of the model's loss as a forecast from the small runs will have it.

    What the fit leaves open is simulated; the law's form and the run's own noise count as in every
    forecast (scaling.forecast.calibration).
    """
    farthest = max(run.C["forward"] for run in planned.runs if run.role == "fit")
    decades = max(math.log10(expected.target.C / farthest), 0.0)
    # BOOTSTRAP is for resamples; here the spread is the doubt about the law, in full.
    doubt = (expected.promise.loss_width / _ENDS / calibration.BOOTSTRAP) ** 2
    scale = calibration.scale(expected.noise, 0.0, decades, doubt)
    (ends,) = calibration.interval([math.log(expected.loss)], scale, 0.9)
    return float(ends[0]), float(ends[1])


def changes(planned: "Plan", expected: Expected) -> Table:
    """The best model by the law, and under other budgets, data and laws."""
    model, unique, C = model_of(planned), expected.unique, expected.target.C
    cases = [("nothing", expected.law, C, unique)]
    cases += [
        (f"{factor:g} x the compute, or the MFU", expected.law, factor * C, unique)
        for factor in (0.5, 2)
    ]
    if unique:
        cases += [
            (f"{factor:g} x the unique {model.unit}s", expected.law, C, factor * unique)
            for factor in (0.5, 2)
        ]
        cases.append((f"all {model.unit}s new", expected.law, C, 0.0))
    cases += [(f"were {name} true", name, C, unique) for name in _OTHERS if name != expected.law]
    shown = table("What would change it", "", "best N", "D", "passes", "loss")
    for words, law, flops, fresh in cases:
        try:
            best = allocating.by_law(ready_made(law), flops, fresh or None)
        except InputError:
            continue
        passes = f"{max(best.D / fresh, 1):.2f}" if fresh else "1"
        shown.add_row(words, count(best.N), count(best.D), passes, f"{best.loss:.3f}")
    return shown
