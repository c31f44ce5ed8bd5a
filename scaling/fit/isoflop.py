"""Approach 2 (Hoffmann et al. 2022, section 3.2): the best size at each compute budget.

At each budget log loss is a parabola in log N near its minimum; the vertex gives N*, D* and L*, and
power laws through the vertices give N*(C) and D*(C). Log loss, not loss, because noise is about the
same share of the loss at every budget, so one residual spread serves all budgets.

Known bias: the true curve is not symmetric in log N, so a parabola over a wide or off-centre grid
puts the vertex off (Porian et al. 2024, arXiv:2406.19146, take an Akima interpolant instead). Only
runs within `depth` of the best loss enter the parabola. What is left of the bias on the very grid
of the runs is computed where a law is given (scaling.fit.bias).
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.fit import MINIMA
from scaling.runs.files import read_text, to_json, write_text
from scaling.runs.table import fit_rows, validate
from train import strict
from train.cli import InputError, nearest

FORMAT, VERSION = "allometry-isoflop", 2
_READ = (1, VERSION)  # version 1 had no bias
MIN_BUDGETS = 2
MIN_SIZES = 3
SAME_BUDGET = 0.2  # runs whose log C differ by less belong to one budget
DEPTH = 0.1
_AKIMA_GRID = 401
NAMES = ("N_exponent", "N_coefficient", "D_exponent", "D_coefficient")


_OPEN = (float, None)
_BUDGET = dict.fromkeys(("C", "N0"), float) | dict.fromkeys(("N", "D", "loss"), _OPEN)
_BUDGET |= {name: [float] for name in ("coefficients", "sizes", "losses")}
_SHAPE = dict.fromkeys((*NAMES, "C0", "level"), float) | {
    "method": str,
    "intervals": {str: [_OPEN, _OPEN]},
    "draws": [[_OPEN]],
    "warnings": [str],
    "budgets": [_BUDGET | {"problem": str, "used": [bool]}],
    "bias": ({"exponent_bias": float, "N_bias": float, str: float}, None),
}


@dataclass(frozen=True)
class Budget:
    """One compute budget: its runs and its minimum.

    Attributes:
      C: geometric mean of the runs' training FLOPs.
      N, D, loss: the minimum; NaN where there is none inside the grid.
      problem: '' or why this budget is left out, in words.
      coefficients: of log loss in log(N / N0), highest power first (parabola only), with `N0` the
        geometric mean size of the runs used.
      used: which of the budget's runs entered the curve.
    """

    C: float
    N: float
    D: float
    loss: float
    problem: str
    coefficients: tuple[float, ...]
    N0: float
    sizes: np.ndarray
    losses: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class IsoflopFit:
    """Power laws N* = coefficient C^exponent and D* likewise, from approach 2.

    Attributes:
      budgets: one entry a budget, in order of C, those without a minimum included.
      N_exponent, N_coefficient, D_exponent, D_coefficient: the two power laws.
      intervals: `level` interval of each of the four.
      draws: [K, 4] bootstrap estimates, in the order of `NAMES`, coefficients at the centre `C0`.
      C0: geometric mean of the budgets used.
      bias: the error of this estimate on this grid were a law the truth, as `parabola_bias` has it;
        None where no law was given, or it has no optimum there.
    """

    method: str
    budgets: tuple[Budget, ...]
    N_exponent: float
    N_coefficient: float
    D_exponent: float
    D_coefficient: float
    intervals: dict[str, tuple[float, float]]
    draws: np.ndarray
    C0: float
    level: float
    warnings: tuple[str, ...]
    bias: dict[str, float] | None = None

    def optimum(self, C: Any) -> dict[str, Any]:
        """N* and D* at C (arrays allowed), with `intervals` of both."""
        log_C = np.log(np.asarray(C, np.float64))
        result: dict[str, Any] = {
            "N": np.exp(np.log(self.N_coefficient) + self.N_exponent * log_C),
            "D": np.exp(np.log(self.D_coefficient) + self.D_exponent * log_C),
        }
        away = log_C[..., None] - np.log(self.C0)
        tail = (1 - self.level) / 2
        result["intervals"] = {}
        for name, first in (("N", 0), ("D", 2)):
            lines = self.draws[:, first + 1] + self.draws[:, first] * away
            ends = np.exp(np.quantile(lines, [tail, 1 - tail], axis=-1))
            result["intervals"][name] = (ends[0], ends[1])
        return result

    def to_json(self) -> str:
        """All fields as JSON text; a budget without a minimum has null for N, D and loss."""
        fields = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return to_json(fields)

    @staticmethod
    def from_json(text: str) -> "IsoflopFit":
        """Inverse of `to_json`. Raises InputError on anything else."""
        try:
            fields = strict.parse(text)
            if fields.pop("format") != FORMAT or fields.pop("version") not in _READ:
                raise InputError(f"isoflop.json: not format {FORMAT} version {VERSION}")
            strict.check("isoflop.json: ", fields | {"bias": fields.get("bias")}, _SHAPE)
            nan = float("nan")
            fields["budgets"] = tuple(
                Budget(
                    **{
                        **budget,
                        **{k: nan if budget[k] is None else budget[k] for k in ("N", "D", "loss")},
                        **{k: np.array(budget[k]) for k in ("sizes", "losses", "used")},
                        "coefficients": tuple(budget["coefficients"]),
                    }
                )
                for budget in fields["budgets"]
            )
            fields["intervals"] = {
                name: tuple(nan if end is None else float(end) for end in ends)
                for name, ends in fields["intervals"].items()
            }
            fields["draws"] = np.array(fields["draws"], np.float64).reshape(-1, len(NAMES))
            fields["warnings"] = tuple(fields["warnings"])
            return IsoflopFit(**fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"isoflop.json: broken: {error!r}") from None

    def save(self, path: str) -> None:
        """Writes isoflop.json atomically."""
        write_text(path, self.to_json())


def load(path: str) -> IsoflopFit:
    """Reads an isoflop.json. Raises InputError naming the file and what is wrong with it."""
    try:
        return IsoflopFit.from_json(read_text(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def isoflop(
    runs: pd.DataFrame,
    method: str = "parabola",
    depth: float = DEPTH,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.9,
) -> IsoflopFit:
    """Fits approach 2 to the runs that are not held out.

    Args:
      runs: table with N, D, loss and C; a `budget` column groups the runs where there is one,
        else runs of nearly the same C form a budget.
      method: 'parabola' (least squares) or 'akima' (interpolates every run).
      depth: runs whose log loss is more than this above the budget's best do not enter the
        parabola, except that the `MIN_SIZES` + 1 best always do.
      bootstrap: refits. Each budget keeps its sizes; losses are redrawn around the curve from the
        residuals of all budgets, blown up for the degrees of freedom that the curves took. (Drawing
        whole runs would leave budgets of five sizes with two.) Akima has no residuals: there runs
        are drawn within each budget.

    Raises:
      InputError: where fewer than two budgets have a minimum inside their grid.
    """
    if method not in MINIMA:
        raise InputError(f"method: {method!r}; {nearest(method, MINIMA)}")
    table = fit_rows(validate(runs))
    budgets = _budgets(table, _groups(table), table["loss"].to_numpy(), method, depth)
    good, warnings = _with_minimum(budgets)
    natural, C0 = _through(good)
    rng = np.random.default_rng([seed, 2])
    redraw = _redraw_parabola if method == "parabola" else _redraw_akima
    draws, lost = redraw(good, C0, bootstrap, rng)
    if lost > 0.05 * max(bootstrap, 1):
        warnings.append(
            f"{lost} of {bootstrap + lost} resamples had a budget without a minimum and were "
            "redrawn: the grid hardly brackets the optimum, the intervals are rough"
        )
    spread = _natural(draws, C0)
    tail = (1 - level) / 2
    ends = np.quantile(spread, [tail, 1 - tail], axis=0) if len(draws) else np.full((2, 4), np.nan)
    return IsoflopFit(
        method,
        tuple(budgets),
        *map(float, natural),
        intervals={name: (float(a), float(b)) for name, a, b in zip(NAMES, *ends)},
        draws=draws,
        C0=C0,
        level=level,
        warnings=tuple(warnings),
    )


def lines(runs: pd.DataFrame, losses: Iterable[np.ndarray]) -> list[np.ndarray | None]:
    """The parabolas' power laws for several losses [n] of the same runs.

    Returns:
      For each of them [4] in the order of `NAMES`, as `isoflop` has them; None where that raises.
    """
    table = validate(runs)
    groups = _groups(table)
    found = (_budgets(table, groups, loss, MINIMA[0], DEPTH) for loss in losses)
    good = ([budget for budget in budgets if not budget.problem] for budgets in found)
    return [_through(some)[0] if len(some) >= MIN_BUDGETS else None for some in good]


def _budgets(
    table: pd.DataFrame, groups: list[np.ndarray], loss: np.ndarray, method: str, depth: float
) -> list[Budget]:
    """All budgets in order of C, with the losses [n] of the table's runs."""
    N, D, C = (table[name].to_numpy() for name in ("N", "D", "C"))
    budgets = []
    for rows in groups:
        rows = rows[np.argsort(N[rows])]
        budgets.append(_budget(N[rows], D[rows], C[rows], loss[rows], method, depth))
    return sorted(budgets, key=lambda budget: budget.C)


