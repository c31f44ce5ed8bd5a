"""Reads the files of a study: a stranger may have made them, and later ones may be missing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.fit import fitted, isoflop
from scaling.forecast.scoring import METRIC
from scaling.forecast.sealing import is_intact
from scaling.runs import files, measure, plans, records
from scaling.runs.measure import Measure
from scaling.runs.plans import PlannedRun
from train.account import Account
from train.cli import InputError
from train.record import Record
from train.strict import check

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit
    from scaling.fit.isoflop import IsoflopFit


@dataclass(frozen=True)
class Run:
    """A planned run and, once it has ended, its record, whose account counts then."""

    planned: PlannedRun
    record: Record | None
    target: Measure  # what the study's laws are fitted to

    @property
    def name(self) -> str:
        """Of the run, unique in its study."""
        return self.planned.run

    @property
    def role(self) -> str:
        """Whether it is to be fitted or is held out."""
        return self.planned.role

    @property
    def budget(self) -> float:
        """FLOPs aimed at."""
        return self.planned.budget

    @property
    def account(self) -> Account:
        """Its facts."""
        return self.record or self.planned

    @property
    def N(self) -> float:
        """All parameters."""
        return float(self.account.N["total"])

    @property
    def D(self) -> float:
        """Training units."""
        return self.account.D

    @property
    def C(self) -> float:
        """Training FLOPs, "forward" convention."""
        return float(self.account.C["forward"])

    @property
    def unit(self) -> str:
        """What D counts; a token that is a byte is called one."""
        data = self.account.config.get("data")
        tokenizer = data.get("tokenizer") if isinstance(data, dict) else None
        unit = self.account.unit
        return "byte" if (unit, tokenizer) == ("token", "bytes") else unit

    @property
    def status(self) -> str:
        """The record's status, or "not finished"."""
        return self.record.status if self.record else "not finished"

    @property
    def ok(self) -> bool:
        """Whether it has what laws are fitted to."""
        return self.record is not None and self.record.status == "ok" and self.loss is not None

    @property
    def loss(self) -> float | None:
        """What laws are fitted to, once it has ended."""
        value = self.target.of(self.record)[0] if self.record else None
        return None if value is None else self.target.lack(value)

    @property
    def loss_se(self) -> float | None:
        """Its standard error."""
        return self.target.of(self.record)[1] if self.record else None


@dataclass(frozen=True)
class Target:
    """What a sealed forecast says of one held-out run."""

    run: str
    N: float
    D: float
    C: float
    decades: float
    median: float
    interval50: tuple[float, float]
    interval90: tuple[float, float]
    by_law: Mapping[str, float]


@dataclass(frozen=True)
class MetricForecast:
    """The sealed forecast of a further metric, in its own units; no targets where it is refused."""

    refused: str
    law: str
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Forecast:
    """forecast.json."""

    law: str
    weights: Mapping[str, float]
    created: str
    sha256: str
    intact: bool  # the content still has that digest
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    targets: tuple[Target, ...]
    metrics: Mapping[str, MetricForecast]


@dataclass(frozen=True)
class Score:
    """How the forecast of one run came out; numbers are None where the run has no loss."""

    run: str
    status: str
    loss: float | None
    loss_se: float | None
    median: float | None
    error: float | None
    inside50: bool | None
    inside90: bool | None
    half_width90: float | None
    metrics: Mapping[str, Mapping[str, Any]]  # see scaling.forecast.scoring


@dataclass(frozen=True)
class Study:
    """All that the files of a study say; None for a file that is not there yet."""

    folder: Path
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]
    isoflop: "IsoflopFit | None"
    fit: "Fit | None"
    forecast: Forecast | None
    scores: tuple[Score, ...] | None
    scored_sha256: str | None  # the forecast that score.json says it compares with

    @property
    def name(self) -> str:
        """As its config says."""
        return self.settings["name"]

    @property
    def unit(self) -> str:
        """What D counts, in the singular."""
        return self.runs[0].unit

    @property
    def target(self) -> Measure:
        """What its laws are fitted to."""
        return measure.target(self.settings)

    def measure(self, name: str) -> Measure:
        """One of its metrics."""
        return measure.measure(self.settings, name)

    def role(self, role: str) -> list[Run]:
        """The runs of a role, in the plan's order."""
        return [run for run in self.runs if run.role == role]

    def run(self, name: str) -> Run | None:
        """The run of that name."""
        return next((run for run in self.runs if run.name == name), None)


