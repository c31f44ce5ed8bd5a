"""What a fit says about itself: can these runs carry these parameters?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.fit import local, solve
from scaling.fit.profiles import profile
from scaling.laws.law import to_coordinate

SHARE_TOLERANCE = 1e-6  # an optimum is reached when the objective is this close, relatively
_WIDE = 30.0  # a profile whose ends differ by this factor says next to nothing
_LACK_OF_FIT = 2.0  # residuals above this many times the noise between seeds are not noise


@dataclass(frozen=True)
class Diagnostics:
    """Numbers and words about one fit.

    Attributes:
      start_share: share of the random starts that ended at the optimum (relative 1e-6).
      gradient: largest derivative of the objective by a free coordinate, over the objective.
      condition: condition number of the weighted Jacobian with columns of unit length.
      profiles: profile-likelihood interval of each parameter in natural units, the others
        re-optimised; None on a side where the data set no limit.
      flat: parameters whose profile stays open: not identified by these runs.
      at_bound: parameters that ended at the edge of their range.
      redrawn: bootstrap resamples thrown away because too few runs differed.
      warnings: sentences for people.
      seed_noise: relative standard deviation of the target between runs that differ in seed alone;
        None where no two do.
    """

    start_share: float
    gradient: float
    condition: float
    profiles: Mapping[str, tuple[float | None, float | None]]
    flat: tuple[str, ...]
    at_bound: tuple[str, ...]
    redrawn: int
    warnings: tuple[str, ...]
    seed_noise: float | None = None


def condition_number(at: local.Local, moves: np.ndarray) -> float:
    """Condition number of the weighted Jacobian, columns scaled to unit length."""
    jacobian = at.jacobian[:, moves] * np.sqrt(at.curvature)[:, None]
    length = np.linalg.norm(jacobian, axis=0)
    if not moves.any() or not np.all(length > 0):
        return float("inf")
    return float(np.linalg.cond(jacobian / length))


def at_bound(problem: solve.Problem, theta: np.ndarray, free: np.ndarray) -> tuple[str, ...]:
    """Names of the parameters that ended at the edge of their range."""
    low, high = solve.bounds(problem.law)
    edge = free & ((theta <= low + 1e-6) | (theta >= high - 1e-6))
    return tuple(name for name, hit in zip(problem.law.names, edge) if hit)


def start_share(values: np.ndarray, best: float) -> float:
    """Share of the lanes whose objective is within the tolerance of the best."""
    return float(np.mean(values <= best * (1 + SHARE_TOLERANCE) + 1e-20))


def coordinates(problem: solve.Problem, centred: Mapping[str, float]) -> np.ndarray:
    """Parameters in centred units -> coordinates [P] of the fit."""
    return np.array(
        [float(to_coordinate(p, np.asarray(centred[p.name]))) for p in problem.law.parameters]
    )


def diagnose(
    problem: solve.Problem,
    weights: np.ndarray,
    theta: np.ndarray,
    at: local.Local,
    free: np.ndarray,
    level: float,
    share: float,
    redrawn: int,
    draws: int,
    notes: tuple[str, ...],
    seed_noise: float | None = None,
) -> Diagnostics:
    """Collects the numbers and turns them into sentences."""
    runs = problem.runs
    moves = local.movable(problem, at, theta, free)
    condition = condition_number(at, moves)
    gradient = float(np.abs(at.gradient[moves]).max(initial=0.0) / max(at.value, 1e-30))
    ends = profile(problem, weights, theta, at, free, level)
    flat = tuple(name for name, sides in ends.items() if None in sides)
    edge = at_bound(problem, theta, free)
    warnings = [
        *notes,
        *_identification(ends, edge, runs),
        *_reliability(share, condition, redrawn, draws, runs, int(free.sum())),
        *_misfit(problem, at, seed_noise),
    ]
    return Diagnostics(
        start_share=share,
        gradient=gradient,
        condition=condition,
        profiles=ends,
        flat=flat,
        at_bound=edge,
        redrawn=redrawn,
        warnings=tuple(warnings),
        seed_noise=seed_noise,
    )


def _misfit(problem: solve.Problem, at: local.Local, seed_noise: float | None) -> list[str]:
    """A sentence where the residuals are larger than seeds explain."""
    if seed_noise is None or not problem.objective.logarithmic:
        return []
    # Quantiles, so that one stray run does not accuse the law.
    typical = float(np.quantile(np.abs(at.residual), 0.683))
    if typical <= _LACK_OF_FIT * seed_noise:
        return []
    return [
        f"the runs lie {typical:.2%} off the law, seeds alone scatter them by {seed_noise:.2%}: "
        "the form of the law, not noise, is what is wrong"
    ]


def _identification(ends, edge, runs: int) -> list[str]:
    """Sentences about parameters that the runs say little about."""
    warnings = []
    for name in (name for name, sides in ends.items() if None in sides):
        limited = [side for side, end in zip(("below", "above"), ends[name]) if end is not None]
        reach = f"limited only from {limited[0]}" if limited else "not limited on either side"
        warnings.append(f"{name} is not identified by these {runs} runs: {reach}")
    for name, (low, high) in ends.items():
        if low is not None and high is not None and low > 0 and high > _WIDE * low:
            warnings.append(
                f"{name} is hardly identified by these {runs} runs: anywhere from {low:.3g} to "
                f"{high:.3g} fits about as well"
            )
    for name in edge:
        warnings.append(f"{name} ended at the edge of its range: the runs do not ask for that term")
    return warnings


def _reliability(
    share: float, condition: float, redrawn: int, draws: int, runs: int, free: int
) -> list[str]:
    """Sentences about the fit as a whole."""
    warnings = []
    if share < 0.5:
        warnings.append(
            f"only {share:.0%} of the starts reached this optimum; with more starts a better one "
            "may turn up"
        )
    if condition > 1e3:
        warnings.append(
            f"ill-conditioned ({condition:.1e}): the parameters trade off against each other; "
            "trust predictions inside the data rather than single parameters"
        )
    if draws and redrawn > 0.05 * draws:
        warnings.append(
            f"{redrawn} resamples of {draws + redrawn} had too few different runs and were "
            "redrawn; the intervals are rough"
        )
    if runs - free <= 3:
        warnings.append(f"{runs} runs for {free} parameters: hardly any check is left")
    return warnings