def _with_minimum(budgets: list[Budget]) -> tuple[list[Budget], list[str]]:
    """Those budgets that have a minimum, and sentences about the others."""
    good = [budget for budget in budgets if not budget.problem]
    warnings = [f"budget {b.C:.3g}: {b.problem}; left out" for b in budgets if b.problem]
    if len(good) < MIN_BUDGETS:
        reasons = "; ".join(warnings[:3]) or "there is only one"
        raise InputError(
            f"--runs: {len(good)} of {len(budgets)} compute budgets have a best size inside their "
            f"grid; at least {MIN_BUDGETS} are needed ({reasons})"
        )
    if len(good) == MIN_BUDGETS:
        warnings.append(f"only {MIN_BUDGETS} budgets: a line through them always fits")
    return good, warnings


def _through(good: list[Budget]) -> tuple[np.ndarray, float]:
    """The power laws [4] through budgets' minima, and the centre C0 of the budgets."""
    C0 = float(np.exp(np.mean([np.log(b.C) for b in good])))
    line = _line(good, [(b.N, b.D) for b in good], C0)
    return _natural(line[None], C0)[0], C0


def _groups(table: pd.DataFrame) -> list[np.ndarray]:
    """Row numbers of each budget."""
    if "budget" in table.columns:
        return [np.asarray(rows) for rows in table.groupby("budget").indices.values()]
    log_C = np.log(table["C"].to_numpy())
    order = np.argsort(log_C, kind="stable")
    cuts = np.flatnonzero(np.diff(log_C[order]) > SAME_BUDGET) + 1
    return np.split(order, cuts)


