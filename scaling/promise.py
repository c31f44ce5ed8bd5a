"""What a study will be able to say, before it is run: simulate it from a prior law and refit.

Each simulated study has the design's N and D and losses prior(N, D) exp(noise z), z standard
normal; the law is fitted again and the spread of what comes out is the width to expect.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling import surface
from scaling.surface import Surface
from train.cli import LARGEST, InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitted import Fit

LEVEL = 0.9
STUDIES = 800
_OPEN = 0.02  # more studies than this without a best size at the target: N* has no width
MAX_NOISE = 0.5
_MOST_LOSSES = 300_000  # of all studies for the bias of approach 2: large tables get fewer


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
    point = surface.best(surface.surface(prior), C)
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
    best = surface.best(surface.surface(prior), target.C).N[0]
    refits = _refits(prior, np.asarray(N), np.asarray(D), noise, studies, seed, rows)
    found = surface.best(refits, target.C).N / best
    a = surface.elasticity(refits, target.C)
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


def noise_of(fit: "Fit") -> float | None:
    """Relative noise of one loss by a fit's residuals, outliers aside; None without residuals."""
    spare = len(fit.residuals) - len(fit.params)
    if spare < 1:
        return None
    inflate = np.sqrt(len(fit.residuals) / spare)
    return float(np.quantile(np.abs(fit.residuals), 0.683) * inflate)


def jacobian(prior: "Fit", N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """Derivative [R, P] of log loss at (N, D) by the coordinates of the fit, at the prior."""
    from scaling import engine

    problem, theta = _problem(prior, N, D)
    at = engine.local(problem, np.ones(problem.runs), theta[None])[0]
    return np.asarray(at.jacobian)


def parabola_bias(
    fit: "Fit",
    runs: "pd.DataFrame",
    C: float | None = None,
    noise: float | None = None,
    studies: int = 60,
    seed: int = 0,
) -> dict[str, Any]:
    """What approach 2 would get wrong on these very runs if `fit` were the truth.

    A parabola is symmetric in log N, the loss is not, and grids are not centred: approach 2 is off
    even without noise. It is run on the law's own losses at the runs' N and D, once without noise
    and `studies` times with it.

    Args:
      fit: a law of N and D. runs: the actual grid (N, D, C or budget), as for `isoflop`.
      C: compute at which N* is compared; default the largest budget with a minimum.
      noise: of one loss; default that of the fit's residuals, 0 if it has none.

    Returns:
      exponent (the law's over those budgets), exponent_bias and N_bias (approach 2's N* over the
      law's, minus 1, at `C`) without noise, the same `_noisy` as means over the studies with
      `_spread` their standard deviation, `C`, `noise`, and `lost`, the share of studies that had no
      two budgets with a minimum.

    Raises:
      InputError: approach 2 has no result on these runs even without noise, or the law has none.
    """
    from scaling.isoflop import isoflop
    from scaling.table import fit_rows, validate

    columns = ("N", "D", "loss")
    grid = fit_rows(validate(runs if "loss" in runs.columns else runs.assign(loss=1.0), columns))
    grid = grid[[c for c in ("N", "D", "C", "budget") if c in grid.columns]]
    exact = np.asarray(fit.predict(grid["N"].to_numpy(), grid["D"].to_numpy()))
    clean = isoflop(grid.assign(loss=exact), bootstrap=0)
    # A budget's N* and D* multiply to the runs' N D; the law is asked at that very product.
    good = [b for b in clean.budgets if not b.problem]
    C = float(C) if C is not None else max(b.C for b in good)
    on = surface.surface(fit)
    truth = surface.best(on, np.array([on.flops_per_nd * b.N * b.D for b in good])).N
    at_C = float(surface.best(on, C).N[0])
    if not np.isfinite([*truth, at_C]).all():
        raise InputError(f"law: {fit.law.name!r} has no best size at some of these budgets")
    exponent = float(np.polyfit(np.log([b.C for b in good]), np.log(truth), 1)[0])
    if noise is None:
        noise = noise_of(fit) or 0.0
    studies = min(studies, max(_MOST_LOSSES // len(grid), 1)) if noise > 0 else 0
    found, lost = _noisy_lines(grid, exact, noise, studies, seed)
    found = [(line.N_exponent - exponent, _size(line, C) / at_C - 1) for line in found]
    result = {
        "C": C,
        "noise": float(noise),
        "exponent": exponent,
        "exponent_bias": clean.N_exponent - exponent,
        "N_bias": _size(clean, C) / at_C - 1,
        "lost": lost / max(studies, 1),
    }
    for name, values in zip(("exponent_bias", "N_bias"), np.transpose(found)):
        result |= {f"{name}_noisy": float(np.mean(values)), f"{name}_spread": float(np.std(values))}
    return result


def _noisy_lines(grid, exact: np.ndarray, noise: float, studies: int, seed: int):
    """Approach 2 on `studies` noisy copies of the exact losses, and how many had no result."""
    from scaling.isoflop import isoflop

    rng, found, lost = np.random.default_rng([seed, 7]), [], 0
    for _ in range(studies):
        noisy = exact * np.exp(noise * rng.standard_normal(len(exact)))
        try:
            found.append(isoflop(grid.assign(loss=noisy), bootstrap=0))
        except InputError:
            lost += 1
    return found, lost


def _size(line: Any, C: float) -> float:
    return float(line.N_coefficient * C**line.N_exponent)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _problem(prior: "Fit", N: np.ndarray, D: np.ndarray):
    """The prior's own losses at (N, D) as a fitting problem, and the prior's coordinates."""
    from scaling import diagnosis, engine

    law = prior.law
    columns = {"N": N, "D": D, law.target: np.asarray(prior.predict(N, D), np.float64)}
    centres = law.centres(columns)
    with engine.double_precision():
        problem = engine.make_problem(
            law, engine.Objective(), columns, columns[law.target], centres
        )
        inverse = {name: 1 / value for name, value in centres.items()}
        centred = law.natural(dict(prior.params), inverse)
        low, high = engine.bounds(law)
        return problem, np.clip(diagnosis.coordinates(problem, centred), low, high)


def _refits(prior, N, D, noise: float, studies: int, seed: int, rows: int) -> Surface:
    """The surfaces that `studies` simulated studies would find."""
    from scaling import engine

    runs, law = len(N), prior.law
    more = max(rows - runs, 0)
    N, D = (np.concatenate([x, np.repeat(x[:1], more)]) for x in (N, D))
    problem, theta = _problem(prior, N, D)
    shake = np.random.default_rng([seed, 6]).standard_normal((studies, runs + more))
    target = problem.target[: runs + more] * np.exp(noise * shake)
    weight = (np.arange(runs + more) < runs).astype(np.float64)
    found = engine.solve(problem, weight, np.repeat(theta[None], studies, 0), target=target)
    columns = {"N": N, "D": D, law.target: np.asarray(prior.predict(N, D), np.float64)}
    return surface.of_coordinates(law, found.theta, law.centres(columns), prior.flops_per_nd)
