"""What a study will be able to say, before it is run: simulate it from a prior law and refit.

Each simulated study has the design's N and D and losses prior(N, D) exp(noise z), z standard
normal; the law is fitted again and the spread of what comes out is the width to expect.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.design import STUDIES
from scaling.fit import diagnosis, local, optimum, solve
from scaling.fit.optimum import Surface
from scaling.laws.at import At
from train.cli import LARGEST, InputError

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit

LEVEL = 0.9
_OPEN = 0.02  # more studies than this without a best size at the target: N* has no width
MAX_NOISE = 0.5


@dataclass(frozen=True)
class Target:
    """Where the law will be used: a run of N and D, and the training compute C of N*."""

    C: float
    N: float
    D: float


@dataclass(frozen=True)
class Promise:
    """What a study is expected to say about a target.

    Attributes:
      N: ends of the 90% interval of N* at the target's compute, over the prior's N*; (0, inf)
        where too many studies have no best size there.
      exponent: ends of the 90% interval of a, N* ~ C^a at the target.
      loss: ends of the 90% interval of the loss at the target, over the prior's.
      without: share of simulated studies that have no best size at the target's compute.
    """

    N: tuple[float, float]
    exponent: tuple[float, float]
    loss: tuple[float, float]
    without: float

    @property
    def N_width(self) -> float:
        """Upper over lower end of N*, a factor."""
        return self.N[1] / self.N[0] if self.N[0] > 0 else float("inf")

    @property
    def exponent_width(self) -> float:
        """Upper minus lower end of a."""
        return self.exponent[1] - self.exponent[0]

    @property
    def loss_width(self) -> float:
        """Upper minus lower end of the loss, relative to the prior's."""
        return self.loss[1] - self.loss[0]


def target_at(prior: "Fit", C: float) -> Target:
    """The prior's best run at compute C. Raises InputError where it has no best size there."""
    if not 0 < C < LARGEST:
        raise InputError(f"--target: {C!r}; a positive number of FLOPs below {LARGEST:g}")
    point = optimum.best(optimum.surface(prior), C)
    if not np.isfinite(point.N[0]):
        raise InputError(f"--target: {C:g}; law {prior.law.name!r} has no best size there")
    return Target(float(C), float(point.N[0]), float(point.D[0]))


def promise(
    prior: "Fit",
    N: np.ndarray,
    D: np.ndarray,
    noise: float,
    target: Target,
    studies: int = STUDIES,
    seed: int = 0,
    rows: int = 0,
) -> Promise:
    """Simulates studies of runs at (N, D) and reads what their refits say about the target.

    Args:
      prior: the law taken as true; the same form is fitted.
      N, D: [R] the runs.
      noise: relative standard deviation of one run's loss (seed and evaluation).
      studies: how many to simulate.
      rows: pad to at least this many runs, so that designs of several lengths share one program.

    Raises:
      InputError: fewer runs than parameters, or a law without N and D.
    """
    law = prior.law
    if tuple(law.columns) != ("N", "D"):
        raise InputError(f"--law: {law.name!r} reads {law.columns}; a law of N and D")
    if not 0 < noise <= MAX_NOISE:
        raise InputError(f"--noise: {noise!r}; above 0, at most {MAX_NOISE:g} of the loss")
    if len(N) <= len(law.parameters):
        raise InputError(
            f"runs: {len(N)}; law {law.name!r} has {len(law.parameters)} parameters and needs at "
            f"least {len(law.parameters) + 1}"
        )
    best = optimum.best(optimum.surface(prior), target.C).N[0]
    refits = _refits(prior, np.asarray(N), np.asarray(D), noise, studies, seed, rows)
    found = optimum.best(refits, target.C).N / best
    a = optimum.elasticity(refits, target.C)
    loss = refits.loss(np.array([[target.N]]), np.array([[target.D]]))[:, 0]
    loss = loss / float(prior.predict(target.N, target.D))
    bad = ~(np.isfinite(found) & np.isfinite(a))
    open_end = bad.mean() > _OPEN
    return Promise(
        (0.0, np.inf) if open_end else _ends(found[~bad]),
        (-np.inf, np.inf) if open_end else _ends(a[~bad]),
        _ends(loss[np.isfinite(loss)]),
        float(bad.mean()),
    )


def jacobian(prior: "Fit", N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """Derivative [R, P] of log loss at (N, D) by the coordinates of the fit, at the prior."""
    problem, theta = _problem(prior, N, D)
    at = local.evaluate(problem, np.ones(problem.runs), theta[None])[0]
    return np.asarray(at.jacobian)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _problem(prior: "Fit", N: np.ndarray, D: np.ndarray):
    """The prior's own losses at (N, D) as a fitting problem, and the prior's coordinates."""
    law = prior.law
    columns = {"N": N, "D": D, law.target: np.asarray(prior.predict(N, D), np.float64)}
    centres = law.centres(columns)
    with solve.double_precision():
        problem = solve.make_problem(law, solve.Objective(), columns, columns[law.target], centres)
        inverse = {name: 1 / value for name, value in centres.items()}
        centred = law.natural(dict(prior.params), inverse)
        low, high = solve.bounds(law)
        return problem, np.clip(diagnosis.coordinates(problem, centred), low, high)


def _refits(prior, N, D, noise: float, studies: int, seed: int, rows: int) -> Surface:
    """The surfaces that `studies` simulated studies would find."""
    runs, law = len(N), prior.law
    more = max(rows - runs, 0)
    N, D = (np.concatenate([x, np.repeat(x[:1], more)]) for x in (N, D))
    problem, theta = _problem(prior, N, D)
    shake = np.random.default_rng([seed, 6]).standard_normal((studies, runs + more))
    target = problem.target[: runs + more] * np.exp(noise * shake)
    weight = (np.arange(runs + more) < runs).astype(np.float64)
    found = solve.solve(problem, weight, np.repeat(theta[None], studies, 0), target=target)
    columns = {"N": N, "D": D, law.target: np.asarray(prior.predict(N, D), np.float64)}
    at = At.coordinates(law, found.theta, law.centres(columns))
    return optimum.over(at, prior.flops_per_nd)