def _budget(size, D, C, loss, method: str, depth: float) -> Budget:
    """One budget, of its runs in order of size [n]."""
    product = float(np.exp(np.mean(np.log(size * D))))
    C = float(np.exp(np.mean(np.log(C))))
    rise = np.log(loss / loss.min())
    keep = min(MIN_SIZES + 1, len(loss))
    used = (rise <= max(depth, np.sort(rise)[keep - 1])) if method == "parabola" else rise >= 0
    N0 = float(np.exp(np.log(size[used]).mean()))

    def missing(why: str) -> Budget:
        nan = float("nan")
        return Budget(C, nan, nan, nan, why, (), N0, size, loss, used)

    distinct = len(np.unique(size[used]))
    if distinct < MIN_SIZES:
        return missing(f"{distinct} model sizes, at least {MIN_SIZES} are needed")
    x, y = np.log(size[used] / N0), np.log(loss[used])
    coefficients: tuple[float, ...] = ()
    if method == "parabola":
        coefficients = tuple(map(float, np.polyfit(x, y, 2)))
        curve, slope, height = coefficients
        vertex = -slope / (2 * curve) if curve > 0 else np.nan
        low = height - slope**2 / (4 * curve) if curve > 0 else np.nan
    else:
        vertex, low = _akima_minimum(x, y)
    if not x.min() < vertex < x.max():
        return missing("no interior minimum: the fitted curve falls towards the edge of the grid")
    N = N0 * float(np.exp(vertex))
    return Budget(C, N, product / N, float(np.exp(low)), "", coefficients, N0, size, loss, used)


