"""A fitted law: evaluate it, allocate a budget by it, write it to law.json and read it back."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.fit import optimum
from scaling.fit.diagnosis import Diagnostics
from scaling.fit.hindsight import Beyond, Hindsight
from scaling.fit.solve import Objective
from scaling.laws import LAWS
from scaling.laws.at import At
from scaling.runs.files import read_text, to_json, write_text
from train import strict
from train.cli import InputError, nearest

if TYPE_CHECKING:
    from scaling.laws import Law

FORMAT, VERSION = "allometry-law", 2
_READ = (1, VERSION)  # version 1 had neither back-test nor seed noise


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
      law: the row of the table of laws.
      params: estimates in natural units.
      intervals: `level` interval of each parameter, from the bootstrap draws (see `tail`).
      objective, value: what was minimised and its minimum.
      n: number of runs fitted.
      diagnostics: convergence, identification, warnings in words.
      residuals: [n] log target - log prediction, in the order of `runs`.
      runs: [n] labels of the runs fitted.
      draws: [K, P] bootstrap estimates in centred units (natural ones: `natural_draws`).
      centred: estimates in centred units; `centres`: what columns and target were divided by.
      data_range: smallest and largest value of every column seen.
      level, tail: nominal level of the intervals and the share of draws cut off at each end.
      flops_per_nd: C / (N D) of the runs (geometric mean); `c_convention` says where C came from.
      backtest: the law's error beyond origins inside its runs; None where it was not asked for.
    """

    law: "Law"
    params: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    objective: "Objective"
    value: float
    n: int
    diagnostics: "Diagnostics"
    residuals: np.ndarray
    runs: tuple[str, ...]
    draws: np.ndarray
    centred: Mapping[str, float]
    centres: Mapping[str, float]
    data_range: Mapping[str, tuple[float, float]]
    level: float
    tail: float
    flops_per_nd: float
    c_convention: str
    backtest: Hindsight | None = None

    @property
    def residual_std(self) -> float:
        """Standard deviation of the log residuals, with n - P degrees of freedom."""
        return float(np.sqrt(np.sum(self.residuals**2) / max(self.n - len(self.params), 1)))

    @property
    def at(self) -> At:
        """The law at the estimate."""
        return At.of(self.law, self.centred, self.centres)

    @property
    def drawn(self) -> At:
        """The law at the bootstrap draws [K]."""
        return At(self.law, self.draws, self.centres)

    @property
    def natural_draws(self) -> dict[str, np.ndarray]:
        """Bootstrap estimates in natural units, [K] each."""
        return self.drawn.natural().values

    def predict(self, N: Any = None, D: Any = None, **columns: Any) -> np.ndarray:
        """Prediction of the law's target at the estimate.

        Args:
          N, D, **columns: the columns that the law reads, arrays that broadcast.

        Returns:
          float64 array of the broadcast shape.
        """
        return self.at.predict(self._points(N, D, columns))

    def predict_draws(self, N: Any = None, D: Any = None, **columns: Any) -> np.ndarray:
        """Prediction at every bootstrap draw [K, *shape]: spread of the curve, not of a new run."""
        points = self._points(N, D, columns)
        if self.law.wide:
            return self.drawn.predict(points)
        return self.drawn.over(np.broadcast(*points.values()).ndim).predict(points)

    def interval(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval at `level` of any quantity computed from the draws, along axis 0."""
        low, high = np.quantile(draws, [self.tail, 1 - self.tail], axis=0)
        return low, high

    def allocate(self, C: Any) -> dict[str, Any]:
        """N, D and loss of least loss at C = flops_per_nd N D; see `optimum.allocate`."""
        return optimum.allocate(self, C)

    def _points(self, N, D, columns) -> dict[str, np.ndarray]:
        given = {"N": N, "D": D, **columns}
        points = {}
        for name in self.law.columns:
            value = given.get(name)
            if value is None:
                raise InputError(f"{name}: not given; law {self.law.name!r} needs it")
            if name in self.law.wide:
                value = np.stack(list(value))
            points[name] = np.asarray(value, np.float64)
        return points

    def to_json(self) -> str:
        """Everything needed to evaluate the law elsewhere, as JSON text."""
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "law": self.law.name,
            "formula": f"{self.law.target} = {self.law.formula}",
            "source": self.law.source,
            "params": dict(self.params),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "level": self.level,
            "tail": self.tail,
            "objective": {**dataclasses.asdict(self.objective), "value": self.value},
            "n": self.n,
            "data_range": {name: list(ends) for name, ends in self.data_range.items()},
            "flops_per_nd": self.flops_per_nd,
            "c_convention": self.c_convention,
            "diagnostics": dataclasses.asdict(self.diagnostics),
            "backtest": self.backtest and dataclasses.asdict(self.backtest),
            "centres": dict(self.centres),
            "centred_params": dict(self.centred),
            "centred_draws": {"columns": list(self.law.names), "rows": self.draws.tolist()},
            "runs": list(self.runs),
            "residuals": self.residuals.tolist(),
        }
        return to_json(fields)

    @staticmethod
    def from_json(text: str) -> "Fit":
        """Inverse of `to_json`. Raises InputError on anything else."""
        try:
            fields = strict.parse(text)
        except ValueError as error:
            raise InputError(f"law.json: not JSON ({error})") from None
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise InputError(f"law.json: no field format={FORMAT!r}; a file written by scaling.fit")
        if fields.get("version") not in _READ:
            allowed = ", ".join(map(str, _READ))
            raise InputError(f"law.json: version {fields.get('version')!r}; allowed: {allowed}")
        strict.check("law.json: ", fields, _SHAPE if fields["version"] == 1 else _SHAPE_2)
        try:
            return _from_fields(fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"law.json: broken field: {error!r}") from None

    def save(self, path: str) -> None:
        """Writes law.json atomically; raises InputError where the folder cannot be written."""
        write_text(path, self.to_json())


def noise_of(fit: Fit) -> float | None:
    """Relative noise of one loss by a fit's residuals, outliers aside; None without residuals."""
    spare = len(fit.residuals) - len(fit.params)
    if spare < 1:
        return None
    inflate = np.sqrt(len(fit.residuals) / spare)
    return float(np.quantile(np.abs(fit.residuals), 0.683) * inflate)


def load(path: str) -> Fit:
    """Reads a law.json. Raises InputError naming the file and what is wrong with it."""
    try:
        return Fit.from_json(read_text(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _number(value: Any) -> float:
    return np.inf if value is None else float(value)


_OPEN = (float, None)  # null stands for an infinity
_SHAPE = {
    **dict.fromkeys(("law", "c_convention"), str),
    **dict.fromkeys(("level", "tail"), float),
    "n": int,
    "flops_per_nd": _OPEN,
    **{name: {str: _OPEN} for name in ("params", "centred_params", "centres")},
    **{name: {str: [_OPEN, _OPEN]} for name in ("intervals", "data_range")},
    "objective": {"name": str, "value": float, "delta": float, "tau": float},
    "centred_draws": {"rows": [[_OPEN]]},
    "residuals": [_OPEN],
    "runs": list,
    "diagnostics": {
        "start_share": float,
        "gradient": _OPEN,
        "condition": _OPEN,
        "profiles": {str: [_OPEN, _OPEN]},
        **{name: [str] for name in ("flat", "at_bound", "warnings")},
        "redrawn": int,
    },
}
_HINDSIGHT = {
    "beyond": [{"kind": str, "error": float, "runs": int, "origins": int, "decades": float}],
    "missing": [str],
}
_SHAPE_2 = _SHAPE | {
    "diagnostics": _SHAPE["diagnostics"] | {"seed_noise": _OPEN},
    "backtest": (_HINDSIGHT, None),
}


def _from_fields(fields: dict[str, Any]) -> Fit:
    if fields["law"] not in LAWS:
        raise InputError(f"law.json: law {fields['law']!r}; {nearest(fields['law'], LAWS)}")
    law = LAWS[fields["law"]]
    draws = np.array(fields["centred_draws"]["rows"], np.float64).reshape(-1, len(law.names))
    pairs = {
        key: {
            name: (-np.inf if ends[0] is None else float(ends[0]), _number(ends[1]))
            for name, ends in fields[key].items()
        }
        for key in ("intervals", "data_range")
    }
    numbers = {
        key: {name: _number(value) for name, value in fields[key].items()}
        for key in ("params", "centred_params", "centres")
    }
    for key, wanted in (
        ("params", law.names),
        ("centred_params", law.names),
        ("centres", (*law.columns, law.target)),
    ):
        if not set(wanted) <= set(numbers[key]):
            raise InputError(f"law.json: {key} lacks one of {', '.join(wanted)}")
    raw = fields["diagnostics"]
    diagnostics = Diagnostics(
        start_share=float(raw["start_share"]),
        gradient=_number(raw["gradient"]),
        condition=_number(raw["condition"]),
        profiles={name: tuple(ends) for name, ends in raw["profiles"].items()},
        flat=tuple(raw["flat"]),
        at_bound=tuple(raw["at_bound"]),
        redrawn=int(raw["redrawn"]),
        warnings=tuple(raw["warnings"]),
        seed_noise=raw["seed_noise"] if fields["version"] > 1 else None,
    )
    objective = {key: value for key, value in fields["objective"].items() if key != "value"}
    return Fit(
        law=law,
        params=numbers["params"],
        intervals=pairs["intervals"],
        objective=Objective(**objective),
        value=float(fields["objective"]["value"]),
        n=int(fields["n"]),
        diagnostics=diagnostics,
        residuals=np.array(fields["residuals"], np.float64),
        runs=tuple(map(str, fields["runs"])),
        draws=draws,
        centred=numbers["centred_params"],
        centres=numbers["centres"],
        data_range=pairs["data_range"],
        level=float(fields["level"]),
        tail=float(fields["tail"]),
        flops_per_nd=_number(fields["flops_per_nd"]),
        c_convention=str(fields["c_convention"]),
        backtest=_hindsight(fields["backtest"]) if fields["version"] > 1 else None,
    )


def _hindsight(fields: dict[str, Any] | None) -> Hindsight | None:
    if fields is None:
        return None
    beyond = tuple(
        Beyond(
            str(one["kind"]),
            float(one["error"]),
            int(one["runs"]),
            int(one["origins"]),
            float(one["decades"]),
        )
        for one in fields["beyond"]
    )
    return Hindsight(beyond, tuple(map(str, fields["missing"])))