def read(folder: Path) -> Study:
    """Reads a study's folder. Raises InputError naming the file and the field that is wrong."""
    plan = plans.load(folder / "plan.json")
    target = measure.target(plan.study)
    runs = tuple(Run(run, records.finished(folder, run), target) for run in plan.runs)
    if (folder / "runs.csv").exists():
        found = {run.name: run.record for run in runs if run.role == "fit"}
        records.check_table(folder, plan, found, whole=all(found.values()))
    there = {name: folder / f"{name}.json" for name in ("isoflop", "law", "forecast", "score")}
    there = {name: path for name, path in there.items() if path.exists()}
    scores, scored_sha256 = _scores(there["score"]) if "score" in there else (None, None)
    return Study(
        folder=folder,
        settings=plan.study,
        runs=runs,
        isoflop=isoflop.load(str(there["isoflop"])) if "isoflop" in there else None,
        fit=fitted.load(str(there["law"])) if "law" in there else None,
        forecast=_forecast(there["forecast"]) if "forecast" in there else None,
        scores=scores,
        scored_sha256=scored_sha256,
    )


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _forecast(path: Path) -> Forecast:
    values = files.load(path, "sealed forecast")
    weights = values.get("weights") or {}
    metrics = values.get("metrics", {})
    return Forecast(
        law=str(values.get("law")),
        weights={str(law): _number(path, weights, law) for law in weights},
        created=str(values.get("created")),
        sha256=str(values.get("sha256")),
        intact=is_intact(values),
        reasons=tuple(map(str, values.get("reasons") or ())),
        warnings=tuple(map(str, values.get("warnings") or ())),
        targets=_targets(path, values),
        metrics={str(name): _metric(path, metrics, name) for name in metrics},
    )


def _metric(path: Path, metrics: Mapping[str, Any], name: str) -> MetricForecast:
    made = _field(path, metrics, name, dict)
    targets = () if "refused" in made else _targets(path, made)
    return MetricForecast(str(made.get("refused", "")), str(made.get("law", "")), targets)


def _targets(path: Path, values: Mapping[str, Any]) -> tuple[Target, ...]:
    targets = []
    for target in _field(path, values, "targets", list):
        by_law = _field(path, target, "by_law", dict)
        targets.append(
            Target(
                run=_field(path, target, "run", str),
                **{k: _number(path, target, k) for k in ("N", "D", "C", "decades", "median")},
                interval50=_interval(path, target, "interval50"),
                interval90=_interval(path, target, "interval90"),
                by_law={str(law): _number(path, by_law, law) for law in by_law},
            )
        )
    return tuple(targets)


def _scores(path: Path) -> tuple[tuple[Score, ...], str | None]:
    """The scores, and the digest of the forecast that they are of."""
    values = files.load(path, "score")
    scores = []
    for score in _field(path, values, "scores", list):
        numbers = ("loss", "loss_se", "median", "error", "half_width90")
        metrics = score.get("metrics", {}) if isinstance(score, dict) else {}
        check(f"{path}: metrics", metrics, {str: METRIC})
        scores.append(
            Score(
                run=_field(path, score, "run", str),
                status=_field(path, score, "status", str),
                **{k: _number(path, score, k, optional=True) for k in numbers},
                **{k: _truth(path, score, k) for k in ("inside50", "inside90")},
                metrics=metrics,
            )
        )
    return tuple(scores), values.get("forecast_sha256")


def _field(path: Path, values: Any, name: str, kind: type) -> Any:
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kind):
        raise InputError(f"{path}: {name}: {value!r}; must be a {kind.__name__}")
    return value


def _number(path: Path, values: Any, name: str, optional: bool = False) -> Any:
    value = values.get(name) if isinstance(values, dict) else None
    if optional and value is None:
        return None
    if not _is_number(value):
        raise InputError(f"{path}: {name}: {value!r}; must be a number")
    return float(value)


def _truth(path: Path, values: Any, name: str) -> bool | None:
    value = values.get(name) if isinstance(values, dict) else None
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{path}: {name}: {value!r}; must be true, false or null")
    return value


def _interval(path: Path, values: Any, name: str) -> tuple[float, float]:
    ends = _field(path, values, name, list)
    if len(ends) != 2:
        raise InputError(f"{path}: {name}: {len(ends)} numbers; must be two")
    low, high = (_number(path, dict(enumerate(ends)), i) for i in range(2))
    return low, high