def _akima_minimum(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Where the interpolant is lowest, maybe beside a lowest run at the edge, and how low."""
    from scipy.interpolate import Akima1DInterpolator

    x, place = np.unique(x, return_inverse=True)
    y = np.bincount(place, y) / np.bincount(place)
    curve = Akima1DInterpolator(x, y) if len(x) > 2 else lambda at: np.interp(at, x, y)
    grid = np.linspace(x[0], x[-1], _AKIMA_GRID)
    at = curve(grid)
    best = int(np.argmin(at))
    return float(grid[best]), float(at[best])


def _line(budgets: list[Budget], optima: list[tuple[float, float]], C0: float) -> np.ndarray:
    """Least-squares lines of log N* and log D* on log(C / C0): slope, height, slope, height."""
    x = np.log([b.C for b in budgets]) - np.log(C0)
    y = np.log(np.array(optima))
    design = np.stack([x, np.ones_like(x)], axis=1)
    return np.linalg.lstsq(design, y, rcond=None)[0].T.reshape(-1)


def _natural(lines: np.ndarray, C0: float) -> np.ndarray:
    """[K, 4] slopes and heights at C0 -> exponents and coefficients."""
    result = lines.copy()
    result[:, [1, 3]] = np.exp(lines[:, [1, 3]] - lines[:, [0, 2]] * np.log(C0))
    return result


def _redraw_parabola(budgets: list[Budget], C0: float, count: int, rng) -> tuple[np.ndarray, int]:
    """Residual bootstrap of the lines [count, 4], and how many resamples had no minimum."""
    designs, curves, residuals, ranges = [], [], [], []
    for b in budgets:
        x = np.log(b.sizes[b.used] / b.N0)
        curve = np.polyval(b.coefficients, x)
        designs.append(np.linalg.pinv(np.stack([x**2, x, np.ones_like(x)], axis=1)))
        curves.append(curve)
        residuals.append(np.log(b.losses[b.used]) - curve)
        ranges.append((x.min(), x.max()))
    pool = np.concatenate(residuals)
    free = len(pool) - 3 * len(budgets)
    pool = pool * np.sqrt(len(pool) / max(free, 1))
    kept, lost = np.zeros((0, 4)), 0
    product = np.array([b.N * b.D for b in budgets])
    x = np.log([b.C for b in budgets]) - np.log(C0)
    to_line = np.linalg.pinv(np.stack([x, np.ones_like(x)], axis=1))
    for _ in range(50):
        if len(kept) >= count:
            break
        sizes, good = [], np.ones(count, bool)
        for b, design, curve, (low, high) in zip(budgets, designs, curves, ranges):
            fitted = (curve + rng.choice(pool, size=(count, len(curve)))) @ design.T
            with np.errstate(divide="ignore", invalid="ignore"):
                vertex = -fitted[:, 1] / (2 * fitted[:, 0])
            good &= (fitted[:, 0] > 0) & (vertex > low) & (vertex < high)
            sizes.append(np.log(b.N0) + vertex)
        log_N = np.stack(sizes, axis=1)[good]
        lost += int((~good).sum())
        lines = np.concatenate([log_N @ to_line.T, (np.log(product) - log_N) @ to_line.T], axis=1)
        kept = np.concatenate([kept, lines])
    return kept[:count], lost


def _redraw_akima(budgets: list[Budget], C0: float, count: int, rng) -> tuple[np.ndarray, int]:
    """Bootstrap of runs within each budget."""
    lines, lost = [], 0
    while len(lines) < count and lost <= 50 * count:
        optima = []
        for b in budgets:
            pick = rng.integers(len(b.sizes), size=len(b.sizes))
            x, y = np.log(b.sizes[pick]), np.log(b.losses[pick])
            if len(np.unique(x)) < MIN_SIZES:
                break
            vertex, _ = _akima_minimum(x, y)
            if not x.min() < vertex < x.max():
                break
            optima.append((np.exp(vertex), b.N * b.D / np.exp(vertex)))
        if len(optima) == len(budgets):
            lines.append(_line(budgets, optima, C0))
        else:
            lost += 1
    return np.array(lines).reshape(-1, 4), lost
